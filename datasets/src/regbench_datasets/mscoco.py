"""MSCOCO as homography papers use it: single photographs, source and target cut from the same image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.reading import images_in, layout_error, read_image


class MSCOCO(Dataset):
    """Reads the images of ``train2017`` and ``test2017``; A and B are the same image."""

    class Config(ComponentConfig):
        """Settings of the reader."""

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
        size_rule="resized to 320x240 (width x height), bilinear, whatever the aspect ratio: IHN's protocol",
        defects="one modality: it measures registrators, not translators",
    )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (240, 320)

    def keys(self, split: Split) -> Sequence[str]:
        """The file names without suffix, ascending; raises DataError when the layout does not fit."""
        return list(self._images(split))[: self.config.limit]

    def read(self, split: Split, key: str) -> PairImages:
        """Decode an image; raises DataError naming the file."""
        image = read_image(self._folder(split) / f"{key}.jpg")
        return PairImages(image, image)

    def _folder(self, split: Split) -> Path:
        assert self.root is not None
        return self.root / f"{split}2017"

    def _images(self, split: Split) -> dict[str, Path]:
        assert self.root is not None
        folder = self._folder(split)
        found = {}
        if folder.is_dir():
            found = {stem: path for stem, path in images_in(folder).items() if path.suffix == ".jpg"}
        if not found:
            raise layout_error(self.card, self.root, f"there are no images {folder.name}/*.jpg")
        return found
