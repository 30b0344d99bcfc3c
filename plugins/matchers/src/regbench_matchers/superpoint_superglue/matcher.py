"""SuperPoint keypoints matched by SuperGlue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from regbench import PairInfo
from regbench.ops import to_grey
from regbench_matchers.blocks.pretrained import PretrainedConfig, PretrainedMatcher, PublishedFile
from regbench_matchers.blocks.superpoint import SuperPoint
from regbench_matchers.published_keys import SUPERGLUE_KEYS, SUPERPOINT_KEYS
from regbench_matchers.superpoint_superglue.superglue import SuperGlue

_SOURCE = "https://github.com/magicleap/SuperGluePretrainedNetwork, models/weights; not for commercial use"


class SuperPointSuperGlueConfig(PretrainedConfig):
    """The published model to use, and its keypoints."""

    model: Literal["outdoor", "indoor"] = Field("outdoor", description="what SuperGlue was trained on")
    count: int = Field(1024, ge=4, description="strongest keypoints kept")
    confidence: float = Field(0.2, ge=0, lt=1, description="least probability of a match")


class SuperPointSuperGlue(PretrainedMatcher):
    """SuperPoint (DeTone et al., 2018) and SuperGlue (Sarlin et al., CVPR 2020) on grey images.

    Both networks are written from their papers and take the weights that their authors published.
    """

    Config = SuperPointSuperGlueConfig

    config: SuperPointSuperGlueConfig
    extractor: SuperPoint
    matcher: SuperGlue

    def __init__(self, config: SuperPointSuperGlueConfig, info: PairInfo) -> None:
        matcher = SuperGlue(threshold=config.confidence)
        super().__init__(config, info, extractor=SuperPoint(config.count), matcher=matcher)

    def published(self) -> Sequence[PublishedFile]:
        """The checkpoints of SuperPoint and SuperGlue."""
        return (
            PublishedFile(submodule="extractor", names=("superpoint_v1.pth",), source=_SOURCE, keys=SUPERPOINT_KEYS),
            PublishedFile(
                submodule="matcher",
                names=(f"superglue_{self.config.model}.pth",),
                source=_SOURCE,
                keys=SUPERGLUE_KEYS,
            ),
        )

    def correspondences(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The keypoints of both images that SuperGlue matches."""
        points, descriptors, scores = zip(*(self.extractor(to_grey(image)) for image in (source, target)), strict=True)
        sizes = ((source.shape[-2], source.shape[-1]), (target.shape[-2], target.shape[-1]))
        i, j = self.matcher(points, descriptors, scores, sizes)
        return points[0][0, i], points[1][0, j]
