"""SIGKILL at random instants and at every moment of every write; signals: the same command ends with the same."""

from __future__ import annotations

import itertools
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from regbench.data.packs.pack import Pack
from regbench.report import leaderboard
from tests.faults.processes import Forge, instants
from tests.faults.runs import COMMANDS, command, difference, run_in
from tests.faults.table import Line, Size

KINDS = {"small": ["supervised"], "full": list(COMMANDS)}
INSTANTS = {"small": 1, "full": 12}
MOMENTS = {"small": 1, "full": 12}
"""Of the writes of a run; all of them for the first command of the full size."""


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Kill runs, preparations and boards, then let the same command end."""
    with Forge(folder) as forge:
        for name in KINDS[size]:
            yield from _runs(forge, name, size)
        yield _packs(forge, size)
        yield _boards(forge, size)
        yield from _signals(forge, size)


def _runs(forge: Forge, name: str, size: Size) -> Iterator[Line]:
    folder = forge.folder
    began = time.monotonic()
    first = forge.run(*command(name, folder / "whole" / name), count=str(folder / "moments"))
    seconds = time.monotonic() - began
    whole = run_in(folder / "whole" / name)
    assert first.code == 0, first.err
    line = Line(f"SIGKILL at random instants: {name}")
    out = folder / "killed"
    for n, after in enumerate(instants(INSTANTS[size], seconds, len(name)), 1):
        ended = forge.run_and_kill(after, *command(name, out))
        if n % 3 == 0 or n == INSTANTS[size]:  # three kills of one run at most, then it may end
            _finish(forge, line, name, out, whole, f"after {after:.2f} s")
        else:
            line.count(ended.code in (0, -signal.SIGKILL), f"after {after:.2f} s: {ended.last}")
        line.tracebacks += ended.trace
    yield line

    line = Line(f"SIGKILL at every moment of a write: {name}")
    moments = int((folder / "moments").read_text().split()[0])
    every = size == "full" and name == "supervised"
    for moment in range(1, moments + 1) if every else _spread(moments, MOMENTS[size]):
        ended = forge.run(*command(name, out), die_at=moment)
        assert ended.code == -signal.SIGKILL, ended.err
        _finish(forge, line, name, out, whole, f"moment {moment} of {moments}")
    yield line


def _spread(count: int, most: int) -> list[int]:
    return sorted({1 + round((i + 0.5) * (count - 1) / most) for i in range(most)})


def _finish(forge: Forge, line: Line, name: str, out: Path, whole: Path, what: str) -> None:
    """Let the same command end, and compare."""
    ended = forge.run(*command(name, out))
    line.tracebacks += ended.trace
    wrong = ended.last if ended.code else difference(run_in(out), whole)
    line.count(not wrong, f"{what}: {wrong}")
    shutil.rmtree(out)


def _packs(forge: Forge, size: Size) -> Line:
    """A preparation, killed again and again."""
    line = Line("SIGKILL in datasets prepare")
    images = 60 if size == "full" else 20
    words = ["datasets", "prepare", "synthetic", "--set", f"train={images}", "--set", "test=20", "--set", "size=128"]

    def packs(name: str) -> dict[str, str]:
        return {"REGBENCH_DATA": str(forge.folder / name)}

    began = time.monotonic()
    assert forge.run(*words, environment=packs("undisturbed")).code == 0
    seconds = time.monotonic() - began
    (whole,) = (forge.folder / "undisturbed").glob("*.h5")
    for n, after in enumerate(instants(3 if size == "small" else 36, seconds, 5)):  # three kills of one preparation
        ended = forge.run_and_kill(after, *words, environment=packs("disturbed"))
        line.count(ended.code in (0, -signal.SIGKILL), f"after {after:.2f} s: {ended.last}")
        if n % 3 == 2:
            ended = forge.run(*words, environment=packs("disturbed"))
            (path,) = (forge.folder / "disturbed").glob("*.h5")
            Pack.open(path).verify()
            left = list((forge.folder / "disturbed").glob("*.partial*"))
            line.count(Pack.open(path).sha256 == Pack.open(whole).sha256 and not left, f"another pack, left {left}")
            shutil.rmtree(forge.folder / "disturbed")
    return line


def _boards(forge: Forge, size: Size) -> Line:
    """Adding and building, killed at every moment of every write."""
    line = Line("SIGKILL in leaderboard add and build")
    run_folder = run_in(forge.folder / "whole" / "supervised")
    root = forge.folder / "boards"
    steps = (["leaderboard", "add", run_folder, "--board", "b"], ["leaderboard", "build"])
    for words in steps:
        assert forge.run(*words, "--root", root).code == 0
    page = (root / "b.md").read_bytes()
    for words in steps:
        for moment in itertools.count(1, 1 if size == "full" else 6):
            kept = forge.folder / "kept"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(root, kept)
            (kept / "b.md").unlink()
            if words is steps[0]:
                shutil.rmtree(kept / "results" / "b")
            if forge.run(*words, "--root", kept, die_at=moment).code != -signal.SIGKILL:
                break
            codes = [forge.run(*again, "--root", kept).code for again in steps]
            problems = leaderboard.check(kept)
            left = [path.name for path in kept.rglob("*") if path.name.endswith(".partial")]
            same = (kept / "b.md").read_bytes() == page
            line.count(codes == [0, 0] and not problems and same and not left, f"{words[1]}: {problems or left}")
    return line


def _signals(forge: Forge, size: Size) -> Iterator[Line]:
    """Every signal, anywhere: the documented exit code, and the same command goes on."""
    line = Line("signals at random instants")
    folder = forge.folder
    whole = run_in(folder / "whole" / "supervised")
    wishes = [(signal.SIGINT, {}, 130), (signal.SIGTERM, {}, 143), (signal.SIGUSR1, {}, 75),
              (signal.SIGTERM, {"SLURM_JOB_ID": "1"}, 75), (signal.SIGHUP, {}, 143)]  # fmt: skip
    began = time.monotonic()
    forge.run(*command("supervised", folder / "timed"))
    seconds = time.monotonic() - began
    for number, environment, code in wishes if size == "full" else wishes[1:2]:
        for after in instants(max(1, INSTANTS[size] // 2), seconds, number):
            out = folder / "signalled"
            words = command("supervised", out)
            ended = forge.run_and_kill(0.05 + after, *words, number=number, environment=environment)
            line.count(ended.code in (code, 0), f"{signal.Signals(number).name} after {after:.2f} s: {ended.code}")
            line.tracebacks += ended.trace
            if out.exists():
                _finish(forge, line, "supervised", out, whole, f"{signal.Signals(number).name} after {after:.2f} s")
    yield line
