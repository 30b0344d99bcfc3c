"""Damage to every kind of file: it is noticed, what can be made again is, and only lost training asks for --force."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from regbench.report import leaderboard
from tests.faults.processes import Forge
from tests.faults.runs import DATA, command, difference, run_in
from tests.faults.table import Line, Size

Damage = Callable[[Path, random.Random], object]


def _flip(path: Path, drawn: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "missing": lambda path, _: path.unlink(),
    "empty": lambda path, _: path.write_bytes(b""),
    "truncated": lambda path, drawn: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * drawn.random())]),
    "a bit flipped": _flip,
    "garbage": lambda path, drawn: path.write_bytes(drawn.randbytes(1000)),
    "a folder": lambda path, _: (path.unlink(), path.mkdir()),
}
FILES = ("config.json", "result.json", "pairs.h5", "weights.safetensors", "checkpoint.safetensors", "health.jsonl",
         "log.jsonl", "curve.jsonl", "deploys/supervised.registrator.h5")  # fmt: skip


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Damage the files of runs, packs and boards, each alone and with the result gone."""
    with Forge(folder) as forge:
        ended = forge.run(*command("supervised", folder / "whole"))
        assert ended.code == 0, ended.err
        whole = run_in(folder / "whole")
        for gone in ((), ("result.json",), ("result.json", "weights.safetensors")):
            what = f" ({' and '.join(gone)} gone)" if gone else ""
            line = Line(f"damaged files of a run{what}")
            for number, (name, damage, repeat) in enumerate(_cases(size)):
                if name not in gone and (size == "full" or number % 23 == len(gone)):
                    _try(forge, line, whole, gone, name, damage, repeat)
            yield line
        yield _packs(forge, size)
        yield _boards(forge, whole, size)


def _cases(size: Size) -> Iterator[tuple[str, str, int]]:
    for name in FILES:
        for damage in DAMAGES:
            for repeat in range(3 if size == "full" and damage in ("truncated", "a bit flipped") else 1):
                yield name, damage, repeat


def _try(forge: Forge, line: Line, whole: Path, gone: tuple[str, ...], name: str, damage: str, repeat: int) -> None:
    out = forge.folder / "damaged"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(whole.parent, out)
    for other in gone:
        (run_in(out) / other).unlink()
    path = run_in(out) / name
    if not path.exists():
        path = next((run_in(out) / "deploys").iterdir())
    DAMAGES[damage](path, random.Random(f"{name}{damage}{repeat}"))
    ended = forge.run(*command("supervised", out))
    line.tracebacks += ended.trace
    line.generic += ended.generic
    if ended.code == 0:
        line.count(not (wrong := _wrong(out, whole)), f"{name} {damage}: {wrong}")
        return
    if damage == "a folder" and "is a folder where a file belongs; remove it" in ended.last:
        line.count(True, "")
        return
    lost = "checkpoint" in name and len(gone) == 2
    forced = forge.run(*command("supervised", out, "--force"))
    wrong = forced.last if forced.code else _wrong(out, whole)
    line.count(lost and "--force" in ended.last and not wrong, f"{name} {damage}: {ended.last}; {wrong}")


def _wrong(out: Path, whole: Path) -> str:
    try:
        return difference(run_in(out), whole)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _packs(forge: Forge, size: Size) -> Line:
    """A damaged pack is refused, and made again with --force."""
    line = Line("damaged packs")
    (pack,) = (forge.folder / "packs").glob("*.h5")
    kept = forge.folder / "kept.h5"
    shutil.copyfile(pack, kept)
    words = ["evaluate", "--registrator", "identity", "--budget", "smoke", *DATA, "-q", "--json"]
    first = forge.run(*words, "--out", forge.folder / "of-whole")
    assert first.code == 0, first.err
    for repeat in range(20 if size == "full" else 1):
        for damage in ("a bit flipped", "empty", "truncated", "garbage")[: 4 if size == "full" else 1]:
            shutil.copyfile(kept, pack)
            DAMAGES[damage](pack, random.Random(f"{damage}{repeat}"))
            out = forge.folder / "of-damaged"
            ended = forge.run(*words, "--out", out)
            line.tracebacks += ended.trace
            if ended.code == 0:  # a bit that means nothing, such as one between arrays
                wrong = _wrong(out, run_in(forge.folder / "of-whole"))
                line.count(not wrong, f"{damage} {repeat}: judged, {wrong}")
            else:
                again = forge.run(*words, "--out", out, "--force")
                wrong = again.last if again.code else _wrong(out, run_in(forge.folder / "of-whole"))
                told = pack.name in ended.last and "regbench datasets prepare" in ended.last
                line.count(told and not wrong, f"{damage} {repeat}: {ended.last}; {wrong}")
            shutil.rmtree(out, ignore_errors=True)
    shutil.copyfile(kept, pack)
    return line


def _boards(forge: Forge, whole: Path, size: Size) -> Line:
    """A damaged file of a board is named by check."""
    line = Line("damaged files of a board")
    root = forge.folder / "boards"
    leaderboard.add(root, "b", [whole])
    leaderboard.build(root)
    kept = forge.folder / "kept-boards"
    shutil.copytree(root, kept)
    for repeat in range(25 if size == "full" else 1):
        for suffix in (".json", ".pairs.h5"):
            for damage in DAMAGES:
                shutil.rmtree(root)
                shutil.copytree(kept, root)
                path = next((root / "results" / "b").glob(f"*{suffix}"))
                before = path.read_bytes()
                DAMAGES[damage](path, random.Random(f"{suffix}{damage}{repeat}"))
                if path.is_file() and path.read_bytes() == before:
                    continue
                try:
                    problems = leaderboard.check(root)
                except Exception as error:
                    line.tracebacks += 1
                    line.count(False, f"{suffix} {damage}: {type(error).__name__}: {error}")
                    continue
                same = not problems and _same_board(root, kept)
                line.count(bool(problems) or same, f"{suffix} {damage} {repeat}: not noticed")
    return line


def _same_board(root: Path, kept: Path) -> bool:
    """Whether two boards say the same, though their files differ: a bit of no meaning was flipped."""
    return leaderboard.render(root, "b") == leaderboard.render(kept, "b")
