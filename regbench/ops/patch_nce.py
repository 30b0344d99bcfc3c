"""PatchNCE (Park et al. 2020): a patch of the translation knows its patch of the input among others of that image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.devices import to_device


class PatchSampler(nn.Module):
    """Reads features at drawn places and maps them, by one two-layer perceptron a layer, to codes of unit length.

    The published code builds the perceptrons at the first forward pass; here they are built at once, from the given
    channels.

    Args:
        channels: of each feature map.
        width: of the perceptrons and the codes.
        patches: places a map.
    """

    def __init__(self, channels: Sequence[int], width: int = 256, patches: int = 256) -> None:
        super().__init__()
        self.patches = patches
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(inplace=True), nn.Linear(width, width)) for c in channels
        )

    def draw(self, features: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        """Places ``(P,)`` for each map, without replacement and the same for all images of the batch."""
        drawn = []
        for feature in features:
            count = feature.shape[-2] * feature.shape[-1]
            places = torch.randperm(count, generator=generator)[: min(self.patches, count)]
            drawn.append(to_device(places, feature.device))
        return drawn

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(B, C, H, W)`` at places ``(P,)`` to codes ``(B, P, width)``."""
        codes = []
        for head, feature, where in zip(self.heads, features, places, strict=True):
            code = head(feature.flatten(2)[..., where].transpose(1, 2)).float()
            codes.append(code / (code.norm(dim=-1, keepdim=True) + 1e-7))
        return codes

    def contrast(
        self, images: Sequence[Tensor], kept: Sequence[Tensor], generator: torch.Generator, temperature: float = 0.07
    ) -> Tensor:
        """PatchNCE of one image's patches against those of the image whose content it should have kept.

        Args:
            images: feature maps ``(B, C, H, W)`` that learn.
            kept: feature maps of the same shapes, the keys; no gradient reaches them.
            generator: draws the places.
            temperature: divides the products.
        """
        places = self.draw(kept, generator)
        with torch.no_grad():
            keys = self(kept, places)
        return nce_over_layers(self(images, places), keys, temperature)


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean cross-entropy of finding each query's key among the keys of the same image.

    Args:
        queries: codes ``(B, P, D)`` of the translation.
        keys: codes ``(B, P, D)`` of the input at the same places; no gradient reaches them.
        temperature: divides the products.
    """
    products = queries @ keys.detach().transpose(1, 2) / temperature
    target = torch.arange(products.shape[1], device=products.device).expand(products.shape[0], -1)
    return F.cross_entropy(products.flatten(0, 1), target.flatten())


def nce_over_layers(queries: Sequence[Tensor], keys: Sequence[Tensor], temperature: float = 0.07) -> Tensor:
    """The mean of :func:`patch_nce` over feature maps."""
    losses = [patch_nce(q, k, temperature) for q, k in zip(queries, keys, strict=True)]
    return torch.stack(losses).mean()
