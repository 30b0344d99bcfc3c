"""OSdataset: optical and SAR satellite images of the same places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.reading import images_in, layout_error, matched, read_aligned
from regbench.errors import DataError


class OSdataset(Dataset):
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
        defects="pairs are aligned to about a pixel; tall buildings lean towards the radar",
    )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (self.config.size, self.config.size)

    def keys(self, split: Split) -> Sequence[str]:
        """The numbers of the pairs, ascending; raises DataError when the layout does not fit."""
        folder = self._folder / split
        if not folder.is_dir():
            raise layout_error(self.card, self._folder, f"there is no folder {split}/")
        sides: list[dict[str, Path]] = []
        for prefix in ("opt", "sar"):
            images = images_in(folder).items()
            found = {stem.removeprefix(prefix): p for stem, p in images if stem.startswith(prefix)}
            if not found:
                raise layout_error(self.card, folder, f"there is no {prefix}<N>.png")
            sides.append(found)
        try:
            return matched(*sides)
        except DataError:
            number = min(set(sides[0]) ^ set(sides[1]))
            have, lack = ("opt", "sar") if number in sides[0] else ("sar", "opt")
            raise DataError(f"{folder / have}{number}.png has no partner {lack}{number}.png") from None

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair, optical and SAR; raises DataError naming the file."""
        folder = self._folder / split
        return PairImages(*read_aligned(folder / f"opt{key}.png", folder / f"sar{key}.png"))

    @property
    def _folder(self) -> Path:
        assert self.root is not None
        wanted = [self.config.resolution] if self.config.resolution else [512, 256]
        for resolution in wanted:
            if (self.root / str(resolution)).is_dir():
                return self.root / str(resolution)
        listed = " or ".join(f"{w}/" for w in wanted)
        raise layout_error(self.card, self.root, f"there is no folder {listed}")
