"""EPFL RGB-NIR scenes: colour and near infrared photographs of nine kinds of places."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, Split
from regbench.data.naming import hashed_split, layout_error
from regbench_datasets._paired_files import Files, PairedFiles, images_called, paired

CATEGORIES = ("country", "field", "forest", "indoor", "mountain", "oldbuilding", "street", "urban", "water")


class NIRScene(PairedFiles):
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
        "moved between them. Photographs may show the same place and the names do not tell which: such may be in "
        "train and in test (`regbench datasets stats` looks for them), and intervals over images are then too narrow",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by ``<category>/<NNNN>``, in order; raises DataError when the layout does not fit."""
        pairs: dict[str, Files] = {}
        for folder in (root / category for category in CATEGORIES):
            if folder.is_dir():
                colour, infrared = images_called(folder, "{}_rgb", "{}_nir")
                pairs |= {f"{folder.name}/{number}": pair for number, pair in paired(colour, infrared).items()}
        if not pairs:
            raise layout_error(self.card, root, "there is no <category>/<NNNN>_rgb.tiff")
        return {name: pair for name, pair in pairs.items() if hashed_split(name, self.config.test_fraction) == split}
