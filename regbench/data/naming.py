"""Which files belong together: the images of a folder, their names as people read them, partners, splits.

Every reader lists files by :func:`images_in`. Names are compared in Unicode's composed form (NFC), because macOS
unpacks archives with decomposed names, and without regard to case. Two files of a folder whose names differ in nothing
else are refused: which of them is meant depends on the machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from regbench.api.dataset import Card, Split
from regbench.errors import DataError

SUFFIXES = frozenset(
    f".{kind}" for kind in ("png", "jpg", "jpeg", "jpe", "jfif", "tif", "tiff", "bmp", "dib", "webp", "jp2")
) | {".pgm", ".ppm", ".pbm", ".pnm"}
"""Kinds of images that are read, whatever the case of the suffix."""
UNREAD = frozenset(
    f".{kind}" for kind in ("gif", "heic", "heif", "avif", "jxl", "exr", "hdr", "pfm", "psd", "npy", "npz", "mat")
) | {".fits", ".fit", ".dcm", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".raw"}
"""Kinds that hold images and are not read."""


def images_in(folder: Path) -> dict[str, Path]:
    """The image files of a folder by stem (NFC), in natural order; hidden files are left out.

    Raises:
        DataError: the folder cannot be listed; two files share a stem, in whatever case or Unicode form; a name is not
            UTF-8; an image is of a kind that is not read. Names the file.
    """
    files: dict[str, Path] = {}
    unread: list[Path] = []
    for path in entries(folder):
        suffix = path.suffix.lower()
        if suffix in UNREAD:
            unread.append(path)
        elif suffix in SUFFIXES:
            files[path.name] = path
    by_stem: dict[str, Path] = {}
    for path in files.values():
        stem = _folded(path.stem)
        if (other := by_stem.get(stem)) is not None:
            raise DataError(f"{other} and {path.name} {_difference(other, path)}; keep one of them")
        by_stem[stem] = path
    for path in unread:
        if _folded(path.stem) not in by_stem:  # else it comes with an image, as depth in metres may
            raise DataError(
                f"{path} is an image of a kind that is not read ({path.suffix}); convert it, or take it away"
            )
    return {composed(path.stem): path for path in files.values()}


def entries(folder: Path, *, folders: bool = False) -> list[Path]:
    """The files of a folder, or its folders, in natural order without hidden ones.

    Raises:
        DataError: it cannot be listed, or a name is not UTF-8; names it.
    """
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if entry.is_dir() == folders and not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{printable(folder)} cannot be listed: {error.strerror}") from None
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{printable(folder / name)}: this name is not UTF-8, so it cannot be stored; rename the files, for "
                f"instance with `convmv -r -f GBK -t UTF-8 --notest` where an archive was made on a Chinese system"
            ) from None
    return [folder / name for name in sorted(names, key=natural)]


def matched(a: Mapping[str, Path], b: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    """Files of two folders that share a stem, by the stem of A (NFC), in natural order.

    Args:
        a: the files of one folder by stem, as :func:`images_in` gives them.
        b: those of the other.

    Raises:
        DataError: a file has no partner of its stem; names it.
    """
    folded = [{_folded(stem): path for stem, path in side.items()} for side in (a, b)]
    for have, lack in (folded, folded[::-1]):
        if alone := sorted(set(have) - set(lack), key=natural):
            where = next(iter(lack.values())).parent if lack else "the other folder, which has no images"
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            path = have[alone[0]]
            raise DataError(f"{path}{more} has no partner named {path.stem}.* in {where}")
    return {stem: (a[stem], folded[1][_folded(stem)]) for stem in sorted(a, key=natural)}


def in_order(a: Mapping[str, Path], b: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    """The first file of A with the first of B and so on, by the stem of A; order is natural in every number.

    Raises:
        DataError: one side has more files; or the numbers in the names show that order pairs the wrong files: some
            pairs have equal numbers, and another's number is there on both sides but in other places.
    """
    first, second = (sorted(side, key=natural) for side in (a, b))
    if len(first) != len(second):
        where = [next(iter(side.values())).parent if side else "the other" for side in (a, b)]
        raise DataError(
            f"{where[0]} has {len(first)} images and {where[1]} {len(second)}: they cannot be matched by order"
        )
    x, y = _counting(first), _counting(second)
    if x is not None and y is not None and x.shape == y.shape:
        same = (x == y).all(axis=1)
        known = set(map(tuple, y.tolist()))
        for i in np.flatnonzero(~same):
            if same.any() and tuple(x[i].tolist()) in known:
                raise DataError(
                    f"order puts {a[first[i]]} with {b[second[i]].name}, although a file with its number is there: one "
                    "may be missing before it; complete the folders, or name the pairs in a CSV (setting pairs)"
                )
    return {stem: (a[stem], b[other]) for stem, other in zip(first, second, strict=True)}


def _counting(stems: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.object_]] | None:
    """The numbers in each name that are not the same in all, ``(N, K)``; None where names are not alike."""
    found = [[int(number) for number in re.findall(r"\d+", stem)] for stem in stems]
    if len({len(numbers) for numbers in found}) != 1:
        return None
    table = np.array(found, dtype=object).reshape(len(found), -1)
    return table[:, [len(set(column)) > 1 for column in table.T]]


def located(path: Path) -> Path | None:
    """A file or folder whose name was written in another Unicode form, or with another case of the suffix.

    Returns:
        ``path`` itself where it is there, else the one that is meant, else None.

    Raises:
        DataError: more than one could be meant; names them.
    """
    if path.exists() or path == path.parent:
        return path if path.exists() else None
    folder = located(path.parent)
    if folder is None or not folder.is_dir():
        return None
    wanted = _with_small_suffix(path.name)
    found = sorted(name for name in os.listdir(folder) if _with_small_suffix(name) == wanted)
    if len(found) > 1:
        raise DataError(f"{path} may mean {printable(found[0])} or {printable(found[1])}; keep one of them")
    return folder / found[0] if found else None


def hashed_split(group: str, test_fraction: float) -> Split:
    """The split of a group of pairs that is published without one.

    It follows from a hash of the group's own name: adding groups moves no other group.
    """
    part = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64
    return "test" if part < test_fraction else "train"


def natural(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key: numbers by value wherever they stand (``a2`` before ``a10``), numbers before words, any case."""
    parts = (part for part in re.split(r"(\d+)", composed(text)) if part)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts), text


def composed(text: str) -> str:
    """Text in the one Unicode form names are stored in (NFC)."""
    return unicodedata.normalize("NFC", text)


def printable(path: Path | str) -> str:
    """A path as it can be printed: bytes that are not UTF-8 as ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def layout_error(card: Card, root: Path, problem: str) -> DataError:
    """The error for a folder that does not look as its card draws it; lists what is there and what was expected."""
    return DataError(f"{card.title}: {problem}. Found in {root}: {_listing(root)}. Expected:\n{card.layout}")


def _listing(folder: Path, most: int = 8) -> str:
    if not folder.is_dir():
        return "no such folder"
    names: Iterable[str] = sorted(printable(p.name) + "/" * p.is_dir() for p in folder.iterdir())
    names = list(names)
    return (", ".join(names[:most]) + ", …" * (len(names) > most)) or "nothing"


def _folded(stem: str) -> str:
    """A stem without what people do not see or may not mean: Unicode form and case."""
    return composed(composed(stem).casefold())


def _with_small_suffix(name: str) -> str:
    stem, dot, suffix = composed(name).rpartition(".")
    return f"{stem}{dot}{suffix.casefold()}" if stem else composed(name)


def _difference(a: Path, b: Path) -> str:
    """How the names of two files that mean the same differ."""
    if a.stem == b.stem:
        return "share a stem"
    return "differ only in Unicode form" if composed(a.stem) == composed(b.stem) else "differ only in case"
