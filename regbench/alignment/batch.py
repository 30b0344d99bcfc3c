"""Many pairs of files: from a list or two folders, one row of results a pair, going on after a bad one."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from regbench.alignment.aligner import Aligner
from regbench.errors import DataError, RegbenchError, UsageError

RESULTS = "results.csv"
COLUMNS = ("source", "target", "ok", "confidence", "method", "inliers", *(f"h{i}{j}" for i in "123" for j in "123"),
           "folder", "error")  # fmt: skip
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm", ".jp2")


class FilePair(NamedTuple):
    """Two files to align."""

    source: Path
    target: Path


def pairs_of_list(path: Path) -> list[FilePair]:
    """The pairs of a CSV file with columns ``source`` and ``target``; other files are taken from its folder.

    Raises:
        DataError: it cannot be read, has no such columns, or a row lacks one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file: {error}") from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if "source" not in names or "target" not in names:
        raise DataError(f"{path}, line 1: names no columns source and target; begin the file with a line source,target")
    found = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        cells = dict(zip(names, (cell.strip() for cell in row), strict=False))
        if not cells.get("source") or not cells.get("target"):
            raise DataError(f"{path}, line {number}: names no source or no target")
        found.append(FilePair(path.parent / cells["source"], path.parent / cells["target"]))
    if not found:
        raise DataError(f"{path} holds no pair below its first line")
    return found


def pairs_of_folders(source: Path, target: Path) -> tuple[list[FilePair], list[str]]:
    """Files of one name, whatever their endings, in two folders; and the names that only one of them has.

    Raises:
        DataError: a folder holds no image, two images of one name, or the folders have no name in common.
    """
    sides = []
    for folder in (source, target):
        named: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in _IMAGES and path.is_file():
                if path.stem in named:
                    raise DataError(
                        f"{folder} holds {named[path.stem].name} and {path.name}; list the pairs with --pairs"
                    )
                named[path.stem] = path
        if not named:
            raise DataError(f"{folder} holds no image ({', '.join(_IMAGES)})")
        sides.append(named)
    common = sorted(sides[0].keys() & sides[1].keys())
    if not common:
        raise DataError(f"{source} and {target} have no file name in common; list the pairs with --pairs FILE.csv")
    alone = sorted(sides[0].keys() ^ sides[1].keys())
    return [FilePair(sides[0][name], sides[1][name]) for name in common], alone


def align_files(
    aligner: Aligner, pairs: Sequence[FilePair], out: Path, options: dict[str, Any], tell: Callable[[str], None]
) -> int:
    """Align pairs of files and write ``results.csv`` and a folder each.

    Args:
        aligner: what aligns.
        pairs: the files.
        out: folder to write to, which is made.
        options: of :meth:`regbench.alignment.aligner.Aligner.align`.
        tell: is handed a line for each pair.

    Returns:
        The number of pairs without an answer.

    Raises:
        RegbenchError: the folder cannot be written.
    """
    failed = 0
    with _results(out) as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for number, pair, folder in _numbered(pairs, out):
            row: dict[str, Any] = {"source": pair.source, "target": pair.target, "ok": False}
            try:
                found = aligner.align(pair.source, pair.target, **options)
                found.save(folder)
                row |= {
                    "ok": found.ok,
                    "confidence": f"{found.confidence:.4f}",
                    "method": found.method,
                    "folder": folder,
                }
                row["inliers"] = found.inliers
                if found.ok:
                    row |= dict(zip(COLUMNS[6:15], found.homography.ravel().tolist(), strict=True))
                said = f"{found.method}, confidence {found.confidence:.2f}" if found.ok else "no answer"
            except RegbenchError as error:
                row["error"] = said = str(error)
            failed += not row["ok"]
            table.writerow(row)
            file.flush()
            tell(f"{number}/{len(pairs)} {pair.source.name} > {pair.target.name}: {said}")
    return failed


def _results(out: Path) -> TextIO:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return (out / RESULTS).open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise RegbenchError(f"{out / RESULTS} cannot be written: {error.strerror}") from None


def _numbered(pairs: Sequence[FilePair], out: Path) -> Iterator[tuple[int, FilePair, Path]]:
    width = len(str(len(pairs)))
    for number, pair in enumerate(pairs, 1):
        name = re.sub(r"[^\w.-]+", "_", pair.source.stem)[:60]
        yield number, pair, out / f"{number:0{width}d}-{name}"


def check_pairs(source: Path | None, target: Path | None, listed: Path | None) -> bool:
    """Whether many pairs are meant; raises UsageError where the words do not fit together."""
    if listed is not None:
        if source is not None:
            raise UsageError("--pairs lists the images; name none beside it")
        return True
    if source is None or target is None:
        raise UsageError("name SOURCE and TARGET: two images, or two folders; or list pairs with --pairs FILE.csv")
    if source.is_dir() != target.is_dir():
        raise UsageError(f"{source} and {target}: name two images, or two folders")
    return source.is_dir()
