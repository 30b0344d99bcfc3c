"""Your own pairs: two folders whose files share names, or a CSV that says which file belongs to which."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Dataset, PairImages, Split
from regbench.data.naming import SUFFIXES, entries, hashed_split, images_in, in_order, layout_error, located, matched
from regbench.data.reading import read_aligned, read_image
from regbench_datasets.pairs_csv import Entry, read_pairs, refuse_repeats

SPLITS: tuple[Split, Split] = ("train", "test")


class Folder(Dataset):
    """Reads pairs of images wherever they lie."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        source: str = Field("source", description="folder of modality A, under the root or absolute")
        target: str = Field("target", description="folder of modality B, under the root or absolute")
        pairs: str | None = Field(
            None,
            description="CSV of pairs instead of the folders: columns source, target and, as wanted, split, "
            "group, h11..h33, points",
        )
        match: Literal["name", "order"] = Field(
            "name",
            description="how files of two folders find their partners; order is that of their names, every number in "
            "them by its value",
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
        "or the folders of SSHNet, SCPNet and AltO: ROOT/trainA/ trainB/ testA/ testB/   (or train_A/ ...)\n"
        "or a CSV (setting pairs), paths relative to it, H from pixels of source to pixels of target:\n"
        "source,target[,split][,group][,h11,h12,h13,h21,h22,h23,h31,h32,h33][,points]\n"
        "a/0001.png,b/0001.png,train,field7\n"
        "points names a CSV of tie points with the columns xa,ya,xb,yb",
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
        if key not in self._entries[split]:
            raise DataError(f"{self.card.title}: no pair {key!r} in the {split} split")
        entry = self._entries[split][key]
        if self.aligned:
            return PairImages(*read_aligned(entry.a, entry.b))
        return PairImages(read_image(entry.a), read_image(entry.b), entry.homography, entry.points)

    def group(self, split: Split, key: str) -> str:
        """The CSV's column group, else the pair itself and those that share a file with it."""
        return self._entries[split][key].group

    @cached_property
    def _entries(self) -> dict[Split, dict[str, Entry]]:
        listed = self._from_csv() if self.config.pairs else self._from_folders()
        return {split: {entry.key: entry for entry in listed[split]} for split in SPLITS}

    def _from_folders(self) -> dict[Split, list[Entry]]:
        per_split = {split: self._two_folders(split) for split in SPLITS}
        source, target = self._at(self.config.source), self._at(self.config.target)
        if per_split["train"] and per_split["test"]:
            for folder in filter(Path.is_dir, (source, target)):
                if beside := list(images_in(folder).values()):
                    raise DataError(f"{beside[0]} is in no split: train and test have their own folders; move it there")
            return {split: self._partners(*folders) for split, folders in per_split.items() if folders}
        for folder in (source, target):
            if not folder.is_dir():
                raise layout_error(self.card, self.root or folder.parent, f"there is no folder {folder}")
        entries = self._partners(source, target)
        if not entries:
            raise layout_error(self.card, source, f"there are no images in {source}")
        return self._hashed(entries)

    def _partners(self, source: Path, target: Path) -> list[Entry]:
        for folder in (source, target):
            for below in entries(folder, folders=True):
                if any(path.suffix.lower() in SUFFIXES for path in entries(below)):
                    raise DataError(f"{below} has images, but only those in {folder} are read; list pairs in a CSV")
        pair = matched if self.config.match == "name" else in_order
        pairs = pair(images_in(source), images_in(target))
        return [Entry(stem, a, b, stem) for stem, (a, b) in pairs.items()]

    def _two_folders(self, split: Split) -> tuple[Path, Path] | None:
        """The folders of A and B of a named split, where both are there."""
        source, target = self._at(self.config.source), self._at(self.config.target)
        for a, b in ((source / split, target / split), *self._under(split)):
            if a.is_dir() and b.is_dir():
                return a, b
        return None

    def _under(self, split: Split) -> list[tuple[Path, Path]]:
        """Published ways to name the folders of a split below the root."""
        if self.root is None:
            return []
        names = [(f"{split}/{self.config.source}", f"{split}/{self.config.target}")]
        names += [(f"{split}{dash}A", f"{split}{dash}B") for dash in ("", "_")]
        return [(self.root / a, self.root / b) for a, b in names]

    def _from_csv(self) -> dict[Split, list[Entry]]:
        assert self.config.pairs is not None
        path = self._at(self.config.pairs)
        listed = read_pairs(path, self.aligned)
        if None in listed:
            hashed = self._hashed(listed[None])
            refuse_repeats(path, hashed)
            return hashed
        return {split: listed.get(split, []) for split in SPLITS}

    def _hashed(self, entries: Sequence[Entry]) -> dict[Split, list[Entry]]:
        """Split by a hash of the group: the split of a group depends on its own name alone."""
        splits: dict[Split, list[Entry]] = {"train": [], "test": []}
        for entry in entries:
            splits[hashed_split(entry.group, self.config.test_fraction)].append(entry)
        for split in SPLITS:
            if not splits[split]:
                raise DataError(
                    f"none of the {len(entries)} pairs fell into the {split} split at test_fraction="
                    f"{self.config.test_fraction}: change it, or name the split (folders or CSV)"
                )
        return splits

    def _at(self, name: str) -> Path:
        path = Path(name).expanduser()
        if not path.is_absolute():
            if self.root is None:
                raise DataError(f"{name!r} is a relative path: give the folder it lies in with --root DIR")
            path = self.root / path
        return located(path) or path
