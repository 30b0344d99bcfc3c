"""MSCOCO as homography papers use it: single photographs, source and target cut from the same image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Dataset, PairImages, Split
from regbench.data.naming import images_in, layout_error
from regbench.data.reading import Image, read_image


class MSCOCO(Dataset):
    """Reads the images of ``train2017`` and ``test2017``; A and B are the same image."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        distortion: Literal["none", "pds"] = Field(
            "none", description="pds: the colours of either image are distorted anew whenever it is drawn (PDS-COCO)"
        )
        fit: Literal["stretch", "crop"] = Field(
            "stretch", description="stretch: the whole image, as IHN; crop: its central 4:3 part, as biHomE"
        )
        limit: int | None = Field(
            None,
            ge=1,
            description="use only the first images of each split; all 118 287 take 27 GB of memory",
        )

    config: Config
    single = True
    interpolation: ClassVar[Literal["auto", "bilinear"]] = "bilinear"
    card: ClassVar[Card] = Card(
        title="MSCOCO 2017",
        modalities=("rgb", "rgb"),
        origin="cocodataset.org: the archives train2017 and test2017",
        licence="images under the Flickr terms of use, each with its own licence; annotations are not used",
        citation="Lin et al.: Microsoft COCO: Common objects in context. ECCV 2014. Protocol of DeTone et "
        "al. 2016 as IHN (CVPR 2022), RHWF and MCNet run it.",
        layout="ROOT/\n  train2017/000000000009.jpg  ...\n  test2017/000000000001.jpg   ...",
        split="the folders train2017 and test2017",
        size_rule="resized to 320x240 (width x height), bilinear, whatever the aspect ratio (IHN's protocol); with "
        "fit=crop its central 4:3 part, as biHomE",
        defects="one modality: it measures registrators, not translators. PDS-COCO (the data set pdscoco: "
        "distortion=pds, fit=crop) follows biHomE, Koguciuk et al., CVPRW 2021, but clips colours to [0, 1]. "
        "Photographs are taken as independent of each other; their authors are not told by the names",
    )

    def __init__(self, config: ComponentConfig, root: Path | None) -> None:
        super().__init__(config, root)
        self._listed: dict[Split, dict[str, Path]] = {}

    @property
    def distortion(self) -> str:  # type: ignore[override]
        """The setting ``distortion``."""
        return self.config.distortion

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (240, 320)

    def keys(self, split: Split) -> Sequence[str]:
        """The file names without suffix, ascending; raises DataError when the layout does not fit."""
        return list(self._images(split))[: self.config.limit]

    def read(self, split: Split, key: str) -> PairImages:
        """Decode an image; raises DataError naming the file."""
        images = self._images(split)
        if key not in images:
            raise DataError(f"{self.card.title}: no image {key!r} in the {split} split")
        image = read_image(images[key])
        if self.config.fit == "crop":
            image = _central(image, self.size)
        return PairImages(image, image)

    def _images(self, split: Split) -> dict[str, Path]:
        """The images of a split by stem, looked up once."""
        if split not in self._listed:
            assert self.root is not None
            folder = self.root / f"{split}2017"
            self._listed[split] = images_in(folder) if folder.is_dir() else {}
            if not self._listed[split]:
                raise layout_error(self.card, self.root, f"there are no images {folder.name}/*.jpg")
        return self._listed[split]


def _central(image: Image, size: tuple[int, int]) -> Image:
    """The largest central part with the aspect of ``size`` (height, width)."""
    h, w = image.shape[:2]
    height, width = min(h, round(w * size[0] / size[1])), min(w, round(h * size[1] / size[0]))
    top, left = (h - height) // 2, (w - width) // 2
    return image[top : top + height, left : left + width]
