"""The settings of MIMGCD.

The paper leaves open what follows; the settings hold these readings. The process has T = 1000 steps with beta from 1e-4
to 2e-2; t2 is drawn from U[300, 599] in training and is 450 at inference; t1 and t2 share one noise (eq. 5 as written);
the U-Net has 64 x (1, 2, 3, 4) channels; maps are the value MIM of the grey image, from RIFT's filter bank.

These readings have no setting. Losses are means over all elements. The second term of eq. 16 is L_mds. Handcrafted maps
are scaled to [-1, 1] by eq. 13 in round 0 too. The MIM encoders end in tanh. The estimate is clamped to [-1, 1] in
``MIMGCD.translate`` alone.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from regbench import ComponentConfig, Steps
from regbench_translators.presets import MIMGCD_PRESETS

_LEAST_LOG_ABAR = -80.0  # smaller products of 1 - beta are near the end of float32


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
    mim_of: Literal["grey", "channels"] = Field(
        "grey", description="one map of the grey image, or one of each of three channels (eq. 13 taken literally)"
    )
    mim_scales: int = Field(4, ge=1, description="wavelengths of the filter bank (N_s)")
    mim_orientations: int = Field(6, ge=2, description="orientations of the filter bank (N_o)")
    mim_wavelength: float = Field(
        3.0, ge=2, description="shortest wavelength, px; the rim of an image is reflected for 16 px"
    )
    mim_ratio: float = Field(1.6, gt=1, description="of one wavelength to the next")
    mim_bandwidth: float = Field(0.75, gt=0, lt=1, description="spread over centre of a filter, in log frequency")
    prediction: Literal["eps", "v"] = Field("eps", description="what the U-Net predicts")
    noise_steps: int = Field(1000, ge=2, le=100_000, description="steps of the diffusion process (T), above t1 and t2")
    beta_first: float = Field(1e-4, gt=0, lt=1, description="variance of the noise of the first step")
    beta_last: float = Field(2e-2, gt=0, lt=1, description="of the last step; between them it is linear")
    t1_high: int = Field(999, ge=0, description="largest noise step of the denoising pass in training")
    t2_low: int = Field(300, ge=0, description="least noise step of the translating pass in training")
    t2_high: int = Field(599, ge=0, description="largest noise step of the translating pass in training")
    t2: int = Field(450, ge=0, description="noise step at inference")
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
    norm_group: int = Field(
        4, ge=1, description="least channels of a group of group norm in the encoders and in U-Nets with base below 64"
    )

    presets = MIMGCD_PRESETS
    formerly = {"norm_group": 1}

    @model_validator(mode="after")
    def _steps_exist(self) -> MIMGCDConfig:
        for name in ("t1_high", "t2_low", "t2_high", "t2"):
            if getattr(self, name) >= self.noise_steps:
                raise ValueError(
                    f"{name}={getattr(self, name)} lies beyond the last step, {self.noise_steps - 1} "
                    f"(noise_steps={self.noise_steps})"
                )
        if self.t2_low > self.t2_high:
            raise ValueError(f"t2_low={self.t2_low} lies above t2_high={self.t2_high}")
        slope = (self.beta_last - self.beta_first) / (self.noise_steps - 1)
        if sum(math.log1p(-self.beta_first - slope * step) for step in range(self.noise_steps)) < _LEAST_LOG_ABAR:
            raise ValueError(
                f"beta_first={self.beta_first:g} and beta_last={self.beta_last:g} leave nothing of an image after "
                f"noise_steps={self.noise_steps}; take smaller variances or fewer steps"
            )
        return self
