"""DIML indoor: colour and depth of rooms."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Split
from regbench.data.naming import composed, entries, images_in, layout_error
from regbench_datasets._paired_files import Files, PairedFiles, paired

KINDS = (("color", "_c"), ("depth_filled", "_depth_filled"))
"""Folder of each modality, and how the stems of its images end."""


class DIML(PairedFiles):
    """Reads ``{train,test}/HR/<NN. Scene>/{color/<name>_c.png, depth_filled/<name>_depth_filled.png}``."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        far: int = Field(
            10000,
            ge=1,
            le=65535,
            description="stored depth that means 1.0 (white); mm in the published set; range_b overrides it",
        )
        size: int = Field(192, ge=32, description="side of the square images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="DIML/CVL RGB-D, indoor sample",
        modalities=("rgb", "depth"),
        origin="the DIML/CVL RGB-D dataset page of Yonsei University: the indoor sample with train and test folders",
        licence="the authors' terms: research only",
        citation="Cho, Min, Kim and Sohn: Deep monocular depth estimation leveraging a large-scale outdoor stereo "
        "dataset. Expert Systems with Applications 178, 2021.",
        layout="ROOT/\n"
        "  train/HR/01. Scene/color/0001_c.png              RGB\n"
        "  train/HR/01. Scene/depth_filled/0001_depth_filled.png    grey, 16 bits, far is bright\n"
        "  train/HR/02. Scene/ ...\n"
        "  test/HR/01. Scene/ ...                           scenes of their own",
        split="the folders train and test: 12 and 6 scenes with 1621 and 491 pairs, the counts that follow from "
        "CoLReg's 16210 and 4910 at ten frozen pairs an image",
        size_rule="resized to 192x192 (setting size), our choice: CoLReg does not print the size it used here; "
        "areas are averaged where it shrinks by more than 1.5; depth stays 16 bits",
        defects="holes of the depth sensor were filled, so depth edges are only as true as the filling; frames of one "
        "scene show the same room, so intervals resample the scenes, and the test split has six. A is the colour "
        "image: CoLReg does not print which side it warps",
    )

    @property
    def max_values(self) -> tuple[int | None, int | None]:
        """Depth beyond the setting ``far`` is white."""
        return (None, self.config.far)

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by ``<NN. Scene>/<name>``, scene by scene; raises DataError when the layout does not fit."""
        folder = self.folder(root, f"{split}/HR")
        pairs: dict[str, Files] = {}
        for scene in entries(folder, folders=True):
            colour, depth = (_named(scene / name, suffix) for name, suffix in KINDS)
            pairs |= {f"{composed(scene.name)}/{name}": files for name, files in paired(colour, depth).items()}
        if not pairs:
            raise layout_error(self.card, folder, "there is no <NN. Scene>/color/*_c.png")
        return pairs

    def group(self, split: Split, key: str) -> str:
        """The scene: its frames are not independent of each other."""
        return key.rpartition("/")[0]


def _named(folder: Path, suffix: str) -> dict[str, Path]:
    """The images of a folder by stem without ``suffix``; raises DataError for a folder or name that does not fit."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; every scene has color/ and depth_filled/")
    images = images_in(folder)
    for stem, path in images.items():
        if not stem.lower().endswith(suffix):
            raise DataError(f"{path}: the name does not end in {suffix}; are color/ and depth_filled/ swapped?")
    return {stem[: -len(suffix)]: path for stem, path in images.items()}
