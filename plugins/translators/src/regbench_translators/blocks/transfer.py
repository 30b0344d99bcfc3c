"""Base of the translators that are one image-to-image network: SSHNet's modality transfer networks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import ComponentConfig, PairInfo, Translator


class TransferConfig(ComponentConfig):
    """Settings that every transfer network has."""

    output: Literal["clamped", "linear"] = Field(
        "clamped", description="images in [0, 1] with the gradient of the linear output, or that output as published"
    )


class TransferNet(Translator):
    """Renders the source by one network, without looking at the target.

    The published networks end in a linear layer whose values may leave [0, 1]. Every interface of regbench carries
    images in [0, 1], and a registrator must see the same images in training as in use. Values are therefore clamped in
    both, and the gradient passes unchanged: with the clamp's own gradient a pixel beyond the range could not return.

    Args:
        config: its settings.
        info: facts of the pairs.
        network: ``(B, 3, H, W)`` to ``(B, 3, H, W)``.
        halvings: number of times the network halves its image.

    Raises:
        ValueError: the patch is not a multiple of 2^halvings.
    """

    config: TransferConfig

    def __init__(self, config: TransferConfig, info: PairInfo, network: nn.Module, halvings: int) -> None:
        super().__init__(config, info)
        if info.patch % 2**halvings:
            raise ValueError(f"the patch has to be a multiple of {2**halvings} px, got {info.patch}")
        self.network = network

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """``(B, 3, H, W)``, in [0, 1] unless ``output`` is linear; target and generator are not used."""
        image: Tensor = self.network(source).to(source.dtype)
        return clamped(image) if self.config.output == "clamped" else image


def clamped(image: Tensor) -> Tensor:
    """Values clamped to [0, 1]; the gradient passes unchanged."""
    return _Clamp.apply(image)


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        return image.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]
