"""Files made to run code, to reach beyond their folder or to fill the memory: refused, and nothing happens."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.reading import read_image
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench.report import leaderboard
from regbench.results.pairs import read_pairs
from regbench.weights.files import load_weights
from regbench.weights.published import tensor_groups
from tests.data.test_image_files import BOMBS
from tests.faults.command import Said, called, regbench
from tests.faults.table import Line, Size
from tests.report import made_up

ROW = 'controls = false\nseeds = [0]\n[[row]]\nname = "A"\nregistrator = "identity"\nbudget = "smoke"\n'


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Try each kind of hostile file."""
    for number, kind in enumerate((recipes, links, hdf5, names, pickles, bombs)):
        place = folder / str(number)
        place.mkdir()
        yield kind(size, place)


def _refused(line: Line, done: Said, what: str, *names: str, harm: bool = False) -> None:
    """Count a try: one line that names the file, and no harm."""
    line.tracebacks += done.trace
    line.generic += done.generic
    line.generic_said += [done.err.strip()[-300:]] * done.generic
    fine = done.code in (1, 2) and not harm and done.names(*names) and len(done.err.strip().splitlines()) == 1
    line.count(fine, f"{what}: code {done.code}{', harm done' if harm else ''}: {done.err[-300:]}")


def recipes(size: Size, folder: Path) -> Line:
    """A recipe that brings modules to where cells are started, or a board to where boards are, or names other files."""
    line = Line("recipes that reach beyond their folder")
    tops = [f'papers = ["{path}"]' for path in ("../../click", "../results/mine", "/tmp/click", "..", "a/../../click")]
    tops += [f'datasets = ["{path}"]' for path in ("../../evil.h5", "/etc/evil.h5", "~/evil.h5")]
    tops += ['set.run.share = "../../x"', 'set.protocol.source = "../x"', 'data.folder.pairs = "/etc/passwd"']
    for number, top in enumerate(tops):
        for dry in ([], ["--dry-run"]):
            place = folder / f"{number}{len(dry)}"
            recipe = place / "down" / "loads" / "evil.toml"
            recipe.parent.mkdir(parents=True)
            for name in ("click", "results/mine"):
                package = place / name
                package.mkdir(parents=True)
                (package / "__init__.py").write_text(f"open({str(place / 'CODE_RAN')!r}, 'w')\n")
                (package / "paper.csv").write_text("x")
            work = place / "work"
            work.mkdir()
            recipe.write_text(f'title = "T"\n{top}\n{ROW}')
            before = _tree(place)
            done = regbench("ablate", str(recipe), *dry, "--device", "cpu", folder=work)
            harm = (place / "CODE_RAN").exists() or bool(_tree(place) - before)
            _refused(line, done, f"{top} {' '.join(dry)}", "evil.toml", harm=harm)
    return line


def links(size: Size, folder: Path) -> Line:
    """Links in what a stranger sent, which would be read from or written through."""
    line = Line("links in runs, boards, papers and locks")
    secret = folder / "secret"
    secret.write_text("kept\n")
    made = made_up.save_run(folder / "runs", made_up.identity_of("mcnet"), made_up.pairs_of(0.3, 1)).run_id
    leaderboard.add(folder / "board", "b", [folder / "runs" / made])
    for name in (f"{made}.json", f"{made}.pairs.h5", "board.toml", "other.json"):
        place = folder / f"of-{name}"
        shutil.copytree(folder / "board", place)
        link = place / "results" / "b" / name
        link.unlink(missing_ok=True)
        link.symlink_to(secret)
        for verb in ("check", "build", "export"):
            more = ["--format", "csv"] if verb == "export" else []
            done = regbench("leaderboard", verb, "--root", str(place), *more, folder=folder)
            harm = secret.read_text() != "kept\n" or "kept" in done.out
            told = Said(done.code, "", done.out.splitlines()[0] if verb == "check" and done.out else done.err)
            _refused(line, told, f"{verb} of a link {name}", name, harm=harm)
    for name in (".lock", "log.jsonl", "health.jsonl", "checkpoint.safetensors", "deploys", "result.json"):
        out = folder / f"out-{name}"
        words = ["--registrator", "identity", "--budget", "smoke", "--out", str(out), "--device", "cpu"]
        words += [word for part in ("train=4", "test=4", "size=96") for word in ("--set", f"dataset.{part}")]
        done = regbench("evaluate", *words, folder=folder, environment={"REGBENCH_DATA": str(folder / "data")})
        assert done.code == 0, done.err
        (made,) = out.iterdir()
        (made / name).unlink(missing_ok=True)
        (made / name).symlink_to(secret)
        done = regbench("evaluate", *words, "-q", folder=folder, environment={"REGBENCH_DATA": str(folder / "data")})
        _refused(line, done, f"a run whose {name} is a link", name, harm=secret.read_text() != "kept\n")
    return line


def hdf5(size: Size, folder: Path) -> Line:
    """Packs and pairs whose data lie elsewhere, or that claim to be huge."""
    line = Line("HDF5 files that do not hold their data")
    pack = prepare(Synthetic(SyntheticConfig(train=6, test=4, size=64)), "synthetic", "1", folder / "pack.h5").path
    kept = made_up.save_run(folder, made_up.identity_of("mcnet"), made_up.pairs_of(0.3, 1))
    pairs = folder / kept.run_id / "pairs.h5"
    readers: dict[Path, tuple[str, Callable[[Path], Any]]] = {
        pack: ("train/a", Pack.open),
        pairs: ("error", read_pairs),
    }
    for path, (where, read) in readers.items():
        done = called(lambda read=read, path=path: read(path))
        assert done.code == 0, done.err
        for kind in ("external link", "external storage", "virtual", "bomb", "deflated bomb", "soft link to nothing"):
            bad = folder / f"{path.stem}-{kind.replace(' ', '-')}.h5"
            shutil.copy(path, bad)
            _spoil(bad, where, kind)
            began = time.monotonic()
            done = called(lambda read=read, bad=bad: read(bad))
            _refused(line, done, f"{kind} in {path.name}", bad.name, harm=time.monotonic() - began > 10)
    return line


def _spoil(path: Path, where: str, kind: str) -> None:
    other = path.with_name("other.h5")
    with h5py.File(path, "r+") as file:
        shape, dtype = file[where].shape, file[where].dtype
        content = file[where][()]
        del file[where]
        if kind == "external link":
            with h5py.File(other, "w") as elsewhere:
                elsewhere["x"] = content
            file[where] = h5py.ExternalLink(other.name, "/x")
        elif kind == "external storage":
            raw = path.with_suffix(".bin")
            raw.write_bytes(content.tobytes())
            file.create_dataset(where, shape=shape, dtype=dtype, external=[(str(raw), 0, raw.stat().st_size)])
        elif kind == "virtual":
            with h5py.File(other, "w") as elsewhere:
                elsewhere["x"] = content
            layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
            layout[...] = h5py.VirtualSource(str(other), "x", shape=shape)
            file.create_virtual_dataset(where, layout)
        elif kind == "bomb":
            file.create_dataset(where, shape=(10**9, *shape[1:]), dtype=dtype, chunks=(16, *shape[1:]))
        elif kind == "deflated bomb":
            zeros = np.zeros((5 * 10**6 // max(1, int(np.prod(shape[1:]))), *shape[1:]), dtype)
            file.create_dataset(where, data=zeros, compression="gzip")
        else:
            file[where] = h5py.SoftLink("/nowhere")


def names(size: Size, folder: Path) -> Line:
    """Names in files or on the command line that are paths."""
    line = Line("names that are paths")
    kept = made_up.save_run(folder, made_up.identity_of("mcnet"), made_up.pairs_of(0.3, 1))
    run_folder = folder / kept.run_id
    pack = prepare(Synthetic(SyntheticConfig(train=6, test=4, size=64)), "synthetic", "1", folder / "pack.h5").path
    bad = ("../../x", "/abs", "..", "", ".hidden", "a/b", "a\\b", "x\n", "x" * 300, "x\x1b[2J", "C:x", "x/../../../y")
    for name in bad:
        before = _tree(folder)
        done = regbench("leaderboard", "add", str(run_folder), "--board", name, "--root", "boards", folder=folder)
        _refused(line, done, f"board {name!r}", "board", harm=bool(_tree(folder) - before))
        renamed = folder / "renamed.h5"
        shutil.copy(pack, renamed)
        with h5py.File(renamed, "r+") as file:
            file.attrs["dataset"] = name
            del file.attrs["seal"]
        _refused(line, called(lambda renamed=renamed: Pack.open(renamed)), f"pack of {name!r}", "renamed.h5")
        board = folder / "root" / "results" / "b"
        board.mkdir(parents=True, exist_ok=True)
        (board / "board.toml").write_text(f"papers = [{_toml(name)}]\n")
        _refused(line, called(lambda: leaderboard.build(folder / "root")), f"paper {name!r}", "paper")
    return line


def _toml(text: str) -> str:
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\' else c for c in text)
    return f'"{escaped}"'


class _Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def pickles(size: Size, folder: Path) -> Line:
    """Checkpoints that run code when they are unpickled, read as weights by every way there is."""
    import builtins
    import codecs
    import functools
    import runpy
    import subprocess
    import timeit

    line = Line("pickles that run code")
    marker = folder / "CODE_RAN"
    shell, code = f"touch {marker}", f"open({str(marker)!r}, 'w')"
    script = folder / "evil.py"
    script.write_text(code)
    calls = {
        "os.system": _Calls(os.system, shell),
        "eval": _Calls(eval, code),
        "exec": _Calls(exec, code),
        "open": _Calls(open, str(marker), "w"),
        "subprocess": _Calls(subprocess.call, ["touch", str(marker)]),
        "runpy": _Calls(runpy.run_path, str(script)),
        "timeit": _Calls(timeit.timeit, code, "pass", timeit.default_timer, 1),
        "partial": _Calls(functools.partial, os.system, shell),
        "torch.load": _Calls(torch.load, str(script)),
        "import": _Calls(builtins.__import__, "antigravity"),
        "codecs": _Calls(codecs.open, str(marker), "w"),
    }
    network = nn.Linear(2, 2)
    for name, call in calls.items():
        for form, data in _forms({"weight": torch.zeros(2), "x": call}).items():
            path = folder / f"{name}-{form}.pth"
            path.write_bytes(data)
            for read in (tensor_groups, lambda path: load_weights(network, path)):
                done = called(lambda read=read, path=path: read(path))
                if done.code == 0 and not marker.exists():  # what would run was read as a stand-in that does nothing
                    line.count(True, "")
                else:
                    _refused(line, done, f"{name} as {form}", path.name, harm=marker.exists())
                marker.unlink(missing_ok=True)
    return line


def _forms(content: Any) -> dict[str, bytes]:
    """Bytes of the ways in which torch and Python store an object."""
    found = {f"protocol-{number}": pickle.dumps(content, number) for number in (0, 2, 4)}
    for name, modern in (("zip", True), ("legacy", False)):
        out = io.BytesIO()
        torch.save(content, out, _use_new_zipfile_serialization=modern)
        found[name] = out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(found["zip"])) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry) if not entry.endswith(".pkl") else found["protocol-2"])
    found["zip-repacked"] = out.getvalue()
    return found


def bombs(size: Size, folder: Path) -> Line:
    """Files that unfold, have no end or never answer."""
    line = Line("bombs, pipes and devices")
    for name, make in BOMBS.items():
        path = folder / f"bomb-{name.split()[0]}-{len(name)}"
        path.write_bytes(make())
        began = time.monotonic()
        done = called(lambda path=path: read_image(path))
        _refused(line, done, name, path.name, harm=time.monotonic() - began > 10)
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "device.png"):
        _refused(line, called(lambda name=name: read_image(folder / name)), name, name)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(3 * 10**8))
    (folder / "bomb.pth").write_bytes(out.getvalue())
    began = time.monotonic()
    done = called(lambda: tensor_groups(folder / "bomb.pth"))
    _refused(line, done, "an archive that unfolds", "bomb.pth", harm=time.monotonic() - began > 10)
    return line


def _tree(folder: Path) -> set[Path]:
    """Everything below a folder."""
    return {Path(where, name) for where, folders, files in os.walk(folder) for name in (*folders, *files)}
