"""A CSV of pairs: which files belong together, their groups, splits and labels."""

from __future__ import annotations

import csv
import difflib
import io
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regbench import DataError, Split
from regbench.data.naming import composed, located
from regbench_datasets._text import read_text

LABEL = tuple(f"h{row}{column}" for row in "123" for column in "123")
TIE = ("xa", "ya", "xb", "yb")
Row = dict[str, str]
FileId = tuple[int, int]


class Entry(NamedTuple):
    """One pair: its files, what it belongs to, and its truth where there is one."""

    key: str
    a: Path
    b: Path
    group: str
    homography: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    line: int = 0
    """Of the CSV that names it."""


def read_pairs(path: Path, aligned: bool) -> dict[Split | None, list[Entry]]:
    """The pairs of a CSV by split; under None where it has no column of that name.

    Columns: source, target and, as wanted, split, group, h11..h33 and points (a CSV of tie points xa, ya, xb, yb).
    Paths are relative to the file.

    Args:
        path: the CSV.
        aligned: whether the pairs are said to be aligned; then they may carry no truth.

    Raises:
        DataError: naming the file, and the line where it is one.
    """
    columns, rows = read_table(path, ("source", "target"), ("split", "group", "points", *LABEL))
    if not rows:
        raise DataError(f"{path} lists no pairs")
    labels = columns & set(LABEL)
    if labels and labels != set(LABEL):
        lacking = ", ".join(name for name in LABEL if name not in labels)
        raise DataError(f"{path} has some of the columns h11..h33 but lacks {lacking}")
    if (labels or "points" in columns) and aligned:
        what = "homographies" if labels else "tie points"
        raise DataError(f"{path} has {what}: its pairs are not aligned, add --set dataset.aligned=false")
    splits: dict[Split | None, list[Entry]] = {}
    groups: dict[FileId, str] = {}
    for line, row in rows:
        entry = _entry(path, line, row)
        if not row.get("group"):  # pairs that share a file are not independent of each other
            shared = next((groups[file] for file in _ids(entry) if file in groups), entry.group)
            groups |= dict.fromkeys(_ids(entry), shared)
            entry = entry._replace(group=shared)
        splits.setdefault(_split(path, line, row), []).append(entry)
    both = {e.group for e in splits.get("train", ())} & {e.group for e in splits.get("test", ())}
    refuse_repeats(path, splits)
    if both:
        raise DataError(f"{path}: group {min(both)!r} is in train and in test, so test images were seen")
    return splits


def read_table(path: Path, needed: Sequence[str], known: Sequence[str] = ()) -> tuple[set[str], list[tuple[int, Row]]]:
    """Columns and rows of a CSV, each row with the line of the file it ends on.

    Names of columns may be in any case. Spaces around cells are left out, and so are empty lines.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        needed: columns it must have.
        known: columns that have a meaning; one that is spelt nearly so is refused, others are not looked at.

    Raises:
        DataError: it cannot be read, lacks a needed column, or a row has more or fewer fields than the header; names
            the file and the line.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True, strict=True)
    table: list[tuple[int, list[str]]] = []
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                table.append((reader.line_num, [field.strip() for field in fields]))
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from None
    header = [name.casefold() for name in table[0][1]] if table else []
    _check_header(path, header, needed, known)
    rows = []
    for line, fields in table[1:]:
        if len(fields) != len(header):
            why = "; a decimal comma makes two fields of a number" if len(fields) > len(header) else ""
            raise DataError(f"{path} line {line} has {len(fields)} fields, but the header has {len(header)}{why}")
        rows.append((line, dict(zip(header, fields, strict=True))))
    return set(header), rows


def _check_header(path: Path, header: Sequence[str], needed: Sequence[str], known: Sequence[str]) -> None:
    if not set(needed) <= set(header):
        wanted = ", ".join(needed[:-1]) + f" and {needed[-1]}"
        told = ", ".join(header) or "none"
        separator = next((f"; fields must be separated by commas, not by {c!r}" for c in ";\t" if c in told), "")
        raise DataError(f"{path} needs the columns {wanted}; it has {told}{separator}")
    for name in header:
        if name and header.count(name) > 1:
            raise DataError(f"{path} names the column {name} twice")
        if name not in needed and name not in known and (meant := difflib.get_close_matches(name, known, 1, 0.85)):
            raise DataError(f"{path} has a column {name!r}; did you mean {meant[0]!r}?")


def _split(path: Path, line: int, row: Row) -> Split | None:
    if "split" not in row:
        return None
    if row["split"] == "train":
        return "train"
    if row["split"] == "test":
        return "test"
    raise DataError(f"{path} line {line}: split is {row['split']!r}, not train or test")


def _entry(path: Path, line: int, row: Row) -> Entry:
    a, b = (_file(path, line, row[name], name) for name in ("source", "target"))
    points = tie_points(_file(path, line, row["points"], "points")) if row.get("points") else None
    key = posixpath.normpath(composed(row["source"]))
    return Entry(key, a, b, composed(row.get("group") or key), _homography(path, line, row), points, line)


def _file(path: Path, line: int, name: str, column: str) -> Path:
    """The file that a cell names, relative to the CSV; raises DataError naming the line."""
    if not name:
        raise DataError(f"{path} line {line}: {column} is empty")
    file = path.parent / Path(name).expanduser()
    found = located(file)
    if found is None or not found.is_file():
        slashes = "; write / for \\" if "\\" in name else ""
        raise DataError(f"{path} line {line}: {file} is {'missing' if found is None else 'not a file'}{slashes}")
    return found


def _ids(entry: Entry) -> list[FileId]:
    """What the source and the target are on the disk, however they are spelt or linked to."""
    return [(stat.st_dev, stat.st_ino) for stat in (entry.a.stat(), entry.b.stat())]


def refuse_repeats(path: Path, splits: Mapping[Any, Sequence[Entry]]) -> None:
    """Refuse a CSV in which a file is in both splits, or twice the source of one.

    Args:
        path: the CSV.
        splits: its pairs.

    Raises:
        DataError: naming both lines and both files.
    """
    first: dict[FileId, tuple[Any, Entry, Path, bool]] = {}
    for split, entries in splits.items():
        for entry in entries:
            for file, here, source in zip(_ids(entry), (entry.a, entry.b), (True, False), strict=True):
                elsewhere, other, there, also = first.setdefault(file, (split, entry, here, source))
                if other is entry:
                    continue
                same = f"{path} lines {other.line} and {entry.line}: {there} and {here} are the same file"
                if elsewhere != split:
                    raise DataError(f"{same}, in {elsewhere} and in {split}, so test images were seen")
                if source and also:
                    raise DataError(f"{same}; a source may be listed once")


def _homography(path: Path, line: int, row: Row) -> NDArray[np.float64] | None:
    if not any(row.get(name) for name in LABEL):
        return None
    values = np.array([_number(path, line, name, row[name]) for name in LABEL]).reshape(3, 3)
    if values[2, 2] == 0 or abs(np.linalg.det(homography := values / values[2, 2])) < 1e-12:
        raise DataError(f"{path} line {line}: h11..h33 are not an invertible homography")
    return homography


def tie_points(path: Path) -> NDArray[np.float64]:
    """Tie points ``(K, 4)``, K >= 1, of a CSV with the columns xa, ya, xb, yb; raises DataError naming the line."""
    _, rows = read_table(path, TIE)
    if not rows:
        raise DataError(f"{path} lists no tie points")
    return np.array([[_number(path, line, name, row[name]) for name in TIE] for line, row in rows])


def _number(path: Path, line: int, name: str, text: str) -> float:
    """A finite number with a decimal point; raises DataError naming the line and the column."""
    try:
        number = float(text) if re.fullmatch(r"[-+.eE0-9]+", text) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        hint = f" (write {text.replace(',', '.')})" if re.fullmatch(r"[-+]?\d+,\d+", text) else ""
        raise DataError(f"{path} line {line}: {name} is {text!r}, not a number{hint}")
    return number
