"""What a pack is like before it is trusted: how far its modalities are apart, and how well its pairs are aligned.

Residual misalignment is the one shift that best matches the edge orientations of A and B
(:func:`regbench.ops.edge_shift`); it sees a common shift, not a local one, and is an upper bound where the two share
few edges. Pairs that do not belong together show which pairs can be measured at all: the best match of a pair must
beat 95 % of theirs. Unaligned pairs are laid on each other by their own labels first.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench import geometry
from regbench.api.dataset import RANGE_SETTINGS, Split
from regbench.data.images import Streamed
from regbench.data.modality_stats import PAIRS, measure_modalities
from regbench.data.packs.format import SIDES
from regbench.data.packs.pack import Pack
from regbench.data.pairs import to_float
from regbench.data.value_ranges import LITTLE, ROBUST
from regbench.errors import UsageError
from regbench.ops.edges import edge_agreement, edge_field, edge_shift

REACH = 8
"""Largest shift looked for, px."""
BAD_MEDIAN, BAD_SHARE = 2.0, 0.5
"""A split is badly aligned above this median shift, px, and not measurable below this share of measured pairs."""
BINS = 32


@dataclass(frozen=True)
class Residual:
    """One split's alignment. Shifts are of the measured pairs, px of the pack."""

    pairs: int
    measured: int
    """Pairs whose best match beats 95 % of those of pairs that do not belong together."""
    median: float | None
    p90: float | None
    largest: float | None
    mean_x: float | None
    """Mean shift of B against A: far from zero where all pairs are off in the same way."""
    mean_y: float | None
    verdict: str
    """``aligned``, ``badly aligned`` or ``not measurable``."""


@dataclass(frozen=True)
class RangeUse:
    """How much of its value range a side uses, and the values that 99 % of its pixels lie between."""

    modality: str
    setting: str
    range: str
    rule: str
    """As runs record it."""
    low: float
    high: float
    share: float

    @property
    def warning(self) -> str | None:
        """A line on what to do where images use little of their range; else None."""
        if self.share >= LITTLE:
            return None
        return (
            f"{self.modality} uses {100 * self.share:.1f} % of its range {self.range}, so it has hardly any contrast; "
            f"say which values are black and white: --set dataset.{self.setting}=percentile:{ROBUST}"
            + (f", or {self.setting}={self.low:.6g}..{self.high:.6g}" if self.low < self.high else "")
        )


@dataclass(frozen=True)
class Gap:
    """How far the modalities are apart, medians over pairs; 1 and 0 mean the same image and nothing in common."""

    edges: float
    """Agreement of edge orientations where they match best."""
    grey: float
    """Absolute correlation of grey values."""
    information: float
    """Mutual information of grey values over the mean of their entropies."""


def measure(pack: Pack, split: Split, most: int = 500) -> dict[str, Any]:
    """Alignment and modality gap of a split.

    Args:
        pack: the pack.
        split: which pairs.
        most: pairs looked at, spread evenly over the split.

    Returns:
        ``{"residual": Residual, "gap": Gap, "modalities": [...]}`` as plain dictionaries; ``residual`` is None where
        pairs are unaligned and carry no label; ``modalities`` is that of
        :func:`regbench.data.modality_stats.measure_modalities`, of at most 64 of the pairs.

    Raises:
        UsageError: the split is empty.
    """
    count = pack.counts[split]
    if count == 0:
        raise UsageError(f"{pack.name} has no {split} pairs")
    labels = pack.homographies(split)
    rows = np.arange(count)
    if not pack.aligned:
        rows = rows[np.isfinite(labels).all(axis=(1, 2))] if labels is not None else rows[:0]
    known = len(rows) > 0
    rows = rows if known else np.arange(count)
    rows = spread(rows, most)
    laid_by = None if pack.aligned or not known else labels
    blocks = [_measured(a, b, mask, known) for a, b, mask in _blocks(pack, split, rows, laid_by)]
    shift, agreement, strangers, gap = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return {
        "residual": asdict(_residual(shift, agreement, strangers)) if known else None,
        "gap": asdict(Gap(*(round(float(x), 3) for x in gap.median(0).values))),
        "modalities": measure_modalities(_blocks(pack, split, spread(rows, PAIRS), laid_by), together=known),
    }


def range_use(pack: Pack, most: int = 100) -> list[RangeUse]:
    """How much of its value range each side of a pack uses; a set of single images has one entry.

    Args:
        pack: the pack; its training images are looked at, those of the test split where there are none.
        most: images looked at, spread evenly over the split.
    """
    split: Split = "train" if pack.counts["train"] else "test"
    count = pack.counts[split]
    rows = torch.from_numpy(np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)))
    found = []
    for i, side in enumerate(SIDES[:1] if pack.single else SIDES):
        images = Streamed(pack, split, "a" if side == "a" else "b")
        values = torch.cat([to_float(images.take(rows[k : k + 1])).flatten()[::7] for k in range(len(rows))])
        low, high = np.percentile(values.numpy(), (ROBUST, 100 - ROBUST))
        black, white = pack.ranges[i]
        found.append(
            RangeUse(
                modality=pack.modalities[i],
                setting=RANGE_SETTINGS[i],
                range=str(pack.ranges[i]),
                rule=pack.recorded_ranges[i],
                low=_rounded(black + float(low) * (white - black), white - black),
                high=_rounded(black + float(high) * (white - black), white - black),
                share=round(float(high - low), 4),
            )
        )
    return found


def _rounded(value: float, of: float) -> float:
    """A stored value to a thousandth or less of the range."""
    return round(value, max(0, 3 - math.floor(math.log10(of))))


def range_warnings(pack: Pack) -> list[str]:
    """A line for each side of a pack that uses little of its value range."""
    return [f"warning: {pack.name}: {use.warning}" for use in range_use(pack) if use.warning]


def spread(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most ``most`` of some rows, spread evenly over them."""
    return np.unique(rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)])


def _measured(a: Tensor, b: Tensor, mask: Tensor, known: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shift of n pairs ``(n, 2)`` px, agreement there and with another pair's B ``(n,)``, and gap ``(n, 3)``."""
    first, second = edge_field(a) * mask, edge_field(b) * mask
    shift, agreement = edge_shift(first, second, REACH)
    _, strangers = edge_shift(first, second.roll(len(b) // 2, 0), REACH)  # neighbours may show the same scene
    edges = agreement if known else edge_agreement(first, second)
    return shift, agreement, strangers, torch.stack([edges, *_grey_gap(a, b, mask)], -1)


def _blocks(pack: Pack, split: Split, rows: NDArray[np.intp], labels: NDArray[np.float64] | None) -> Any:
    """Grey A laid on B, grey B, and where both are seen, ``(n, 1, H, W)`` each, a few pairs at a time."""
    sides = [Streamed(pack, split, "a"), Streamed(pack, split, "a" if pack.single else "b")]
    for part in np.array_split(rows, -(-len(rows) // 64)):
        index = torch.from_numpy(part)
        a, b = (to_float(side.take(index)).mean(1, keepdim=True) for side in sides)
        mask = filled(pack).expand(len(part), -1, -1, -1)
        if labels is not None:
            homography = torch.from_numpy(labels[part]).float()
            size = (a.shape[-2], a.shape[-1])
            mask = geometry.warp(mask, homography) * geometry.inside(geometry.invert(homography), size, size)
            a, mask = geometry.warp(a, homography), _eroded(mask)
        yield a, b, mask


def filled(pack: Pack) -> Tensor:
    """``(1, 1, H, W)``: 1 in the central square that both images fill; everywhere where the pack names none."""
    h, w = pack.size
    mask = torch.zeros(1, 1, h, w)
    side = pack.max_patch or max(h, w)
    top, left = max(0, (h - side) // 2), max(0, (w - side) // 2)
    mask[..., top : top + side, left : left + side] = 1
    return mask


def _eroded(mask: Tensor, by: int = 4) -> Tensor:
    """The mask without its rim of ``by`` px: the border of what is seen is an edge of its own."""
    seen = (mask > 0.999).float()
    return 1 - torch.nn.functional.max_pool2d(1 - seen, 2 * by + 1, 1, by)


def _residual(shift: Tensor, agreement: Tensor, strangers: Tensor) -> Residual:
    sure = agreement > torch.quantile(strangers, 0.95) if len(agreement) > 1 else agreement > 0
    measured = shift[sure]
    if not len(measured) or sure.float().mean() < BAD_SHARE:
        verdict = "not measurable"
    else:
        verdict = "badly aligned" if float(measured.norm(dim=-1).median()) > BAD_MEDIAN else "aligned"
    if not len(measured):
        return Residual(len(shift), 0, None, None, None, None, None, verdict)
    lengths = measured.norm(dim=-1)
    median, p90 = (round(float(lengths.quantile(q)), 3) for q in (0.5, 0.9))
    mean_x, mean_y = (round(float(x), 3) for x in measured.mean(0))
    return Residual(len(shift), len(measured), median, p90, round(float(lengths.max()), 3), mean_x, mean_y, verdict)


def _grey_gap(a: Tensor, b: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute correlation and normalised mutual information of grey values, ``(n,)`` each."""
    gaps = []
    for x, y, seen in zip(a[:, 0], b[:, 0], mask[:, 0] > 0, strict=True):
        first, second = (image[seen].double().numpy() for image in (x, y))
        spread = first.std() * second.std() if len(first) else 0.0
        product = ((first - first.mean()) * (second - second.mean())).mean() if spread > 1e-12 else 0.0
        gaps.append((abs(product) / spread if spread > 1e-12 else 0.0, _information(first, second)))
    correlation, information = torch.tensor(gaps, dtype=torch.float32).unbind(-1)
    return correlation, information


def _information(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Mutual information over the mean entropy, of grey values in equally filled bins; 0 for a flat image."""
    if not len(first):
        return 0.0
    edges = [np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1])) for x in (first, second)]
    bins = [np.searchsorted(e, x, side="right") for e, x in zip(edges, (first, second), strict=True)]
    joint = np.bincount(bins[0] * (BINS + 1) + bins[1], minlength=(BINS + 1) ** 2).reshape(BINS + 1, BINS + 1)
    p = joint / joint.sum()
    px, py = p.sum(1), p.sum(0)
    entropy = -sum(float((q[q > 0] * np.log(q[q > 0])).sum()) for q in (px, py)) / 2
    if entropy < 1e-12:
        return 0.0
    some = p > 0
    return float((p[some] * np.log(p[some] / np.outer(px, py)[some])).sum()) / entropy
