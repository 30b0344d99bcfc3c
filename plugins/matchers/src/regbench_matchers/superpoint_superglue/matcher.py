"""SuperPoint keypoints matched by SuperGlue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from regbench import PairInfo
from regbench.ops import to_grey
from regbench_matchers.blocks.pretrained import PretrainedConfig, PretrainedMatcher, Published
from regbench_matchers.blocks.superpoint import PUBLISHED_KEYS as SUPERPOINT_KEYS
from regbench_matchers.blocks.superpoint import SuperPoint
from regbench_matchers.superpoint_superglue.superglue import PUBLISHED_KEYS as SUPERGLUE_KEYS
from regbench_matchers.superpoint_superglue.superglue import SuperGlue

_SOURCE = "https://github.com/magicleap/SuperGluePretrainedNetwork, models/weights; not for commercial use"


class SuperPointSuperGlueConfig(PretrainedConfig):
    """Which of the published models, and how many keypoints."""

    model: Literal["outdoor", "indoor"] = Field("outdoor", description="what SuperGlue was trained on")
    count: int = Field(1024, ge=4, description="strongest keypoints kept")
    confidence: float = Field(0.2, ge=0, lt=1, description="least probability of a match")


class SuperPointSuperGlue(PretrainedMatcher):
    """SuperPoint (DeTone et al., 2018) and SuperGlue (Sarlin et al., CVPR 2020) on grey images.

    Both networks are written from their papers; the weights their authors published fit them.
    """

    Config = SuperPointSuperGlueConfig

    config: SuperPointSuperGlueConfig
    extractor: SuperPoint
    matcher: SuperGlue

    def __init__(self, config: SuperPointSuperGlueConfig, info: PairInfo) -> None:
        matcher = SuperGlue(threshold=config.confidence)
        super().__init__(config, info, extractor=SuperPoint(config.count), matcher=matcher)

    def published(self) -> Sequence[Published]:
        """Both checkpoints."""
        return (
            Published("extractor", ("superpoint_v1.pth",), _SOURCE, SUPERPOINT_KEYS),
            Published("matcher", (f"superglue_{self.config.model}.pth",), _SOURCE, SUPERGLUE_KEYS),
        )

    def correspondences(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints of both images that SuperGlue pairs."""
        a, b = (self.extractor(to_grey(image)) for image in (source, target))  # points, descriptors, scores
        sizes = ((source.shape[-2], source.shape[-1]), (target.shape[-2], target.shape[-1]))
        i, j = self.matcher(*zip(a, b, strict=True), sizes)
        return a[0][0, i], b[0][0, j]
