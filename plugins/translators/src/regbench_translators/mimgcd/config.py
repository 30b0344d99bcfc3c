"""The settings of MIMGCD.

The paper leaves open what follows; the defaults hold these readings. t2 is drawn from U[300, 599] in training and is
450 at inference; t1 and t2 share one noise (eq. 5 as written); losses are means over all elements; the U-Net has
64 x (1, 2, 3, 4) channels; maps are the value MIM; the second term of eq. 16 is L_mds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regbench import ComponentConfig, Steps
from regbench_translators.presets import MIMGCD_PRESETS


class MIMGCDConfig(ComponentConfig):
    """The defaults are the paper's numbers and, where it gives none, the readings stated at the top of this module."""

    steps: Steps = Field(600_000, ge=1, description="of the U-Net in round 0")
    refine_steps: Steps = Field(60_000, ge=1, description="of the U-Net in each later round")
    encoder_steps: Steps = Field(30_000, ge=1, description="of each MIM encoder in each later round")
    batch: int = Field(16, ge=1, description="pairs a step; the U-Net sees twice as many images")
    lr: float = Field(2.5e-4, gt=0, description="of the U-Net in round 0")
    refine_lr: float = Field(1e-4, gt=0, description="of the U-Net in later rounds")
    encoder_lr: float = Field(2e-4, gt=0, description="of the encoders")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float = Field(0.9999, ge=0, lt=1, description="of the U-Net's weights; 0.995 below 5000 steps")
    mim: Literal["value", "index", "vector"] = Field("value", description="kind of maximum index map")
    prediction: Literal["eps", "v"] = Field("eps", description="what the U-Net predicts")
    t1_high: int = Field(999, ge=0, le=999, description="largest noise step of the denoising pass in training")
    t2_low: int = Field(300, ge=0, le=999, description="least noise step of the translating pass in training")
    t2_high: int = Field(599, ge=0, le=999, description="largest noise step of the translating pass in training")
    t2: int = Field(450, ge=0, le=999, description="noise step at inference")
    same_noise: bool = Field(True, description="one noise for both passes (eq. 5 as written)")
    erode: int = Field(
        12, ge=0, description="px by which the mask of warped images is eroded: their MIM is wrong at the rim"
    )
    lambda_mms: float = Field(1.0, ge=0, description="weight of L_mms in eq. 16")
    base: int = Field(64, ge=8, description="channels of the U-Net's first level")
    multipliers: tuple[int, ...] = Field((1, 2, 3, 4), description="channels of each level in units of base")
    blocks: int = Field(2, ge=1, description="residual blocks a level")
    attention: bool = Field(True, description="attention at an eighth of the patch and in the middle")
    dropout: float = Field(0.0, ge=0, lt=1)
    reduce: Literal[1, 2, 4] = Field(1, description="factor that images are reduced by before translation")
    encoder: tuple[int, int, int] = Field((32, 64, 128), description="channels of the MIM encoders")

    presets = MIMGCD_PRESETS
