"""GoogleMap and GoogleEarth as DLKFM published them: unaligned pairs with stored labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench import Card, ComponentConfig, DataError, Dataset, PairImages, Split
from regbench.data.naming import composed, entries, images_in, layout_error, matched
from regbench.data.reading import read_aligned, read_image
from regbench_datasets._text import read_text

INPUT, TEMPLATE = 192, 128
MARGIN = (INPUT - TEMPLATE) // 2
FOLDERS: dict[Split, str] = {"train": "train2014", "test": "val2014"}
CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
LAYOUT = """ROOT/
  train2014_input/0_1.jpg               192x192, window 0 of image 1
  train2014_template/0_1.jpg            128x128, the warped picture
  train2014_label/0_1_label.txt         {"location": [{"top_left_u": 39, "top_left_v": 28}, {"top_right_u": ...}, ...]}
  val2014_input/  val2014_template/  val2014_label/"""
LICENCE = "imagery of Google under its terms of service; the generator's repository is public"
CITATION = (
    "Zhao, Huang and Zhang: Deep Lucas-Kanade homography for multimodal image alignment. CVPR 2021 (DLKFM), who made "
    "and published the pairs."
)


class _Files(NamedTuple):
    """Where a pair lies."""

    picture: Path
    partner: Path
    """The template, or the whole picture aligned with ``picture``."""
    label: Path | None


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

    def __init__(self, config: ComponentConfig, root: Path | None) -> None:
        super().__init__(config, root)
        self._listed: dict[Split, dict[str, _Files]] = {}

    def keys(self, split: Split) -> Sequence[str]:
        """The files' stems; raises DataError when the layout does not fit or a file is missing."""
        return list(self._files(split))

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair; raises DataError naming the file."""
        files = self._pair(split, key)
        picture = read_image(files.picture, (INPUT, INPUT))
        template = read_image(files.partner, (TEMPLATE, TEMPLATE))
        around = [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)][: template.ndim]
        assert files.label is not None
        return PairImages(np.pad(template, around, mode="reflect"), picture, label_of(files.label))

    def group(self, split: Split, key: str) -> str:
        """Files ``<k>_<image>`` are windows of one image; a name that is a number alone does not tell."""
        return key.partition("_")[2] or key

    def _pair(self, split: Split, key: str) -> _Files:
        files = self._files(split)
        if key not in files:
            raise DataError(f"{self.card.title}: no pair {key!r} in the {split} split")
        return files[key]

    def _files(self, split: Split) -> dict[str, _Files]:
        """The files of a split by stem, looked up once."""
        if split not in self._listed:
            folders = [self._folder(split, kind) for kind in ("input", self._partner)]
            pairs = matched(*map(images_in, folders))
            if not pairs:
                raise layout_error(self.card, folders[0], f"there are no images in {folders[0].name}/")
            labels = _labels(self._folder(split, "label"), list(pairs)) if self._partner == "template" else {}
            self._listed[split] = {key: _Files(*both, labels.get(key)) for key, both in pairs.items()}
        return self._listed[split]

    def _folder(self, split: Split, kind: str) -> Path:
        assert self.root is not None
        folder = self.root / f"{FOLDERS[split]}_{kind}"
        if not folder.is_dir():
            raise layout_error(self.card, self.root, f"there is no folder {folder.name}/")
        return folder


def _labels(folder: Path, keys: Sequence[str]) -> dict[str, Path]:
    """The label file of each pair; raises DataError for a pair without one."""
    ending = "_label.txt"
    found = {composed(path.name): path for path in entries(folder) if path.name.lower().endswith(ending)}
    labels = {name[: -len(ending)]: path for name, path in found.items()}
    for key in keys:
        if key not in labels:
            raise DataError(f"{folder / key}{ending} is missing, although {key} has an image")
    return labels


def label_of(path: Path) -> NDArray[np.float64]:
    """Homography ``(3, 3)`` of a label file: pixels of the template's canvas to pixels of the input.

    Raises:
        DataError: no label of DLKFM, or its corners are no homography; names the file.
    """
    import torch

    from regbench import geometry

    text = read_text(path)
    try:
        values: dict[str, float] = {}
        for corner in json.loads(text, object_pairs_hook=_unique)["location"]:
            if twice := set(values) & set(corner):
                raise ValueError(f"{min(twice)} is there twice")
            values |= corner
        if odd := [name for name, value in values.items() if isinstance(value, bool | str)]:
            raise ValueError(f"{odd[0]} is {values[odd[0]]!r}, not a number")
        moved = np.array([[values[f"{corner}_u"], values[f"{corner}_v"]] for corner in CORNERS], np.float64)
        if not np.isfinite(moved).all():
            raise ValueError("a corner is not a finite number")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError where a name is there twice, which JSON reads as the last."""
    found = dict(pairs)
    names = [name for name, _ in pairs]
    if twice := [name for name in found if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is there twice")
    return found


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
        "round or by their own draw (--set protocol.source=B). A is the map, whatever the pairs. The publisher's "
        "generator draws 11 windows of an image for train2014 and 3 for val2014, so that they overlap: results are "
        "about new windows, not new places. It then numbers the windows of val2014 anew, so which of them are of one "
        "image is not known, and intervals over them are too narrow; where names are <k>_<image>, images are resampled",
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
        files = self._pair(split, key)
        return PairImages(*read_aligned(files.partner, files.picture))

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
        "buildings differ between the dates. A is the template, the picture that was warped. The publisher's generator "
        "draws 350 windows of a scene for train2014 and 50 for val2014, so that they overlap: results are about new "
        "windows, not new scenes. The 850 test pairs are of 17 scenes (850 = 17 x 50); intervals resample scenes "
        "where names are <k>_<scene>. Where the windows of val2014 are numbered anew, the scene is not known, and "
        "intervals over windows are too narrow",
    )
