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
from regbench_matchers.blocks.pretrained import PretrainedConfig, PretrainedMatcher, Published
from regbench_matchers.blocks.superpoint import PUBLISHED_KEYS as SUPERPOINT_KEYS

_RELEASE = "https://github.com/cvg/LightGlue/releases"
_EXTRACTORS = {
    "superpoint": Published("extractor", ("superpoint_v1.pth",), _RELEASE, SUPERPOINT_KEYS),
    "disk": Published("extractor", ("depth-save.pth",), "https://github.com/cvlab-epfl/disk"),
    "aliked": Published("extractor", ("aliked-n16.pth",), "https://github.com/Shiaoming/ALIKED"),
}
_KEYS = ((r"^matcher\.", ""), (r"^(self|cross)_attn\.(\d+)", r"transformers.\2.\1_attn"))


class LightGlueConfig(PretrainedConfig):
    """Which features, and how many."""

    features: Literal["superpoint", "disk", "aliked", "sift"] = Field("disk", description="what is matched")
    count: int = Field(1024, ge=4, description="strongest keypoints kept")
    confidence: float = Field(0.1, ge=0, lt=1, description="least matching score")


class LightGlue(PretrainedMatcher):
    """LightGlue (Lindenberger, Sarlin and Pollefeys, ICCV 2023) with the features its authors trained it on."""

    Config = LightGlueConfig

    config: LightGlueConfig
    extractor: torch.nn.Module
    matcher: kf.LightGlue

    def __init__(self, config: LightGlueConfig, info: PairInfo) -> None:
        # Without a name kornia downloads nothing; the settings are those it would take by the name.
        settings: dict[str, Any] = {k: v for k, v in kf.LightGlue.features[config.features].items() if k != "weights"}
        matcher = kf.LightGlue(None, filter_threshold=config.confidence, **settings)  # type: ignore[arg-type]
        super().__init__(config, info, extractor=build(config.features, config.count), matcher=matcher)

    def published(self) -> Sequence[Published]:
        """The matcher's file and, but for SIFT, that of the features."""
        name = f"{self.config.features}_lightglue"
        matcher = Published("matcher", (f"{name}.pth", f"{name}_v0-1_arxiv-pth"), _RELEASE, _KEYS)
        extractor = _EXTRACTORS.get(self.config.features)
        return (matcher,) if extractor is None else (extractor, matcher)

    def correspondences(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints of both images that LightGlue pairs."""
        a, b = (extract(self.extractor, image, self.config.count) for image in (source, target))
        if min(a.points.shape[1], b.points.shape[1]) < 2:
            return a.points[0, :0], b.points[0, :0]
        found = self.matcher({"image0": _form(a, source), "image1": _form(b, target)})["matches"][0]
        return a.points[0, found[:, 0]], b.points[0, found[:, 1]]


def _form(features: Features, image: Tensor) -> dict[str, Tensor]:
    """What kornia's LightGlue reads."""
    form = {
        "keypoints": features.points,
        "descriptors": features.descriptors,
        "image_size": torch.tensor([[image.shape[-1], image.shape[-2]]], device=image.device),
    }
    if features.scale is not None and features.angle is not None:
        form |= {"scales": features.scale, "oris": features.angle}
    return form
