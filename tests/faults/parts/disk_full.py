"""A full disk at every write: one line that says so, and once there is space the same command ends with the result."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from regbench.data.packs.pack import Pack
from tests.faults.processes import Forge
from tests.faults.runs import command, difference, run_in
from tests.faults.table import Line, Size

LIMITS = (60, 200, 1000, 3000, 4096, 5000, 20_000, 60_000, 150_000)
"""Bytes that a file may have: writes fail in their middle, logs end in half a line. What a command says is in a file
too, so that fewer would cut its refusal short."""
SIZES = (16, 32, 64, 128, 256, 400)
"""KiB of a disk."""
SAYS = ("disk is full", "larger than is allowed", "no space left", "File too large")


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Fill the disk at every write of a run, of a preparation and of a board."""
    with Forge(folder) as forge:
        count = folder / "writes"
        first = forge.run(*command("supervised", folder / "whole"), count=str(count))
        assert first.code == 0, first.err
        whole = run_in(folder / "whole")
        writes = int(count.read_text().split()[1])
        line = Line("disk full at every write of a run")
        for number in range(1, writes + 1) if size == "full" else (writes // 2,):
            _try(forge, line, whole, f"write {number} of {writes}", full_at=number)
        yield line

        line = Line("files that may not grow, of a run")
        for limit in LIMITS if size == "full" else LIMITS[2:3]:
            _try(forge, line, whole, f"{limit} bytes", largest_file=limit)
        yield line

        if size == "full":
            yield _small_disks(forge, whole)
        yield _packs(forge, size)


def _try(forge: Forge, line: Line, whole: Path, what: str, out: Path | None = None, **fault: int) -> None:
    out = out or forge.folder / "full"
    ended = forge.run(*command("supervised", out), **fault)
    line.tracebacks += ended.trace
    line.generic += ended.generic
    told = any(words in ended.err for words in SAYS)
    again = forge.run(*command("supervised", out))
    wrong = again.last if again.code else difference(run_in(out), whole)
    line.count(not wrong and (told or ended.code == 0), f"{what}: {wrong or ended.last}")
    shutil.rmtree(out)


def _small_disks(forge: Forge, whole: Path) -> Line:
    """Disks of a few kilobytes, which then grow; no try is counted where this system lets nobody make one."""
    line = Line("disks of 16 to 400 KiB")
    disk = forge.folder / "disk"
    disk.mkdir()
    for kilobytes in SIZES:
        options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
        if subprocess.run(["mount", *options], capture_output=True).returncode:
            break
        try:
            ended = forge.run(*command("supervised", disk / "out"))
            line.tracebacks += ended.trace
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            again = forge.run(*command("supervised", disk / "out"))
            wrong = again.last if again.code else difference(run_in(disk / "out"), whole)
            told = ended.code == 0 or any(words in ended.err for words in SAYS)
            line.count(not wrong and told, f"{kilobytes} KiB: {wrong or ended.last}")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return line


def _packs(forge: Forge, size: Size) -> Line:
    line = Line("disk full at every write of datasets prepare")
    images = 70 if size == "full" else 20
    words = ["datasets", "prepare", "synthetic", "--set", f"train={images}", "--set", "test=20", "--set", "size=112"]
    count = forge.folder / "writes"
    assert forge.run(*words, environment={"REGBENCH_DATA": str(forge.folder / "a")}, count=str(count)).code == 0
    (whole,) = (forge.folder / "a").glob("*.h5")
    writes = int(count.read_text().split()[1])
    tries = [{"full_at": n} for n in range(1, writes + 1)]
    tries += [{"largest_file": limit} for limit in (1000, 3000, 100_000, 1_000_000)]
    for fault in tries if size == "full" else (tries[1], {"largest_file": 3000}):
        environment = {"REGBENCH_DATA": str(forge.folder / "b")}
        ended = forge.run(*words, environment=environment, **fault)
        told = any(text in ended.err for text in SAYS) or ended.code == 0
        again = forge.run(*words, environment=environment)
        paths = list((forge.folder / "b").glob("*.h5"))
        same = len(paths) == 1 and Pack.open(paths[0]).sha256 == Pack.open(whole).sha256
        line.tracebacks += ended.trace + again.trace
        line.count(told and same, f"{fault}: {ended.last}; {again.last}")
        shutil.rmtree(forge.folder / "b", ignore_errors=True)
    return line
