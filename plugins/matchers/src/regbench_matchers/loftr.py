"""LoFTR: detector-free matching with transformers, through kornia."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar, Literal

from kornia.feature import LoFTR as Network
from kornia.feature.loftr.loftr import default_cfg
from pydantic import Field
from torch import Tensor

from regbench import PairInfo
from regbench.ops import to_grey
from regbench_matchers.blocks.pretrained import PretrainedConfig, PretrainedMatcher, PublishedFile
from regbench_matchers.published_keys import LOFTR_KEYS

_FILES = {
    "outdoor": "loftr_outdoor.ckpt",
    "indoor": "loftr_indoor.ckpt",
    "indoor_new": "loftr_indoor_ds_new.ckpt",
}


class LoFTRConfig(PretrainedConfig):
    """The published model to use."""

    model: Literal["outdoor", "indoor", "indoor_new"] = Field("outdoor", description="what it was trained on")
    confidence: float = Field(0.2, ge=0, lt=1, description="least coarse matching score")


class LoFTR(PretrainedMatcher):
    """LoFTR (Sun et al., CVPR 2021) on grey images.

    Its coarse grid has a cell every 8 px and drops two cells at each rim, so that patches of 64 px need ``upscale``. It
    was trained with pixel centres at halves; its points are shifted to centres at whole numbers.
    """

    Config = LoFTRConfig
    published_keys: ClassVar[Sequence[tuple[str, str]]] = (*LOFTR_KEYS, (r"^", "network."))

    config: LoFTRConfig
    network: Network

    def __init__(self, config: LoFTRConfig, info: PairInfo) -> None:
        settings: dict[str, Any] = deepcopy(default_cfg)
        settings["match_coarse"]["thr"] = config.confidence
        settings["coarse"]["temp_bug_fix"] = config.model == "indoor_new"
        super().__init__(config, info, network=Network(pretrained=None, config=settings))

    def published(self) -> Sequence[PublishedFile]:
        """The checkpoint of the model."""
        return (
            PublishedFile(
                submodule="network",
                names=(_FILES[self.config.model],),
                source="https://github.com/zju3dv/LoFTR or kornia's model hub",
                keys=LOFTR_KEYS,
            ),
        )

    def correspondences(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Points of matching coarse cells, refined in the target."""
        matches = self.network({"image0": to_grey(source), "image1": to_grey(target)})
        return matches["keypoints0"] - 0.5, matches["keypoints1"] - 0.5
