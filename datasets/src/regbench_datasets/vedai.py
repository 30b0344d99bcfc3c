"""VEDAI: aerial colour and near-infrared images of Utah."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Split
from regbench.data.reading import layout_error
from regbench.data.source_files import note_read
from regbench_datasets._paired_files import Files, PairedFiles


class VEDAI(PairedFiles):
    """Reads ``Vehicules<resolution>/<8 digits>_{co,ir}.png`` and the lists that split them."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        fold: int = Field(1, ge=1, le=10, description="published fold to use when there are no train.txt and test.txt")
        size: int = Field(192, ge=32, description="side of the square images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="VEDAI (512)",
        modalities=("rgb", "nir"),
        origin="the authors' page at GREYC, Caen: the archives Vehicules512 and Annotations512",
        licence="aerial imagery of the Utah AGRC; the authors' page states the terms",
        citation="Razakarivony and Jurie: Vehicle detection in aerial imagery: a small target detection "
        "benchmark. Journal of Visual Communication and Image Representation 34, 2016.",
        layout="ROOT/\n"
        "  Vehicules512/00000000_co.png  00000000_ir.png  ...   co: RGB, ir: near infrared, same size\n"
        "  train.txt  test.txt                 one 8-digit id a line; or, when they are absent,\n"
        "  Annotations512/fold01.txt  fold01test.txt  ...       the published folds",
        split="train.txt and test.txt when present, else the published fold named by the setting fold "
        "(fold 1: 1089 training and 121 test pairs, the counts CoLReg states)",
        size_rule="resized to 192x192 (setting size) as CoLReg does; areas are averaged where it shrinks by "
        "more than 1.5",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by id, in the order of the list; raises DataError when the layout does not fit."""
        folder = self.folder(root, "Vehicules512")
        path = self._list(root, split)
        note_read(path)
        pairs: dict[str, Files] = {}
        for name in path.read_text().split():
            if not re.fullmatch(r"\d{8}", name):
                raise DataError(f"{path} lists {name!r}, which is not an id of 8 digits")
            pairs[name] = Files(folder / f"{name}_co.png", folder / f"{name}_ir.png")
            for file in pairs[name]:
                if not file.is_file():
                    raise DataError(f"{file} is missing, although {path.name} lists {name}")
        if not pairs:
            raise DataError(f"{path} lists no ids")
        return pairs

    def _list(self, root: Path, split: Split) -> Path:
        """The file that lists a split; both splits come from lists of the same kind."""
        fold = f"fold{self.config.fold:02d}"
        lists = [(root / "train.txt", root / "test.txt")]
        for folder in (root, root / "Annotations512", root / "Vehicules512"):
            lists.append((folder / f"{fold}.txt", folder / f"{fold}test.txt"))
        for train, test in lists:
            if train.is_file() and test.is_file():
                return train if split == "train" else test
        raise layout_error(self.card, root, f"there are neither train.txt and test.txt nor {fold}.txt")
