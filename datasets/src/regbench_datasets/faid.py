"""FAID: photographs with flash and in ambient light."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Split
from regbench.data.naming import entries, hashed_split, images_in, layout_error
from regbench_datasets._paired_files import Files, PairedFiles, paired

NAME = re.compile(r"([A-Za-z]+_\d+)_(flash|ambient)", re.ASCII | re.IGNORECASE)


class FAID(PairedFiles):
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
        "where the ambient light was strong. Pairs may show the same place and the names do not tell which: such may "
        "be in train and in test (`regbench datasets stats` looks for them), and intervals over images are then too "
        "narrow",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by ``<Category>_<NNN>``, in order; raises DataError when the layout does not fit."""
        pairs = paired(*self._sides(root), called=("{}_flash.png", "{}_ambient.png"))
        return {name: pair for name, pair in pairs.items() if hashed_split(name, self.config.test_fraction) == split}

    def _sides(self, root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
        """The photographs with flash and in ambient light, wherever they lie, by name without the kind."""
        sides: dict[str, dict[str, Path]] = {"flash": {}, "ambient": {}}
        for folder in [root, *entries(root, folders=True)]:
            images = images_in(folder)
            named = {path: match for stem, path in images.items() if (match := NAME.fullmatch(stem))}
            if named and len(named) < len(images):
                odd = next(path for path in images.values() if path not in named)
                raise DataError(f"{odd} is not named <Category>_<NNN>_flash.* or _ambient.*; rename it or take it away")
            for path, match in named.items():
                side = sides[match[2].lower()]
                if (other := side.get(match[1])) is not None:
                    raise DataError(f"{other} and {path} are the same picture twice; keep one of them")
                side[match[1]] = path
        if not any(sides.values()):
            raise layout_error(self.card, root, "there is no <Category>_<NNN>_flash.png")
        return sides["flash"], sides["ambient"]
