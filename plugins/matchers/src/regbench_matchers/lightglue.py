"""LightGlue on SuperPoint, DISK, ALIKED or SIFT keypoints, through kornia."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import kornia.feature as kf
import torch
from pydantic import Field
from torch import Tensor

from regbench import PairInfo
from regbench_matchers.blocks.features import Features, build, extract
from regbench_matchers.blocks.pretrained import PretrainedConfig, PretrainedMatcher, PublishedFile
from regbench_matchers.published_keys import LIGHTGLUE_KEYS, SUPERPOINT_KEYS

_RELEASE = "https://github.com/cvg/LightGlue/releases"
_EXTRACTORS = {
    "superpoint": PublishedFile(
        submodule="extractor", names=("superpoint_v1.pth",), source=_RELEASE, keys=SUPERPOINT_KEYS
    ),
    "disk": PublishedFile(
        submodule="extractor", names=("depth-save.pth",), source="https://github.com/cvlab-epfl/disk"
    ),
    "aliked": PublishedFile(
        submodule="extractor", names=("aliked-n16.pth",), source="https://github.com/Shiaoming/ALIKED"
    ),
}


class LightGlueConfig(PretrainedConfig):
    """Kind and number of the features."""

    features: Literal["superpoint", "disk", "aliked", "sift"] = Field(
        "disk", description="kind of keypoints and descriptors"
    )
    count: int = Field(1024, ge=4, description="strongest keypoints kept")
    confidence: float = Field(0.1, ge=0, lt=1, description="least matching score")


class LightGlue(PretrainedMatcher):
    """LightGlue (Lindenberger, Sarlin and Pollefeys, ICCV 2023) with the features its authors trained it on."""

    Config = LightGlueConfig

    config: LightGlueConfig
    extractor: torch.nn.Module
    matcher: kf.LightGlue

    def __init__(self, config: LightGlueConfig, info: PairInfo) -> None:
        # kornia downloads weights if it is given a name: it gets the settings of that name instead.
        settings: dict[str, Any] = {k: v for k, v in kf.LightGlue.features[config.features].items() if k != "weights"}
        matcher = kf.LightGlue(None, filter_threshold=config.confidence, **settings)  # type: ignore[arg-type]
        super().__init__(config, info, extractor=build(config.features, config.count), matcher=matcher)

    def published(self) -> Sequence[PublishedFile]:
        """The files of the features (none for SIFT) and of the matcher."""
        name = f"{self.config.features}_lightglue"
        matcher = PublishedFile(
            submodule="matcher",
            names=(f"{name}.pth", f"{name}_v0-1_arxiv-pth"),
            source=_RELEASE,
            keys=LIGHTGLUE_KEYS,
        )
        extractor = _EXTRACTORS.get(self.config.features)
        return (matcher,) if extractor is None else (extractor, matcher)

    def correspondences(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The keypoints of both images that LightGlue matches."""
        a, b = (extract(self.extractor, image, self.config.count) for image in (source, target))
        if min(a.points.shape[1], b.points.shape[1]) < 2:
            return a.points[0, :0], b.points[0, :0]
        matches = self.matcher({"image0": _as_input(a, source), "image1": _as_input(b, target)})["matches"][0]
        return a.points[0, matches[:, 0]], b.points[0, matches[:, 1]]


def _as_input(features: Features, image: Tensor) -> dict[str, Tensor]:
    """The features of an image in the form kornia's LightGlue reads."""
    entries = {
        "keypoints": features.points,
        "descriptors": features.descriptors,
        "image_size": torch.tensor([[image.shape[-1], image.shape[-2]]], device=image.device),
    }
    if features.scale is not None and features.angle is not None:
        entries |= {"scales": features.scale, "oris": features.angle}
    return entries
