"""What comes from elsewhere reaches no place beyond its own folder."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from regbench.contained import check_hdf5, refuse_links, safe_name, stays_inside
from regbench.errors import DataError, UsageError
from regbench.locks import locked


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/abs", "a/b", "a\\b", "C:x", ".hidden", "a\nb", "x ", "a" * 300, "\u202ex", "x\0y"]
)
def test_a_name_is_no_path(name):
    with pytest.raises(UsageError, match="paper"):
        safe_name(name, "paper")


@pytest.mark.parametrize("name", ["colreg", "Two words", "a.b-1_2", "é×"])
def test_a_plain_name_stays(name):
    assert safe_name(name, "paper") == name


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        *((text, True) for text in ("mcnet", "a/b.h5", "1e-4", "a..b", "null", "adamw", "./x")),
        *(
            (text, False)
            for text in ("/x", "../x", "a/../../x", "~/x", "~root/x", "..", "C:\\x", "a\\..\\..\\x", "\\\\h\\x")
        ),
    ],
)
def test_a_text_that_leads_away_is_told(text, inside):
    assert stays_inside(text) is inside


@pytest.mark.parametrize("target", ["there", "gone"])
def test_a_link_at_any_depth_is_refused(tmp_path, target):
    (tmp_path / "there").mkdir()
    run = tmp_path / "run"
    (run / "deep").mkdir(parents=True)
    (run / "file").write_text("x")
    refuse_links(run)
    (run / "deep" / "link").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"deep/link is a link"):
        refuse_links(run)


def test_a_folder_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "short").symlink_to(tmp_path / "real")
    refuse_links(tmp_path / "short")


def _write(path: Path, kind: str) -> None:
    secret = path.parent / "secret.bin"
    secret.write_bytes(np.arange(100.0).tobytes())
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["x"] = np.arange(100.0)
    with h5py.File(path, "w") as file:
        file["own"] = np.arange(4.0)
        file["text"] = ["a", "b"]
        file["empty"] = np.zeros((0, 3))
        file["soft"] = h5py.SoftLink("/own")
        file["circle"] = h5py.SoftLink("/")
        file.create_dataset("zipped", data=np.arange(10000), compression="gzip")
        group = file.create_group("a/b")
        if kind == "external link":
            group["x"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "dangling link":
            group["x"] = h5py.SoftLink("/nowhere")
        elif kind == "external storage":
            group.create_dataset("x", shape=(100,), dtype="f8", external=[(str(secret), 0, 800)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=(100,), dtype="f8")
            layout[:] = h5py.VirtualSource(path.parent / "other.h5", "x", shape=(100,))
            group.create_virtual_dataset("x", layout)
        elif kind == "bomb":
            group.create_dataset("x", shape=(3 * 10**8, 4, 2), dtype="f4", chunks=(1024, 4, 2))
        elif kind == "deflated bomb":
            group.create_dataset("x", data=np.zeros(10**7), compression="gzip", compression_opts=9)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("external link", "leads to another file"),
        ("dangling link", "leads nowhere"),
        ("external storage", "lie in other files"),
        ("virtual", "lie in other files"),
        ("bomb", "claims 9600000000 bytes"),
        ("deflated bomb", "claims 80000000 bytes"),
    ],
)
def test_an_hdf5_file_that_does_not_hold_its_data_is_refused(tmp_path, kind, said):
    _write(tmp_path / "x.h5", kind)
    with h5py.File(tmp_path / "x.h5") as file, pytest.raises(DataError, match=rf"x\.h5: .*/a/b/x.*{said}"):
        check_hdf5(tmp_path / "x.h5", file)


def test_an_hdf5_file_that_holds_its_data_is_read(tmp_path):
    _write(tmp_path / "x.h5", "none")
    with h5py.File(tmp_path / "x.h5") as file:
        check_hdf5(tmp_path / "x.h5", file)


@pytest.mark.parametrize("wait", [True, False])
def test_a_lock_neither_follows_a_link_nor_empties_a_file(tmp_path, wait):
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(OSError, match=r"\.lock"), locked(tmp_path / ".lock", wait=wait):
        pytest.fail("held a link")
    assert target.read_text() == "kept"
    os.replace(target, tmp_path / ".lock")
    with locked(tmp_path / ".lock", wait=wait):
        pass
    assert (tmp_path / ".lock").read_text() == "kept"
