"""LLVIP: visible and thermal images of streets at night."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Split
from regbench.data.naming import images_in, layout_error
from regbench_datasets._paired_files import Files, PairedFiles, paired


class LLVIP(PairedFiles):
    """Reads ``{visible,infrared}/{train,test}/<6 digits>.jpg``; the first two digits are the camera's location."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        exclude: tuple[int, ...] = Field((25, 26), description="locations left out; CoLReg leaves out 25 and 26")
        height: int = Field(192, ge=32, description="height of the images in the pack, px")
        width: int = Field(240, ge=32, description="width of the images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="LLVIP",
        modalities=("visible", "infrared"),
        origin="the authors' project page at BUPT (bupt-ai-cz/LLVIP) links the archive LLVIP.zip",
        licence="the authors' terms: research only, no commercial use",
        citation="Jia, Zhu, Li, Tang and Zhou: LLVIP: a visible-infrared paired dataset for low-light vision. ICCV "
        "Workshops 2021.",
        layout="ROOT/\n"
        "  visible/train/010001.jpg  ...    visible/test/190001.jpg  ...     RGB, 1280x1024\n"
        "  infrared/train/010001.jpg ...    infrared/test/190001.jpg ...     grey, same size and name",
        split="the folders train and test without the locations 25 and 26 (setting exclude): 11602 and 2930 pairs, "
        "the counts of CoLReg; the whole set has 12025 and 3463",
        size_rule="resized to 240x192 (width x height), CoLReg's size and the aspect of 1280x1024; areas are averaged "
        "where it shrinks by more than 1.5",
        defects="near objects show parallax between the two lenses; the frames of a camera show one place, so "
        "intervals resample the locations, of which the test split has few. A is the visible image: CoLReg does not "
        "print which side it warps",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by their six digits, ascending; raises DataError when the layout does not fit."""
        visible, infrared = (self.folder(root, f"{side}/{split}") for side in ("visible", "infrared"))
        pairs = paired(images_in(visible), images_in(infrared))
        for key in pairs:
            if not re.fullmatch(r"\d{6}", key):
                raise DataError(f"{visible / key}.*: the name is not six digits, so its location is not known")
        kept = {key: pair for key, pair in pairs.items() if int(key[:2]) not in self.config.exclude}
        if not kept:
            left_out = f" outside of the locations {self.config.exclude}" if pairs else ""
            raise layout_error(self.card, visible, f"the {split} split has no images{left_out}")
        return kept

    def group(self, split: Split, key: str) -> str:
        """The location: a camera that does not move, so its frames are not independent of each other."""
        return key[:2]
