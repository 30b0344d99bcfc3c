"""VEDAI: aerial colour and near-infrared images of Utah."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Split
from regbench.data.naming import images_in, layout_error
from regbench_datasets._paired_files import Files, PairedFiles
from regbench_datasets._text import read_text


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
        "(fold 1: 1089 and 121 images; CoLReg prints 9801 = 9 x 1089 training pairs and 2089 test pairs, which is no "
        "multiple of 121); images that neither list names are not used",
        size_rule="resized to 192x192 (setting size), which is our choice: CoLReg does not print the size it used here "
        "(its nine pairs an image may be 3x3 windows of 512 px); areas are averaged where it shrinks by more than 1.5",
        defects="images are windows of larger photographs and the names do not tell which: windows of one photograph "
        "may be in train and in test, and intervals over images are then too narrow. A is the colour image: "
        "CoLReg does not print which side it warps",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by id, in the order of the list; raises DataError when the layout does not fit."""
        folder = self.folder(root, "Vehicules512")
        images = {stem.lower(): path for stem, path in images_in(folder).items()}
        lists = self._lists(root)
        listed = {each: _ids(path) for each, path in lists.items()}
        for name in listed["train"]:
            if name in listed["test"]:
                lines = [f"{lists[each]} line {listed[each][name]}" for each in ("train", "test")]
                raise DataError(f"{lines[0]} and {lines[1]} list the same id {name}, so test images were seen")
        pairs: dict[str, Files] = {}
        for name, line in listed[split].items():
            files = [images.get(f"{name}_{kind}") for kind in ("co", "ir")]
            for kind, file in zip(("co", "ir"), files, strict=True):
                if file is None:
                    there = folder / f"{name}_{kind}.png"
                    raise DataError(f"{there} is missing, although {lists[split].name} line {line} lists {name}")
            pairs[name] = Files(*(file for file in files if file is not None))
        return pairs

    def _lists(self, root: Path) -> dict[Split, Path]:
        """The files that list the splits; both are of the same kind."""
        fold = f"fold{self.config.fold:02d}"
        lists = [(root / "train.txt", root / "test.txt")]
        for folder in (root, root / "Annotations512", root / "Vehicules512"):
            lists.append((folder / f"{fold}.txt", folder / f"{fold}test.txt"))
        for train, test in lists:
            if train.is_file() and test.is_file():
                return {"train": train, "test": test}
        raise layout_error(self.card, root, f"there are neither train.txt and test.txt nor {fold}.txt")


def _ids(path: Path) -> dict[str, int]:
    """The ids that a file lists and the line of each; raises DataError, naming the line, for anything else."""
    ids: dict[str, int] = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        for name in text.split():
            if not re.fullmatch(r"\d{8}", name, re.ASCII):
                raise DataError(f"{path} line {line} lists {name!r}, which is not an id of 8 digits")
            if name in ids:
                raise DataError(f"{path} line {line} lists {name} again, after line {ids[name]}")
            ids[name] = line
    if not ids:
        raise DataError(f"{path} lists no ids")
    return ids
