"""The losses of ReDFeat: description, peaking and repeatability, each weighted by what the others found.

Descriptors are weighted by how surely both images detect their place, scores by how easily descriptors tell it apart.
No gradient flows through a weight: that is the recoupling of the paper's title.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor

from regbench import geometry

_BORDER = 5  # px at the rim that teach nothing
_SAME, _OTHER = 3, 7  # px: nearer than the first is a match, not nearer than the second a mismatch
_ALIKE = 0.9  # similarity beyond which a "mismatch" is likelier the same structure seen twice
_CELL = 16  # px of the patches in which scores must peak and repeat
_TINY = 1e-5


@dataclass(frozen=True)
class Maps:
    """What the network made of a batch of pairs, and what the loss needs beside it.

    Attributes:
        descriptors: of source and target, ``(B, C, H, W)`` of length 1.
        scores: of source and target, ``(B, 1, H, W)`` in [0, 1].
        images: standardised source and target, ``(B, 3, H, W)``.
        lots: ``(B, H * W)`` in (0, 1]: the pixels with the highest lots are drawn.
    """

    descriptors: tuple[Tensor, Tensor]
    scores: tuple[Tensor, Tensor]
    images: tuple[Tensor, Tensor]
    lots: Tensor


@dataclass(frozen=True)
class Drawn:
    """Pixels of one pair that both images show.

    Attributes:
        place: ``(N, 2)`` pixels of the source.
        valid: ``(N,)`` bool; False where the pair shows fewer than N.
        descriptors: of source and target, ``(N, C)``.
        scores: of source and target, ``(N,)``.
        smoothed: the same, averaged over 3 x 3 pixels.
    """

    place: Tensor
    valid: Tensor
    descriptors: tuple[Tensor, Tensor]
    scores: tuple[Tensor, Tensor]
    smoothed: tuple[Tensor, Tensor]


def loss(maps: Maps, displacement: Tensor, samples: int, peaking: float, repeatability: float) -> Tensor:
    """Loss of each pair: description + ``peaking`` * peaking + ``repeatability`` * repeatability.

    Two readings of the published code. Its weights are divided by running means over the batches seen, here by those
    of the pair, so that the loss has no memory and no pair depends on another; the divisors carry no gradient either
    way. It draws pixels for description and for peaking separately, here one draw serves both.

    Args:
        maps: of the batch.
        displacement: label ``(B, 4, 2)`` pixels.
        samples: pixels drawn of each pair to compare descriptors.
        peaking: weight of the peaking loss.
        repeatability: weight of the repeatability loss.

    Returns:
        ``(B,)`` float32.
    """
    size = (maps.images[0].shape[-2], maps.images[0].shape[-1])
    # Angles near 0 need float32: in bf16 every similarity above 0.998 is 1, where the arc cosine has no gradient.
    with torch.autocast(maps.images[0].device.type, enabled=False):
        homography = geometry.homography_from_displacement(displacement.float(), size)
        # What the target shows at each source pixel.
        target = geometry.sample(maps.descriptors[1], homography, size, mode="nearest")
        score = geometry.sample(maps.scores[1], homography, size)
        mask = _shared(homography, size)
        pairs = _draw(maps, target, score, mask, samples)
        found = [hardest(pair) for pair in pairs]
        described = torch.stack([_described(*both) for both in zip(found, pairs, strict=True)])
        coupled = torch.stack([_coupled(*both) for both in zip(found, pairs, strict=True)])
        peaked = coupled + sum(_peaked(s, image) for s, image in zip(maps.scores, maps.images, strict=True))
        similarity = (maps.descriptors[0] * target).sum(dim=1, keepdim=True).detach()
        repeated = _repeated(maps.scores[0] * mask, score * mask, similarity * mask)
        return described + peaking * peaked + repeatability * repeated


def hardest(drawn: Drawn) -> Tensor:
    """How hard each place is to tell from its nearest mismatch, ``(N,)``, at least 0; 0 where not valid.

    ((pi - w_s)^2 / 3 + (pi - w_t)^2 / 3 + (pi - w_st)^2 / 3 + m^2)^2 with angles between descriptors in radians: w to
    the nearest mismatch within the source, within the target and across, m to the match. Zero would be matches that
    are equal and mismatches that are opposite.
    """
    source, target = drawn.descriptors
    distance = (drawn.place[:, None] - drawn.place).square().sum(dim=-1)
    void = ~(drawn.valid[:, None] & drawn.valid)
    near = void | (distance < _OTHER**2)
    far = void | (distance >= _SAME**2)

    def nearest(similarity: Tensor, excluded: Tensor) -> Tensor:
        # max, not amax: its backward pass remembers N indices, amax N x N similarities.
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
    return (apart + _angle(nearest(across, far)).square()).square() * drawn.valid


def _angle(similarity: Tensor) -> Tensor:
    return similarity.clamp(_TINY - 1, 1 - _TINY).acos()


def _shared(homography: Tensor, size: geometry.Size) -> Tensor:
    """``(B, 1, H, W)``: 1 where a source pixel has a counterpart, away from the source's rim."""
    inside = F.avg_pool2d(geometry.inside(homography, size, size), 3, stride=1, padding=1) > 0.5
    return inside * _inner(inside)


def _inner(like: Tensor) -> Tensor:
    h, w = like.shape[-2:]
    return F.pad(torch.ones(h - 2 * _BORDER, w - 2 * _BORDER, device=like.device), (_BORDER,) * 4)


def _draw(maps: Maps, target: Tensor, score: Tensor, mask: Tensor, samples: int) -> list[Drawn]:
    """The pixels of each pair with the highest lots among those of the mask."""
    lots = (maps.lots * mask.flatten(1)).topk(min(samples, maps.lots.shape[1]), dim=1)
    grid = geometry.pixel_grid((mask.shape[-2], mask.shape[-1]), device=mask.device)

    def at(x: Tensor) -> tuple[Tensor, ...]:
        """Values ``(N, C)`` of a map ``(B, C, H, W)`` at the drawn pixels, pair by pair."""
        # One gather: indexing pair by pair would, going back, fill a map of zeros for each.
        index = lots.indices[:, None].expand(-1, x.shape[1], -1)
        return x.flatten(2).gather(2, index).mT.unbind(0)

    plain = [at(x) for x in (maps.scores[0], score)]
    smooth = [at(F.avg_pool2d(x, 3, stride=1, padding=1)) for x in (maps.scores[0], score)]
    descriptors = [at(x) for x in (maps.descriptors[0], target)]
    return [
        Drawn(
            grid[lots.indices[b]],
            lots.values[b] > 0,
            (descriptors[0][b], descriptors[1][b]),
            (plain[0][b][:, 0], plain[1][b][:, 0]),
            (smooth[0][b][:, 0], smooth[1][b][:, 0]),
        )
        for b in range(len(mask))
    ]


def _described(hardness: Tensor, drawn: Drawn) -> Tensor:
    """Descriptors must tell places apart where both images detect something."""
    weight = (drawn.smoothed[0] * drawn.smoothed[1]).detach() * drawn.valid
    return (weight * hardness).sum() / (weight.sum() + _TINY)


def _coupled(hardness: Tensor, drawn: Drawn) -> Tensor:
    """Scores must be high where descriptors are easier to tell apart than on average."""
    hardness, valid = hardness.detach(), drawn.valid
    low = torch.where(valid, hardness, math.inf).amin()
    scaled = torch.where(valid, (hardness - low) / (hardness.amax() - low).clamp_min(_TINY), 0.0)
    average = scaled.sum() / valid.sum().clamp_min(1)
    easy = F.relu(1 - scaled / average.clamp_min(_TINY)) * valid
    miss = (1 - drawn.scores[0]).square() + (1 - drawn.scores[1]).square()
    return (easy * miss).sum() / (easy.sum() + _TINY)


def _peaked(score: Tensor, image: Tensor) -> Tensor:
    """Scores ``(B,)``: one high peak in every patch, low elsewhere, and lowest where the image has no edges."""
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
    """Mean and maximum of the window of ``side`` px around each pixel."""
    return (
        F.avg_pool2d(x, side, stride=1, padding=side // 2),
        F.max_pool2d(x, side, stride=1, padding=side // 2),
    )


def _repeated(source: Tensor, target: Tensor, similarity: Tensor) -> Tensor:
    """Scores ``(B,)``: the same pattern in both images, patch by patch, where descriptors agree.

    The weight of a patch is s / (s + 1) of its summed similarity s, as in the published code.
    """

    def patches(x: Tensor) -> Tensor:
        return F.unfold(x, _CELL, stride=_CELL // 2)  # (B, pixels, patches)

    agree = (F.normalize(patches(source), dim=1) * F.normalize(patches(target), dim=1)).sum(dim=1)
    total = patches(similarity).sum(dim=1).clamp_min(0)
    weight = total / (total + 1)
    return (weight * (1 - agree)).sum(dim=1) / (weight.sum(dim=1) + _TINY)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(dim=1)
