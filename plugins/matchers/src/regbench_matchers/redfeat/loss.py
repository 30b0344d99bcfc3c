"""The losses of ReDFeat: description, peaking and repeatability, each weighted by the results of the others.

The loss of a descriptor is weighted by the detection scores of its place in both images, and the loss of a score by how
distinctive the descriptors of its place are. No gradient flows through a weight: this is the recoupling of the paper's
title.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor

from regbench import geometry

_BORDER = 5  # px at the rim that the loss leaves out
_SAME, _OTHER = 3, 7  # px: a match lies nearer than the first, a mismatch not nearer than the second
_ALIKE = 0.9  # a "mismatch" of greater similarity is probably a repeated structure
_CELL = 16  # side of the patches in which scores must peak and repeat, px
_TINY = 1e-5


@dataclass(frozen=True)
class Maps:
    """The network's output for a batch of pairs, and what else the loss needs.

    Attributes:
        descriptors: of source and target, ``(B, C, H, W)`` of length 1.
        scores: of source and target, ``(B, 1, H, W)`` in [0, 1].
        images: standardised source and target, ``(B, 3, H, W)``.
        priority: ``(B, H * W)`` in (0, 1]; the loss samples the pixels of highest priority.
    """

    descriptors: tuple[Tensor, Tensor]
    scores: tuple[Tensor, Tensor]
    images: tuple[Tensor, Tensor]
    priority: Tensor


@dataclass(frozen=True)
class SampledPixels:
    """Pixels sampled from what both images of a pair show.

    Attributes:
        place: ``(N, 2)`` pixels of the source.
        valid: ``(N,)`` bool; False for the last ones if the images share fewer than N pixels.
        descriptors: of source and target, ``(N, C)``.
        scores: of source and target, ``(N,)``.
        smoothed: the same scores, averaged over 3 x 3 pixels.
    """

    place: Tensor
    valid: Tensor
    descriptors: tuple[Tensor, Tensor]
    scores: tuple[Tensor, Tensor]
    smoothed: tuple[Tensor, Tensor]


def loss(maps: Maps, displacement: Tensor, samples: int, peaking: float, repeatability: float) -> Tensor:
    """Loss of each pair: description + ``peaking`` * peaking + ``repeatability`` * repeatability.

    Two things differ from the published code. It divides the weights by running means over earlier batches; here they
    are divided by the pair's own means, so that the loss has no memory and no pair depends on another (neither divisor
    carries a gradient). It samples pixels for description and for peaking separately; here one sample serves both.

    Args:
        maps: of the batch.
        displacement: label ``(B, 4, 2)`` pixels.
        samples: pixels sampled from each pair to compare descriptors.
        peaking: weight of the peaking loss.
        repeatability: weight of the repeatability loss.

    Returns:
        ``(B,)`` float32.
    """
    size = (maps.images[0].shape[-2], maps.images[0].shape[-1])
    # Small angles need float32: bf16 rounds similarities above 0.998 to 1, where the arc cosine has no finite gradient.
    with torch.autocast(maps.images[0].device.type, enabled=False):
        homography = geometry.homography_from_displacement(displacement.float(), size)
        # The target's maps, sampled at the counterpart of each source pixel.
        target = geometry.sample(maps.descriptors[1], homography, size, mode="nearest")
        score = geometry.sample(maps.scores[1], homography, size)
        mask = _overlap(homography, size)
        sampled = [(descriptor_hardness(pixels), pixels) for pixels in _sample(maps, target, score, mask, samples)]
        description = torch.stack([_description_loss(hardness, pixels) for hardness, pixels in sampled])
        coupling = torch.stack([_coupling_loss(hardness, pixels) for hardness, pixels in sampled])
        peaked = coupling + sum(_peaking_loss(s, image) for s, image in zip(maps.scores, maps.images, strict=True))
        similarity = (maps.descriptors[0] * target).sum(dim=1, keepdim=True).detach()
        repeated = _repeatability_loss(maps.scores[0] * mask, score * mask, similarity * mask)
        return description + peaking * peaked + repeatability * repeated


def descriptor_hardness(pixels: SampledPixels) -> Tensor:
    """How hard each pixel is to distinguish from its nearest mismatch, ``(N,)``, at least 0; 0 if not valid.

    The hardness is ((pi - w_s)^2 / 3 + (pi - w_t)^2 / 3 + (pi - w_st)^2 / 3 + m^2)^2, with angles between descriptors
    in radians: w to the nearest mismatch within the source, within the target and across, m to the match. It is zero
    for equal matches and opposite mismatches.
    """
    source, target = pixels.descriptors
    distance = (pixels.place[:, None] - pixels.place).square().sum(dim=-1)
    void = ~(pixels.valid[:, None] & pixels.valid)
    near = void | (distance < _OTHER**2)
    far = void | (distance >= _SAME**2)

    def nearest(similarity: Tensor, excluded: Tensor) -> Tensor:
        # max rather than amax: its backward pass stores N indices instead of N x N similarities.
        return similarity.masked_fill(excluded, -1.0).max(dim=0).values

    def mismatch(similarity: Tensor) -> Tensor:
        return nearest(similarity, near | (similarity > _ALIKE))

    across = source @ target.T
    wrong = (
        mismatch(source @ source.T),
        mismatch(target @ target.T),
        torch.maximum(mismatch(across), mismatch(across.T)),
    )
    apart = sum((math.pi - _angle(similarity)).square() / 3 for similarity in wrong)
    return (apart + _angle(nearest(across, far)).square()).square() * pixels.valid


def _angle(similarity: Tensor) -> Tensor:
    return similarity.clamp(_TINY - 1, 1 - _TINY).acos()


def _overlap(homography: Tensor, size: geometry.Size) -> Tensor:
    """1 where a source pixel has a counterpart in the target and does not lie at the rim, else 0: ``(B, 1, H, W)``."""
    inside = F.avg_pool2d(geometry.inside(homography, size, size), 3, stride=1, padding=1) > 0.5
    return inside * _inner(inside)


def _inner(like: Tensor) -> Tensor:
    """0 at the rim, else 1: ``(H, W)``."""
    h, w = like.shape[-2:]
    return F.pad(torch.ones(h - 2 * _BORDER, w - 2 * _BORDER, device=like.device), (_BORDER,) * 4)


def _sample(maps: Maps, target: Tensor, score: Tensor, mask: Tensor, samples: int) -> list[SampledPixels]:
    """The pixels of highest priority within the mask, pair by pair."""
    chosen = (maps.priority * mask.flatten(1)).topk(min(samples, maps.priority.shape[1]), dim=1)
    grid = geometry.pixel_grid((mask.shape[-2], mask.shape[-1]), device=mask.device)

    def at_chosen(x: Tensor) -> tuple[Tensor, ...]:
        """Values ``(N, C)`` of a map ``(B, C, H, W)`` at the chosen pixels, pair by pair."""
        # One gather for all pairs: the backward pass of indexing would fill a map of zeros for each pair.
        index = chosen.indices[:, None].expand(-1, x.shape[1], -1)
        return x.flatten(2).gather(2, index).mT.unbind(0)

    plain = [at_chosen(x) for x in (maps.scores[0], score)]
    smooth = [at_chosen(F.avg_pool2d(x, 3, stride=1, padding=1)) for x in (maps.scores[0], score)]
    descriptors = [at_chosen(x) for x in (maps.descriptors[0], target)]
    return [
        SampledPixels(
            place=grid[chosen.indices[b]],
            valid=chosen.values[b] > 0,
            descriptors=(descriptors[0][b], descriptors[1][b]),
            scores=(plain[0][b][:, 0], plain[1][b][:, 0]),
            smoothed=(smooth[0][b][:, 0], smooth[1][b][:, 0]),
        )
        for b in range(len(mask))
    ]


def _description_loss(hardness: Tensor, pixels: SampledPixels) -> Tensor:
    """Descriptors must be distinctive where both images have high scores. A scalar."""
    weight = (pixels.smoothed[0] * pixels.smoothed[1]).detach() * pixels.valid
    return (weight * hardness).sum() / (weight.sum() + _TINY)


def _coupling_loss(hardness: Tensor, pixels: SampledPixels) -> Tensor:
    """Scores must be high where descriptors are more distinctive than on average. A scalar."""
    hardness, valid = hardness.detach(), pixels.valid
    low = torch.where(valid, hardness, math.inf).amin()
    scaled = torch.where(valid, (hardness - low) / (hardness.amax() - low).clamp_min(_TINY), 0.0)
    average = scaled.sum() / valid.sum().clamp_min(1)
    easy = F.relu(1 - scaled / average.clamp_min(_TINY)) * valid
    miss = (1 - pixels.scores[0]).square() + (1 - pixels.scores[1]).square()
    return (easy * miss).sum() / (easy.sum() + _TINY)


def _peaking_loss(score: Tensor, image: Tensor) -> Tensor:
    """Scores must have one high peak in every patch and be low elsewhere, above all off the image's edges: ``(B,)``."""
    edges = spatial_gradient(image, order=2).abs().sum(dim=(1, 2))[:, None]
    edges = F.avg_pool2d(F.max_pool2d(edges, 7, stride=1, padding=3), 3, stride=1, padding=1)
    low, high = edges.amin(dim=(-2, -1), keepdim=True), edges.amax(dim=(-2, -1), keepdim=True)
    edges = (edges - low) / (high - low + _TINY)
    smooth = F.relu(1 - edges / (edges.mean(dim=(-2, -1), keepdim=True) + _TINY))
    score = score * _inner(score)
    off_edges = _mean(smooth * score.square()) / (_mean(smooth) + _TINY)
    blurred = gaussian_blur2d(score, (3, 3), (1.0, 1.0))
    mean, peak = _around(blurred, _CELL + 1)
    near_mean, near_peak = _around(blurred, 3)
    sharp = _mean((near_mean + 1 - near_peak).square())
    return off_edges + _mean(mean.square()) + _mean((1 - peak).square()) + sharp


def _around(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Mean and maximum over the window of ``side`` px around each pixel."""
    return (
        F.avg_pool2d(x, side, stride=1, padding=side // 2),
        F.max_pool2d(x, side, stride=1, padding=side // 2),
    )


def _repeatability_loss(source: Tensor, target: Tensor, similarity: Tensor) -> Tensor:
    """Scores must have the same pattern in both images in every patch where descriptors agree: ``(B,)``.

    As in the published code, the weight of a patch is s / (s + 1), where s is the sum of its similarities.
    """

    def patches(x: Tensor) -> Tensor:
        return F.unfold(x, _CELL, stride=_CELL // 2)  # (B, pixels, patches)

    agree = (F.normalize(patches(source), dim=1) * F.normalize(patches(target), dim=1)).sum(dim=1)
    total = patches(similarity).sum(dim=1).clamp_min(0)
    weight = total / (total + 1)
    return (weight * (1 - agree)).sum(dim=1) / (weight.sum(dim=1) + _TINY)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(dim=1)
