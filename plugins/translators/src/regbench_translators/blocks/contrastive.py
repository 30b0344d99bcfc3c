"""Settings of the translators that compare patches (PatchNCE): CUT, and UNSB, which is built on it."""

from __future__ import annotations

from pydantic import Field

from regbench import Steps
from regbench_translators.blocks.base import AdversarialConfig


class ContrastiveConfig(AdversarialConfig):
    """The defaults are CUT's published ones."""

    steps: Steps = Field(533_600, ge=1, description="400 epochs of 1334 images")
    decay: float = Field(0.5, ge=0, le=1, description="last share of the steps, in which the rate falls to zero")
    blocks: int = Field(9, ge=1, description="residual blocks of the generator")
    critic_layers: int = Field(3, ge=1, description="halvings of a discriminator")
    nce_layers: tuple[int, ...] = Field((0, 4, 8, 12, 16), description="layers of the encoder that are compared")
    codes: int = Field(256, ge=1, description="length of a patch's code")
    patches: int = Field(256, ge=2, description="places a layer that are compared")
    temperature: float = Field(0.07, gt=0, description="of PatchNCE")
    lambda_gan: float = Field(1.0, ge=0)
    lambda_nce: float = Field(1.0, ge=0)
    nce_identity: bool = Field(True, description="PatchNCE of target images too; the two are averaged")
