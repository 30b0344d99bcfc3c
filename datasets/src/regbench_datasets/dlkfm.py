"""GoogleMap and GoogleEarth as DLKFM published them: unaligned pairs with stored labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Dataset, PairImages, Split
from regbench.data.reading import images_in, layout_error, matched, read_aligned, read_image
from regbench.data.source_files import note_read

INPUT, TEMPLATE = 192, 128
MARGIN = (INPUT - TEMPLATE) // 2
FOLDERS: dict[Split, str] = {"train": "train2014", "test": "val2014"}
CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
LAYOUT = """ROOT/
  train2014_input/0_1.jpg               192x192
  train2014_template/0_1.jpg            128x128, the warped picture
  train2014_label/0_1_label.txt         {"location": [{"top_left_u": 39, "top_left_v": 28}, {"top_right_u": ...}, ...]}
  val2014_input/  val2014_template/  val2014_label/"""
LICENCE = "imagery of Google under its terms of service; the generator's repository is public"
CITATION = (
    "Zhao, Huang and Zhang: Deep Lucas-Kanade homography for multimodal image alignment. CVPR 2021 (DLKFM), who made "
    "and published the pairs."
)


class _DLKFM(Dataset):
    """Reads ``{train2014,val2014}_{input,template,template_original,label}/``.

    A stored pair is kept in the frame of its label: the template lies in the middle of a 192 px canvas, at the
    corners (32, 32) ... (159, 159) that the label speaks of, and what surrounds it is mirrored. The central 128 px
    window is then the published pair, template against input[32:160], and self-pairs of the input have real margin.
    """

    config: Any

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack."""
        return (INPUT, INPUT)

    @property
    def _partner(self) -> str:
        return "template"

    def keys(self, split: Split) -> Sequence[str]:
        """The files' stems; raises DataError when the layout does not fit or a partner is missing."""
        folders = {kind: self._folder(split, kind) for kind in ("input", self._partner)}
        for folder in folders.values():
            if not folder.is_dir():
                raise layout_error(self.card, folder.parent, f"there is no folder {folder.name}/")
        keys = matched(*(images_in(folder) for folder in folders.values()))
        if not keys:
            raise layout_error(self.card, folders["input"], f"there are no images in {folders['input'].name}/")
        return keys

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair; raises DataError naming the file."""
        picture = read_image(self._image(split, "input", key), (INPUT, INPUT))
        template = read_image(self._image(split, "template", key), (TEMPLATE, TEMPLATE))
        around = [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)][: template.ndim]
        return PairImages(np.pad(template, around, mode="reflect"), picture, self._label(split, key))

    def group(self, split: Split, key: str) -> str:
        """Training files ``<k>_<image>`` are windows of one image."""
        return key.partition("_")[2] or key

    def _label(self, split: Split, key: str) -> NDArray[np.float64]:
        """Homography ``(3, 3)`` of a label file: pixels of the template's canvas to pixels of the input."""
        import torch

        from regbench import geometry

        path = self._folder(split, "label") / f"{key}_label.txt"
        try:
            location = json.loads(path.read_text())["location"]
            note_read(path)
            values = {name: value for corner in location for name, value in corner.items()}
            moved = np.array([[values[f"{corner}_u"], values[f"{corner}_v"]] for corner in CORNERS], np.float64)
        except FileNotFoundError:
            raise DataError(f"{path} is missing, although {key} has an image") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is truncated or no DLKFM label ({type(error).__name__}: {error}); expected "
                '{"location": [...]} with the u and v of four corners'
            ) from None
        size = (TEMPLATE, TEMPLATE)
        corners = geometry.corners(size, dtype=torch.float64) + MARGIN
        if not geometry.is_convex(torch.from_numpy(moved) - corners, size):
            raise DataError(f"{path}: the four corners do not form a convex quadrilateral, so they are no homography")
        local = geometry.homography_from_displacement(torch.from_numpy(moved) - corners + MARGIN, size)
        to_template = geometry.translation(torch.full((2,), -float(MARGIN), dtype=torch.float64))
        return geometry.compose(local, to_template).numpy()

    def _folder(self, split: Split, kind: str) -> Path:
        assert self.root is not None
        return self.root / f"{FOLDERS[split]}_{kind}"

    def _image(self, split: Split, kind: str, key: str) -> Path:
        return self._folder(split, kind) / f"{key}.jpg"


class GoogleMap(_DLKFM):
    """Street maps and satellite photographs."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        pairs: Literal["stored", "original"] = Field(
            "stored",
            description="stored: the published unaligned pairs with their labels; original: input and "
            "template_original, which are aligned, for pairs made here (SSHNet, SCPNet)",
        )

    config: Config
    card: ClassVar[Card] = Card(
        title="GoogleMap (DLKFM)",
        modalities=("map", "satellite"),
        origin="the page of DLKFM (CVPR 2021) links the archive GoogleMap.zip",
        licence=LICENCE,
        citation=CITATION,
        layout=LAYOUT
        + "\n  train2014_template_original/0_1.jpg   192x192, the map aligned with the input; also val2014_...",
        split="train2014 trains and val2014 tests (about 9000 and 880 pairs in the published archive)",
        size_rule="192x192 as stored; a template lies at [32:160] of a 192x192 canvas, mirrored around",
        defects="the map (A) is what was warped, as IHN and MCNet register it; SSHNet and SCPNet warp the other way "
        "round or by their own draw (--set protocol.source=B). A is the map, whatever the pairs",
    )

    @property
    def aligned(self) -> bool:  # type: ignore[override]
        """Whether the pairs are those aligned by the publisher."""
        return self.config.pairs == "original"

    @property
    def max_patch(self) -> int | None:  # type: ignore[override]
        """The template's side."""
        return None if self.aligned else TEMPLATE

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair; raises DataError naming the file."""
        if not self.aligned:
            return super().read(split, key)
        a, b = read_aligned(self._image(split, self._partner, key), self._image(split, "input", key))
        return PairImages(a, b)

    @property
    def _partner(self) -> str:
        return "template_original" if self.aligned else "template"


class GoogleEarth(_DLKFM):
    """Satellite photographs of one place at two dates."""

    config: ComponentConfig
    aligned = False
    max_patch = TEMPLATE
    card: ClassVar[Card] = Card(
        title="GoogleEarth (DLKFM)",
        modalities=("later", "earlier"),
        origin="the page of DLKFM (CVPR 2021) links the archive GoogleEarth.zip",
        licence=LICENCE,
        citation=CITATION,
        layout=LAYOUT,
        split="train2014 trains (8750 pairs) and val2014 tests (850), the counts of DLKFM and of CoLReg",
        size_rule="192x192 as stored; a template lies at [32:160] of a 192x192 canvas, mirrored around",
        defects="really unaligned pairs only: there is no template_original, so no new pair can be made; seasons and "
        "buildings differ between the dates. A is the template, the picture that was warped",
    )
