"""Settings of a network with one or two scales (IHN, RHWF)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from regbench import ComponentConfig

Width = Annotated[int, Field(ge=8, multiple_of=8)]
"""Channels of a decoder: group norm takes them in groups of eight."""


class ScalesConfig(ComponentConfig):
    """Which strides there are: the published networks have (4, 2), with one scale 4 alone; small presets (8, 4)."""

    scales: Literal[1, 2] = Field(2, description="number of scales, coarse to fine")
    finest: Literal[2, 4] = Field(2, description="stride of the finest scale")
    stem_stride: Literal[1, 2] = Field(1, description="2 skips the full-resolution level (small presets)")
    widths: tuple[int, ...] = Field(description="channels of the encoder at strides 2, 4, ..")

    @model_validator(mode="after")
    def _levels_exist(self) -> ScalesConfig:
        if len(self.widths) < len(self.levels):
            raise ValueError(f"widths={self.widths}: levels at strides {self.levels} are needed")
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the scales, coarse to fine."""
        return (2 * self.finest, self.finest)[-self.scales :]

    @property
    def levels(self) -> tuple[int, ...]:
        """Strides of the encoder's levels, fine to coarse."""
        return tuple(stride for stride in (2, 4, 8) if stride <= self.strides[0])

    @property
    def heads(self) -> tuple[int, ...]:
        """Strides at which features leave the encoder.

        With one scale the finer head is dead: the published one-scale networks carry it, and so do their checkpoints.
        """
        return self.levels[-2:]
