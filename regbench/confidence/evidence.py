"""What the two images say of a homography: they agree where it lays them better than where shifted copies lie.

Agreement as such depends on the modalities: edges of a photograph and of a radar image agree little at their true
place. So every agreement is measured beside the same agreement at displaced places, which stand for wrong answers on
the same two images. What remains is by how much the place at hand stands out, in standard deviations of the others.
"""

from __future__ import annotations

from math import lgamma, log, log10

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench.confidence.laid import Laid, Mask
from regbench.ops.edges import edge_field
from regbench.ops.masked_correlation import Surfaces, masked_correlation, masked_spectrum

Floats = NDArray[np.float64]

NEAR, FAR, REACH = 0.015, 0.045, 0.18
"""Shifts up to NEAR stand for the place itself, those between FAR and REACH for wrong ones; shares of the diagonal."""
LEAST_COMMON = 0.5
"""Least share of the pixels in common without a shift that a shifted copy must keep."""
FLAT = 2.0 / 255
"""Standard deviation of grey values up to which an image shows nothing."""
TILES = 4
"""Tiles along each side of what the source covers."""
TILE_REACH = 0.06
"""Largest shift of a tile that is looked for, share of the diagonal."""
BINS = 16
"""Levels of grey of the mutual information."""
LEAST_DIAGONAL = 24.0
"""Diagonal of what the source covers on the grid, below which nothing is measured, px."""


def standing_out(near: Floats, far: Floats) -> tuple[float, float]:
    """Excess of the best value near the place over the mean, and over the largest, of those far from it.

    Returns:
        Both in standard deviations of the values far away; 0 and 0 where there are none, or all are equal.
    """
    if not len(near) or len(far) < 8 or not far.std() > 1e-9:
        return 0.0, 0.0
    return float((near.max() - far.mean()) / far.std()), float((near.max() - far.max()) / far.std())


def edges(laid: Laid) -> dict[str, float]:
    """Agreement of edge orientations, sign and strength of contrast apart (:mod:`regbench.ops.edges`).

    Returns:
        ``agreement`` in [-1, 1] near the place; ``z`` and ``margin`` of :func:`standing_out`.
    """
    fields = _fields(laid)
    reach = max(2, round(REACH * laid.diagonal))
    surfaces = _correlation(*fields, _tensor(laid.seen), _tensor(laid.valid), reach)
    scores, common = (np.asarray(surface[0].numpy(), np.float64) for surface in surfaces)
    distance = _distances(reach) / max(laid.diagonal, 1.0)
    usable = common >= LEAST_COMMON * common[reach, reach]
    near = scores[usable & (distance <= max(NEAR, 1.0 / max(laid.diagonal, 1.0)))]
    z, margin = standing_out(near, scores[usable & (distance >= FAR) & (distance <= REACH)])
    return {"agreement": float(near.max(initial=-1.0)), "z": z, "margin": margin}


def tiles(laid: Laid) -> dict[str, float]:
    """Where the edges of each tile fit best: near its place if the homography is right there, anywhere if not.

    Returns:
        ``share`` of the tiles with edges that fit best near their place; ``log_nfa``, minus the decimal logarithm of
        the probability that at least as many do so by chance; ``spread``, the area of the hull of their centres as a
        share of that of all tiles.

    Source: the a-contrario reasoning of Desolneux, Moisan and Morel, IJCV 40 (2000), with tiles for trials.
    """
    first, second = _fields(laid)
    reach = max(2, round(TILE_REACH * laid.diagonal))
    rows, columns = (np.flatnonzero(laid.seen.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return {"share": 0.0, "log_nfa": 0.0, "spread": 0.0}
    ys, xs = (np.linspace(n[0], n[-1] + 1, TILES + 1).round().astype(int) for n in (rows, columns))
    th, tw = int(np.diff(ys).max()), int(np.diff(xs).max())
    seen, valid = _tensor(laid.seen), _tensor(laid.valid)
    pad = (reach, reach + tw, reach, reach + th)
    wide = [torch.nn.functional.pad(x, pad) for x in (second, valid)]
    narrow = [torch.nn.functional.pad(x, (0, tw, 0, th)) for x in (first, seen)]
    pieces: list[list[Tensor]] = [[], [], [], []]
    for y in ys[:-1]:
        for x in xs[:-1]:
            inner = (slice(None), slice(None), slice(y, y + th), slice(x, x + tw))
            outer = (slice(None), slice(None), slice(y, y + th + 2 * reach), slice(x, x + tw + 2 * reach))
            cut = (narrow[0][inner], wide[0][outer], narrow[1][inner], wide[1][outer])
            for piece, value in zip(pieces, cut, strict=True):
                piece.append(value)
    s, t, ms, mt = (torch.cat(piece) for piece in pieces)
    scores, common = _correlation(s, t, ms, mt, reach, centred=False)
    filled = (ms.mean((1, 2, 3)) > 0.4).numpy() & (s.square().sum((1, 2, 3)) > 1e-3).numpy()
    usable = common >= LEAST_COMMON * ms.sum((1, 2, 3))[:, None, None]
    scores = torch.where(usable, scores, -torch.inf)
    best = scores.flatten(1).argmax(1).numpy()
    side = 2 * reach + 1
    off = np.hypot(best // side - reach, best % side - reach)
    tolerance = max(NEAR * laid.diagonal, 1.5)
    chance = float((_distances(reach) <= tolerance).mean())
    hit = filled & (off <= tolerance)
    hits, count = int(hit.sum()), int(filled.sum())
    centres = np.argwhere(hit.reshape(TILES, TILES)).astype(np.float32)
    hull = float(cv2.contourArea(cv2.convexHull(centres))) if hits >= 3 else 0.0
    return {
        "share": hits / count if count else 0.0,
        "log_nfa": -log10_tail(hits, count, chance),
        "spread": hull / (TILES - 1) ** 2,
    }


def information(laid: Laid) -> dict[str, float]:
    """Mutual information of the grey values, each image equalised into 16 levels.

    Returns:
        ``z`` and ``margin`` of :func:`standing_out`.

    Source: Maes et al., Multimodality image registration by maximization of mutual information, IEEE TMI 16 (1997).
    """
    first, second = (_levels(x, m > 0) for x, m in ((laid.source, laid.seen), (laid.target, laid.valid)))
    diagonal = max(laid.diagonal, 1.0)
    reach, step = max(2, round(REACH * diagonal)), max(1, round(FAR * diagonal / 2))
    near, far = [], []
    least = LEAST_COMMON * float((laid.seen * laid.valid).sum())
    fine = max(1, round(NEAR * diagonal / 2))
    for dy in range(-fine, fine + 1, fine):
        for dx in range(-fine, fine + 1, fine):
            near.append(_shifted_information(first, second, dy, dx, least))
    for dy in range(-reach, reach + 1, step):
        for dx in range(-reach, reach + 1, step):
            if FAR * diagonal <= np.hypot(dx, dy) <= REACH * diagonal:
                far.append(_shifted_information(first, second, dy, dx, least))
    z, margin = standing_out(*(np.array([v for v in values if v is not None]) for values in (near, far)))
    return {"z": z, "margin": margin}


def contrast(laid: Laid) -> float:
    """Standard deviation of the grey values that both images show, of the flatter one."""
    both = (laid.seen * laid.valid) > 0
    return float(min(laid.source[both].std(), laid.target[both].std())) if both.any() else 0.0


def log10_tail(hits: int, trials: int, chance: float) -> float:
    """Decimal logarithm of the probability of at least ``hits`` successes in ``trials`` of probability ``chance``."""
    if not hits or not 0 < chance < 1:
        return 0.0
    terms = [
        (lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(chance) + (trials - k) * log(1 - chance))
        / log(10)
        for k in range(hits, trials + 1)
    ]
    top = max(terms)
    return min(0.0, top + log10(sum(10 ** (term - top) for term in terms)))


def _fields(laid: Laid) -> tuple[Tensor, Tensor]:
    """Edge fields ``(1, 2, h, w)`` of both, zero where nothing may be looked at."""
    seen, valid = _tensor(laid.seen), _tensor(laid.valid)
    return edge_field(_tensor(laid.source)) * seen, edge_field(_tensor(laid.target)) * valid


def _tensor(image: Mask) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


def _correlation(
    first: Tensor, second: Tensor, seen: Tensor, valid: Tensor, reach: int, centred: bool = True
) -> tuple[Tensor, Tensor]:
    """Masked normalised cross-correlation at all shifts up to ``reach``.

    Args:
        first: ``(B, 2, h, w)`` field, zero where ``seen`` is.
        second: ``(B, 2, H, W)``, likewise with ``valid``.
        seen: ``(B, 1, h, w)``.
        valid: ``(B, 1, H, W)``.
        reach: largest shift along x and y, px.
        centred: whether both start at the same pixel; else the second starts ``reach`` px earlier.

    Returns:
        Agreement and pixels in common ``(B, 2 reach + 1, 2 reach + 1)``, shift along y then x.

    Source: :mod:`regbench.ops.masked_correlation`.
    """
    size = [cv2.getOptimalDFTSize(n + reach) for n in second.shape[-2:]]
    surfaces = masked_correlation(masked_spectrum(first, seen, size), masked_spectrum(second, valid, size), size)
    side = 2 * reach + 1
    cut = Surfaces(*((x.roll((reach, reach), (-2, -1)) if centred else x)[..., :side, :side] for x in surfaces))
    return cut.agreement(1e-4), cut.common.round()


def _distances(reach: int) -> Floats:
    """Length of every shift, px."""
    steps = np.arange(-reach, reach + 1)
    return np.hypot(steps[:, None], steps)


def _levels(image: Mask, mask: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Grey values as ranks 0 to 15 among those of the mask; -1 outside."""
    inside = image[mask]
    if not len(inside):
        return np.full(image.shape, -1, np.int16)
    edges_of_bins = np.quantile(inside, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.where(mask, np.searchsorted(edges_of_bins, image), -1).astype(np.int16)


def _shifted_information(
    first: NDArray[np.int16], second: NDArray[np.int16], dy: int, dx: int, least: float
) -> float | None:
    """Mutual information in nats, less its bias, where the second is read ``(dy, dx)`` further; None with too few."""
    h, w = first.shape
    a = first[max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)]
    b = second[max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)]
    both = (a >= 0) & (b >= 0)
    count = int(both.sum())
    if count < max(least, 1.0):
        return None
    joint = np.bincount(a[both] * BINS + b[both], minlength=BINS**2).reshape(BINS, BINS) / count
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    filled = joint > 0
    told = float((joint[filled] * np.log(joint[filled] / independent[filled])).sum())
    return told - (BINS - 1) ** 2 / (2 * count)  # Miller and Madow's bias of independent values
