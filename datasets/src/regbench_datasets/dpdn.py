"""DPDN: rendered colour and depth, in the layout SSHNet reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.reading import images_in, layout_error, matched, read_aligned
from regbench.errors import DataError


class DPDN(Dataset):
    """Reads ``{train,test}/{rgb,depth}/<name>.jpg``."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        size: int = Field(192, ge=32, description="side of the square images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="DPDN (RGB/depth)",
        modalities=("rgb", "depth"),
        origin="made from the rendered scenes that accompany the paper; SSHNet's page speaks of DPDN_192",
        licence="not stated by the authors; ask them before you redistribute images",
        citation="Riegler, Ferstl, Rüther and Bischof: A deep primal-dual network for guided depth super-resolution. "
        "BMVC 2016.",
        layout="ROOT/\n"
        "  train/rgb/0001.jpg  ...    train/depth/0001.jpg  ...     depth: grey, same size and name\n"
        "  test/rgb/           ...    test/depth/           ...",
        split="the folders train and test; neither their counts nor their making were published",
        size_rule="resized to 192x192 (setting size) as SSHNet does; areas are averaged where it shrinks by more than "
        "1.5",
        defects="rendered scenes; depth is stored with 8 bits",
    )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (self.config.size, self.config.size)

    def keys(self, split: Split) -> Sequence[str]:
        """The files' stems; raises DataError when the layout does not fit or a partner is missing."""
        return list(self._files[split])

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair, colour and depth; raises DataError naming the file."""
        if key not in self._files[split]:
            raise DataError(f"{self.card.title}: no pair {key!r} in the {split} split")
        return PairImages(*read_aligned(*self._files[split][key]))

    @cached_property
    def _files(self) -> dict[Split, dict[str, tuple[Path, Path]]]:
        return {"train": self._pairs("train"), "test": self._pairs("test")}

    def _pairs(self, split: Split) -> dict[str, tuple[Path, Path]]:
        assert self.root is not None
        sides = []
        for name in ("rgb", "depth"):
            folder = self.root / split / name
            if not folder.is_dir():
                raise layout_error(self.card, self.root, f"there is no folder {split}/{name}/")
            sides.append(images_in(folder))
        keys = matched(*sides)
        if not keys:
            raise layout_error(self.card, self.root / split / "rgb", "there are no images")
        return {key: (sides[0][key], sides[1][key]) for key in keys}
