"""OSdataset: optical and SAR satellite images of the same places."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from regbench import Card, ComponentConfig, Split
from regbench.data.naming import layout_error
from regbench_datasets._paired_files import Files, PairedFiles, images_called, paired


class OSdataset(PairedFiles):
    """Reads ``<resolution>/{train,test}/{opt,sar}<N>.png``."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        resolution: Literal[256, 512] | None = Field(
            None,
            description="which of the two published resolutions to read; the larger one found when not set",
        )
        size: int = Field(192, ge=32, description="side of the square images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="OSdataset",
        modalities=("optical", "sar"),
        origin="published by its authors together with the paper; unpack it so that it looks as drawn",
        licence="not stated by the authors; ask them before you redistribute images",
        citation="Xiang, Tao, Wang, You and Han: Automatic registration of optical and SAR images via "
        "improved phase congruency model. IEEE JSTARS 13, 2020.",
        layout="ROOT/\n"
        "  512/            and/or 256/\n"
        "    train/opt1.png  train/sar1.png  ...   opt<N>: RGB or grey, sar<N>: grey, same size\n"
        "    test/opt1.png   test/sar1.png   ...",
        split="the folders train and test; val is not used",
        size_rule="resized to 192x192 (setting size) as CoLReg does; areas are averaged where it shrinks by "
        "more than 1.5",
        defects="pairs are aligned to about a pixel; tall buildings lean towards the radar. Images are windows of "
        "larger scenes and the names do not tell which, so intervals over images may be too narrow. A is the optical "
        "image: CoLReg does not print which side it warps",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by number, ascending; raises DataError when the layout does not fit."""
        folder = self.folder(self._resolution(root), split)
        optical, sar = images_called(folder, "opt{}", "sar{}")
        for name, images in (("opt", optical), ("sar", sar)):
            if not images:
                raise layout_error(self.card, folder, f"there is no {name}<N>.png")
        return paired(optical, sar, called=("opt{}.png", "sar{}.png"))

    def _resolution(self, root: Path) -> Path:
        """The folder of the resolution that is set, else of the larger one found."""
        wanted = [self.config.resolution] if self.config.resolution else [512, 256]
        for resolution in wanted:
            if (root / str(resolution)).is_dir():
                return root / str(resolution)
        listed = " or ".join(f"{w}/" for w in wanted)
        raise layout_error(self.card, root, f"there is no folder {listed}")
