"""EPFL RGB-NIR scenes: colour and near infrared photographs of nine kinds of places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.reading import hashed_split, images_in, layout_error, matched, read_aligned
from regbench.errors import DataError

CATEGORIES = ("country", "field", "forest", "indoor", "mountain", "oldbuilding", "street", "urban", "water")


class NIRScene(Dataset):
    """Reads ``<category>/<NNNN>_{rgb,nir}.tiff``."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the pairs kept for testing")
        size: int = Field(256, ge=32, description="side of the square images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="EPFL RGB-NIR Scene (nirscene1)",
        modalities=("rgb", "nir"),
        origin="the page of the image and visual representation lab of EPFL: the archive nirscene1",
        licence="the authors' page states the terms: research, with citation",
        citation="Brown and Süsstrunk: Multi-spectral SIFT for scene category recognition. CVPR 2011.",
        layout="ROOT/\n"
        "  country/0000_rgb.tiff  0000_nir.tiff  ...     rgb: colour, nir: grey, same size\n"
        "  field/  forest/  indoor/  mountain/  oldbuilding/  street/  urban/  water/",
        split="477 pairs without a published split: by a hash of category and number (setting test_fraction), the "
        "same on every machine. SCPNet's random 103 and 153 pairs were not published, and SSHNet's code tests on the "
        "pairs it trains on; neither is followed",
        size_rule="resized to 256x256 (setting size) as SSHNet and SCPNet do; areas are averaged where it shrinks by "
        "more than 1.5",
        defects="two exposures of one camera, aligned by the authors with a similarity: leaves, water and people "
        "moved between them",
    )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (self.config.size, self.config.size)

    def keys(self, split: Split) -> Sequence[str]:
        """``<category>/<NNNN>`` in order; raises DataError when the layout does not fit."""
        return [name for name in self._files if hashed_split(name, self.config.test_fraction) == split]

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair, colour and near infrared; raises DataError naming the file."""
        if key not in self._files:
            raise DataError(f"{self.card.title}: no pair {key!r}")
        return PairImages(*read_aligned(*self._files[key]))

    @cached_property
    def _files(self) -> dict[str, tuple[Path, Path]]:
        assert self.root is not None
        found = {}
        for category in CATEGORIES:
            folder = self.root / category
            if folder.is_dir():
                rgb, nir = (_ending(folder, ending) for ending in ("_rgb", "_nir"))
                found.update({f"{category}/{number}": (rgb[number], nir[number]) for number in matched(rgb, nir)})
        if not found:
            raise layout_error(self.card, self.root, "there is no <category>/<NNNN>_rgb.tiff")
        return found


def _ending(folder: Path, ending: str) -> dict[str, Path]:
    images = images_in(folder)
    return {stem.removesuffix(ending): path for stem, path in images.items() if stem.endswith(ending)}
