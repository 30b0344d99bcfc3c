"""A CSV of pairs: which files belong together, their groups, splits and labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regbench import DataError, Split
from regbench.data.source_files import note_read

LABEL = tuple(f"h{row}{column}" for row in "123" for column in "123")
TIE = ("xa", "ya", "xb", "yb")
Row = dict[str, str]


class Entry(NamedTuple):
    """One pair: its files, what it belongs to, and its truth where there is one."""

    key: str
    a: Path
    b: Path
    group: str
    homography: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None


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
    columns, rows = read_table(path, ("source", "target"))
    if not rows:
        raise DataError(f"{path} lists no pairs")
    labels = columns & set(LABEL)
    if labels and labels != set(LABEL):
        raise DataError(f"{path} has some of the columns h11..h33 but lacks {', '.join(set(LABEL) - labels)}")
    if (labels or "points" in columns) and aligned:
        what = "homographies" if labels else "tie points"
        raise DataError(f"{path} has {what}: its pairs are not aligned, add --set dataset.aligned=false")
    splits: dict[Split | None, list[Entry]] = {}
    for line, row in enumerate(rows, start=2):
        splits.setdefault(_split(path, line, row), []).append(_entry(path, line, row))
    both = {e.group for e in splits.get("train", ())} & {e.group for e in splits.get("test", ())}
    if both:
        raise DataError(f"{path}: group {min(both)!r} is in train and in test, so test images were seen")
    return splits


def read_table(path: Path, needed: tuple[str, ...]) -> tuple[set[str], list[Row]]:
    """Columns and rows of a CSV; raises DataError where it cannot be read or lacks a needed column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    note_read(path)
    if not set(needed) <= columns:
        wanted = ", ".join(needed[:-1]) + f" and {needed[-1]}"
        raise DataError(f"{path} needs the columns {wanted}; it has {', '.join(sorted(columns))}")
    return columns, rows


def _split(path: Path, line: int, row: Row) -> Split | None:
    if "split" not in row:
        return None
    if row["split"] == "train":
        return "train"
    if row["split"] == "test":
        return "test"
    raise DataError(f"{path} line {line}: split is {row['split']!r}, not train or test")


def _entry(path: Path, line: int, row: Row) -> Entry:
    if not (row["source"] and row["target"]):
        raise DataError(f"{path} line {line}: source or target is empty")
    a, b = path.parent / row["source"], path.parent / row["target"]
    for file in (a, b):
        if not file.is_file():
            raise DataError(f"{path} line {line}: {file} is missing")
    points = tie_points(path.parent / row["points"]) if row.get("points") else None
    return Entry(row["source"], a, b, row.get("group") or row["source"], _homography(path, line, row), points)


def _homography(path: Path, line: int, row: Row) -> NDArray[np.float64] | None:
    values = [row[name] for name in LABEL if row.get(name)]
    if not values:
        return None
    try:
        homography = np.array([float(v) for v in values]).reshape(3, 3)
        homography /= homography[2, 2]
    except ValueError:
        raise DataError(f"{path} line {line}: h11..h33 are not nine numbers") from None
    if not np.isfinite(homography).all() or abs(np.linalg.det(homography)) < 1e-12:
        raise DataError(f"{path} line {line}: h11..h33 are not an invertible homography")
    return homography


def tie_points(path: Path) -> NDArray[np.float64]:
    """Tie points ``(K, 4)``, K >= 1, of a CSV with the columns xa, ya, xb, yb; raises DataError naming the line."""
    _, rows = read_table(path, TIE)
    points = []
    for line, row in enumerate(rows, start=2):
        try:
            point = [float(row[name]) for name in TIE]
        except (TypeError, ValueError):
            point = [np.nan]
        if not np.isfinite(point).all():
            raise DataError(f"{path} line {line}: xa, ya, xb, yb are not four numbers")
        points.append(point)
    if not points:
        raise DataError(f"{path} lists no tie points")
    return np.array(points)
