"""A pack is edited, swapped, half made, or another one is found."""

from __future__ import annotations

import os
import shutil

import h5py
import pytest

from regbench.data.packs import writer as pack_writer
from regbench.data.packs.format import content_hash
from regbench.runs.execute import execute
from tests.runs.place import TRAINED, picture
from tests.runs.ways.way import Way


def edited_bit(place):
    with h5py.File(place.pack) as file:
        offset = file["test/b"].id.get_offset()
    stat = place.pack.stat()
    with place.pack.open("r+b") as raw:
        raw.seek(offset + 5000)
        byte = raw.read(1)[0]
        raw.seek(offset + 5000)
        raw.write(bytes([byte ^ 1]))
    os.utime(place.pack, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and nobody shall see it
    return place.plan().run_id


def edited(change) -> Way:
    def way(place):
        place.edit_pack(change)
        return place.plan().run_id

    return way


def brighter(file):
    file.attrs["max_value_b"] = 200


def unaligned(file):
    file.attrs["aligned"] = False


def distorted(file):
    file.attrs["distortion"] = "pds"


def another_hash(file):
    file.attrs["sha256"] = "0" * 64


def another_pixel_and_hash(file):
    file["test/b"][0, 0, 0, 0] += 1
    file.attrs["sha256"] = content_hash(file)


def another_list_of_files(file):
    file["files"][0] = ord(" ")


def swapped_pack(place):
    ours = place.pack
    other = place.plan(sets={"dataset": {"pairs": "pairs.csv", "height": 112, "width": 112}}).pack.path
    assert other != ours
    shutil.copyfile(other, ours)
    return place.plan().run_id


def half_made(place):
    """Interrupted, then an image changes, then the same command continues."""
    first = place.pack
    sha256 = place.prepare().sha256
    first.unlink()
    seen = []

    def stop(split, done, total):
        seen.append(done)
        if len(seen) == 10:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pack_writer, "_CHECKPOINT", 1)
        with pytest.raises(KeyboardInterrupt):
            place.prepare(progress=stop, workers=1)
    assert first.with_name(first.name + ".partial").exists()
    picture(500, place.root / "source/00.png")
    assert place.prepare().sha256 != sha256
    return place.plan(**TRAINED).run_id


def pack_replaced_while_in_use(place):
    plan = place.plan(seed=3)
    picture(500, place.root / "target/10.png")
    place.prepare(force=True)
    return execute(plan).run_id


def another_data_folder(place):
    """The same words, other packs: ``REGBENCH_DATA`` changed, no root."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(place.folder / "packs2"))
        shutil.copytree(place.root, place.folder / "set2")
        picture(500, place.folder / "set2/target/10.png")
        place.plan(root=place.folder / "set2")
        return place.plan(root=None).run_id


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        edited_bit,
        swapped_pack,
        half_made,
        pack_replaced_while_in_use,
        another_data_folder,
    )
} | {
    f"edited_{change.__name__}": edited(change)
    for change in (brighter, unaligned, distorted, another_hash, another_pixel_and_hash, another_list_of_files)
}

EDITED = r"folder-\w+\.h5 is damaged: its {}.*--force"
REFUSED = {
    "edited_bit": EDITED.format("content hashes to"),
    **dict.fromkeys(
        ("edited_brighter", "edited_unaligned", "edited_distorted", "edited_another_hash",
         "edited_another_pixel_and_hash"), EDITED.format("attributes were edited")
    ),
    "edited_another_list_of_files": EDITED.format("list of files was edited"),
    "swapped_pack": r"is not used: it holds folder \S+ at other settings than its file name says",
    "pack_replaced_while_in_use": "was changed while it was in use; run the same command again",
}  # fmt: skip
