"""Augmentation of frozen and given pairs: other views of the same unaligned pair, with the label composed.

These pairs have one hidden homography each, which a translator may learn by heart instead of the modality. The remedy
is one that two patches alone allow: new patches are cut from within them. They show no pixel outside the original
patches, so they tell no more of the hidden homography than the pair itself. Views without a pair (``unpaired``) are
left as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import geometry


def draw_views(kind: str, count: int, patch: int, rho: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw where the new source and target patches are taken from.

    Args:
        kind: ``sync_flip_rot``: mirrored and turned by 90 degrees, each with probability one half, source and target
            alike (as SSHNet's loader of flash and infrared images does); ``indep_homography``: each by a homography of
            its own, whose corners lie up to rho / 2 px inside the patch.
        count: pairs.
        patch: side in pixels.
        rho: largest corner offset of the protocol in pixels.
        generator: on the CPU.

    Returns:
        Two homographies ``(count, 3, 3)``, pixels of the new patch to pixels of the pair's.
    """
    if kind == "sync_flip_rot":
        turned = _flips_and_turns(count, patch, generator)
        return turned, turned
    return _inner_views(count, patch, rho, generator), _inner_views(count, patch, rho, generator)


def composed_label(displacement: Tensor, source: Tensor, target: Tensor, patch: int) -> Tensor:
    """Label of the new pair, ``(N, 4, 2)`` px: from new source to source, by the label to the target, to new target.

    Args:
        displacement: ``(N, 4, 2)`` of the pair, pixels at the source corners.
        source: ``(N, 3, 3)`` from :func:`draw_views`.
        target: likewise.
        patch: side in pixels.
    """
    size = (patch, patch)
    h = geometry.homography_from_displacement(displacement.double(), size)
    h = geometry.compose(geometry.invert(target.double()), geometry.compose(h, source.double()))
    return geometry.displacement_from_homography(h, size).to(displacement.dtype)


def _flips_and_turns(count: int, patch: int, generator: torch.Generator) -> Tensor:
    last = patch - 1.0
    mirror = torch.tensor([[-1.0, 0.0, last], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    turn = torch.tensor([[0.0, -1.0, last], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    half = geometry.product(turn, turn)
    upside_down = geometry.product(half, mirror)
    coins = torch.rand(4, count, 1, 1, generator=generator) < 0.5
    eye = torch.eye(3).expand(count, 3, 3)
    mirrored = geometry.product(torch.where(coins[0], mirror, eye), torch.where(coins[1], upside_down, eye))
    turned = torch.where(coins[2], torch.where(coins[3], turn, geometry.product(half, turn)), eye)
    return geometry.product(mirrored, turned)


def _inner_views(count: int, patch: int, rho: int, generator: torch.Generator) -> Tensor:
    inwards = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])  # from TL, TR, BL, BR
    offsets = torch.randint(0, rho // 2 + 1, (count, 4, 2), generator=generator) * inwards
    return geometry.homography_from_displacement(offsets, (patch, patch))
