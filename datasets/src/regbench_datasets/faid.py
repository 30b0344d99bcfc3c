"""FAID: photographs with flash and in ambient light."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.reading import SUFFIXES, hashed_split, layout_error, matched, read_aligned
from regbench.errors import DataError

NAME = re.compile(r"([A-Za-z]+_\d+)_(flash|ambient)")


class FAID(Dataset):
    """Reads ``<Category>_<NNN>_{flash,ambient}.png`` in one folder or in a folder a category."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the pairs kept for testing")
        height: int = Field(213, ge=32, description="height of the images in the pack, px")
        width: int = Field(320, ge=32, description="width of the images in the pack, px")

    config: Config
    card: ClassVar[Card] = Card(
        title="FAID (Flash and Ambient Illuminations Dataset)",
        modalities=("flash", "ambient"),
        origin="the authors' project page (Aksoy, ETH Zürich, later SFU): one archive a category",
        licence="the authors' terms: research only",
        citation="Aksoy, Kim, Kellnhofer, Paris, Elgharib, Pollefeys and Matusik: A dataset of flash and ambient "
        "illumination pairs from the crowd. ECCV 2018.",
        layout="ROOT/\n"
        "  People/People_001_flash.png  People_001_ambient.png  ...     colour, same size\n"
        "  Objects/  Plants/  Rooms/  Shelves/  Toys/                    or all of them in ROOT itself\n"
        "SSHNet's and SCPNet's resized copy, trainA/ trainB/ testA/ testB/, is read by the data set folder",
        split="no published split: by a hash of the name (setting test_fraction), the same on every machine",
        size_rule="resized to 320x213 (width x height) as SCPNet does, portraits as well; areas are averaged where it "
        "shrinks by more than 1.5",
        defects="aligned by the authors from two hand-held exposures; flash alone is computed, so it holds noise "
        "where the ambient light was strong",
    )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (self.config.height, self.config.width)

    def keys(self, split: Split) -> Sequence[str]:
        """``<Category>_<NNN>`` in order; raises DataError when the layout does not fit."""
        return [name for name in self._files if hashed_split(name, self.config.test_fraction) == split]

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair, flash and ambient; raises DataError naming the file."""
        if key not in self._files:
            raise DataError(f"{self.card.title}: no pair {key!r}")
        return PairImages(*read_aligned(*self._files[key]))

    @cached_property
    def _files(self) -> dict[str, tuple[Path, Path]]:
        assert self.root is not None
        sides: dict[str, dict[str, Path]] = {"flash": {}, "ambient": {}}
        if self.root.is_dir():
            for path in sorted([*self.root.glob("*"), *self.root.glob("*/*")]):
                if path.suffix.lower() in SUFFIXES and (match := NAME.fullmatch(path.stem)):
                    if (other := sides[match[2]].get(match[1])) is not None:
                        raise DataError(f"{other} and {path} are the same picture twice; keep one of them")
                    sides[match[2]][match[1]] = path
        if not any(sides.values()):
            raise layout_error(self.card, self.root, "there is no <Category>_<NNN>_flash.png")
        try:
            names = matched(sides["flash"], sides["ambient"])
        except DataError:
            name = min(set(sides["flash"]) ^ set(sides["ambient"]))
            have, lack = ("flash", "ambient") if name in sides["flash"] else ("ambient", "flash")
            raise DataError(f"{sides[have][name]} has no partner {name}_{lack}.png") from None
        return {name: (sides["flash"][name], sides["ambient"][name]) for name in names}
