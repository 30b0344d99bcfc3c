"""Your own pairs: two folders whose files share names, or a CSV that says which file belongs to which."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.reading import images_in, layout_error, matched, read_aligned, read_image
from regbench.errors import DataError

SPLITS: tuple[Split, Split] = ("train", "test")
LABEL = tuple(f"h{row}{column}" for row in "123" for column in "123")


class Entry(NamedTuple):
    """One pair: its files, what it belongs to, and its label where there is one."""

    key: str
    a: Path
    b: Path
    group: str
    homography: NDArray[np.float64] | None = None


class Folder(Dataset):
    """Reads pairs of images wherever they lie."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        source: str = Field("source", description="folder of modality A, under the root or absolute")
        target: str = Field("target", description="folder of modality B, under the root or absolute")
        pairs: str | None = Field(
            None,
            description="CSV of pairs instead of the folders: columns source, target and, as wanted, split, "
            "group, h11..h33",
        )
        modality_a: str | None = Field(None, description="name of modality A; the source folder's when not set")
        modality_b: str | None = Field(None, description="name of modality B; the target folder's when not set")
        test_fraction: float = Field(
            0.2, gt=0, lt=1, description="share of the pairs kept for testing where nothing names the split"
        )
        aligned: bool = Field(True, description="false when the pairs are really unaligned (--pairing given)")
        height: int = Field(192, ge=32, description="height of the images in the pack, px")
        width: int = Field(192, ge=32, description="width of the images in the pack, px")

    config: Config
    needs_root = False  # absolute folders and CSV files need none
    card: ClassVar[Card] = Card(
        title="Your own pairs",
        modalities=("A", "B"),
        origin="you",
        licence="yours to know",
        citation="none",
        layout="ROOT/source/0001.png  0002.png  ...      any image type; files of one pair share their name\n"
        "ROOT/target/0001.tif  0002.tif  ...      (settings source and target name the folders)\n"
        "or, with the split named:\n"
        "ROOT/source/{train,test}/  ROOT/target/{train,test}/     or  ROOT/{train,test}/{source,target}/\n"
        "or a CSV (setting pairs), paths relative to it, H from pixels of source to pixels of target:\n"
        "source,target[,split][,group][,h11,h12,h13,h21,h22,h23,h31,h32,h33]\n"
        "a/0001.png,b/0001.png,train,field7",
        split="the CSV's column split, or folders train and test; else by a hash of the group's name, so "
        "that adding images moves none",
        size_rule="resized to 192x192 (settings height, width); areas are averaged where it shrinks by more than 1.5",
    )

    @property
    def aligned(self) -> bool:  # type: ignore[override]
        """Whether the user says so."""
        return self.config.aligned

    @property
    def modalities(self) -> tuple[str, str]:
        """Names as set, else the folders'."""
        a, b = self.config.modality_a, self.config.modality_b
        if self.config.pairs:
            return (a or "A", b or "B")
        return (a or Path(self.config.source).name, b or Path(self.config.target).name)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (self.config.height, self.config.width)

    def keys(self, split: Split) -> Sequence[str]:
        """The files' stems (CSV: the source paths) in order; raises DataError when nothing can be paired."""
        return list(self._entries[split])

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair; raises DataError naming the file."""
        entry = self._entries[split][key]
        if self.aligned:
            return PairImages(*read_aligned(entry.a, entry.b))
        return PairImages(read_image(entry.a), read_image(entry.b), entry.homography)

    def group(self, split: Split, key: str) -> str:
        """The CSV's column group, else the pair itself."""
        return self._entries[split][key].group

    @cached_property
    def _entries(self) -> dict[Split, dict[str, Entry]]:
        found = self._from_csv() if self.config.pairs else self._from_folders()
        entries: dict[Split, dict[str, Entry]] = {}
        for split in SPLITS:
            entries[split] = {entry.key: entry for entry in found[split]}
            if len(entries[split]) < len(found[split]):
                raise DataError(f"{self.config.pairs}: the {split} split names the same source file twice")
        return entries

    def _from_folders(self) -> dict[Split, list[Entry]]:
        per_split = {split: self._two_folders(split) for split in SPLITS}
        if per_split["train"] and per_split["test"]:
            return {split: _by_stem(*folders) for split, folders in per_split.items() if folders}
        source, target = self._at(self.config.source), self._at(self.config.target)
        for folder in (source, target):
            if not folder.is_dir():
                raise layout_error(self.card, self.root or folder.parent, f"there is no folder {folder}")
        entries = _by_stem(source, target)
        if not entries:
            raise layout_error(self.card, source, f"there are no images in {source}")
        return self._hashed(entries)

    def _two_folders(self, split: Split) -> tuple[Path, Path] | None:
        """The folders of A and B of a named split, where both are there."""
        source, target = self._at(self.config.source), self._at(self.config.target)
        for a, b in ((source / split, target / split), *self._under(split)):
            if a.is_dir() and b.is_dir():
                return a, b
        return None

    def _under(self, split: Split) -> list[tuple[Path, Path]]:
        if self.root is None:
            return []
        return [(self.root / split / self.config.source, self.root / split / self.config.target)]

    def _from_csv(self) -> dict[Split, list[Entry]]:
        assert self.config.pairs is not None
        path = self._at(self.config.pairs)
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                columns = set(reader.fieldnames or ())
                rows = list(reader)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None
        if not {"source", "target"} <= columns:
            raise DataError(f"{path} needs the columns source and target; it has {', '.join(sorted(columns))}")
        labels = columns & set(LABEL)
        if labels and labels != set(LABEL):
            raise DataError(f"{path} has some of the columns h11..h33 but lacks {', '.join(set(LABEL) - labels)}")
        if labels and self.aligned:
            raise DataError(f"{path} has homographies: its pairs are not aligned, add --set dataset.aligned=false")
        found: dict[Split, list[Entry]] = {"train": [], "test": []}
        unsplit = []
        for line, row in enumerate(rows, start=2):
            entry = _entry(path, line, row)
            split = row.get("split") or ""
            if split in ("train", "test"):
                found["train" if split == "train" else "test"].append(entry)
            elif split or "split" in columns:
                raise DataError(f"{path} line {line}: split is {split!r}, not train or test")
            else:
                unsplit.append(entry)
        both = {e.group for e in found["train"]} & {e.group for e in found["test"]}
        if both:
            raise DataError(f"{path}: group {min(both)!r} is in train and in test, so test images were seen")
        if not rows:
            raise DataError(f"{path} lists no pairs")
        return self._hashed(unsplit) if unsplit else found

    def _hashed(self, entries: Sequence[Entry]) -> dict[Split, list[Entry]]:
        """Split by a hash of the group: each group's side depends on its own name alone."""
        found: dict[Split, list[Entry]] = {"train": [], "test": []}
        for entry in entries:
            part = int.from_bytes(hashlib.sha256(entry.group.encode()).digest()[:8]) / 2**64
            found["test" if part < self.config.test_fraction else "train"].append(entry)
        for split in SPLITS:
            if not found[split]:
                raise DataError(
                    f"none of the {len(entries)} pairs fell into the {split} split at test_fraction="
                    f"{self.config.test_fraction}: change it, or name the split (folders or CSV)"
                )
        return found

    def _at(self, name: str) -> Path:
        path = Path(name).expanduser()
        if path.is_absolute():
            return path
        if self.root is None:
            raise DataError(f"{name!r} is a relative path: give the folder it lies in with --root DIR")
        return self.root / path


def _by_stem(source: Path, target: Path) -> list[Entry]:
    a, b = images_in(source), images_in(target)
    return [Entry(stem, a[stem], b[stem], stem) for stem in matched(a, b)]


def _entry(path: Path, line: int, row: dict[str, str]) -> Entry:
    """One row of the CSV; raises DataError naming the line."""
    if not (row["source"] and row["target"]):
        raise DataError(f"{path} line {line}: source or target is empty")
    a, b = path.parent / row["source"], path.parent / row["target"]
    for file in (a, b):
        if not file.is_file():
            raise DataError(f"{path} line {line}: {file} is missing")
    homography = None
    if values := [row[name] for name in LABEL if row.get(name)]:
        try:
            homography = np.array([float(v) for v in values]).reshape(3, 3)
            homography /= homography[2, 2]
        except ValueError:
            raise DataError(f"{path} line {line}: h11..h33 are not nine numbers") from None
        if not np.isfinite(homography).all() or abs(np.linalg.det(homography)) < 1e-12:
            raise DataError(f"{path} line {line}: h11..h33 are not an invertible homography")
    return Entry(row["source"], a, b, row.get("group") or row["source"], homography)
