"""The errors of a set of test pairs, and the metrics that are functions of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairErrors:
    """Corner errors of N >= 1 test pairs.

    A pair has failed when the method found no answer or its error is not finite. A failed pair leaves the images as
    they were: it scores identity's error in means and medians, scores 0 in AUC, and counts in ``failed``.

    The arrays cannot be written to.

    Attributes:
        error: ``(N,)`` average corner error (ACE) of the estimate in pixels; may be inf or nan.
        identity: ``(N,)`` ACE of the zero displacement in pixels, finite.
        ok: ``(N,)`` False where the method found no answer.
        image: ``(N,)`` number of the test image from which the pair was cut; intervals resample images.
        confidence: ``(N,)`` how sure one can be of each answer, in [0, 1]; None where it was not computed.

    Raises:
        ValueError: lengths differ, there is no pair, an identity error is not finite, or a confidence is no number.
    """

    error: Floats
    identity: Floats
    ok: Bools
    image: Ints
    confidence: Floats | None = None

    def __post_init__(self) -> None:
        """Bring every field to its dtype and check them against each other."""
        dtypes = {"error": np.float64, "identity": np.float64, "ok": np.bool_, "image": np.int64}
        for name, dtype in dtypes.items():
            array: NDArray[Any] = np.asarray(getattr(self, name), dtype=dtype).view()
            array.setflags(write=False)  # a metric judges and changes nothing
            object.__setattr__(self, name, array)
        shapes = {name: getattr(self, name).shape for name in dtypes}
        if len(self.error.shape) != 1 or len(set(shapes.values())) != 1 or not self.error.size:
            raise ValueError(f"pair errors must be arrays of one common length N >= 1, got {shapes}")
        if not np.isfinite(self.identity).all():
            raise ValueError("identity errors must be finite")
        if self.confidence is not None:
            confidence = np.asarray(self.confidence, dtype=np.float64).view()
            confidence.setflags(write=False)
            object.__setattr__(self, "confidence", confidence)
            if self.confidence.shape != self.error.shape or not np.isfinite(self.confidence).all():
                raise ValueError("confidences must be finite, one for each pair")

    def __len__(self) -> int:
        return len(self.error)

    @cached_property
    def failed(self) -> Bools:
        """``(N,)`` True for pairs without a finite answer."""
        return ~(self.ok & np.isfinite(self.error))

    @cached_property
    def scored(self) -> Floats:
        """``(N,)`` ACE in pixels, that of identity where the pair failed; used by means and medians."""
        return np.where(self.failed, self.identity, self.error)

    @cached_property
    def for_auc(self) -> Floats:
        """``(N,)`` ACE in pixels, inf where the pair failed."""
        return np.where(self.failed, np.inf, self.error)

    def copy(self) -> PairErrors:
        """The same errors in memory of their own."""
        own = {name: getattr(self, name).copy() for name in ("error", "identity", "ok", "image")}
        return PairErrors(**own, confidence=None if self.confidence is None else self.confidence.copy())

    def subset(self, index: ArrayLike) -> PairErrors:
        """The pairs at ``index`` (integers, repeats allowed, or a mask)."""
        index = np.asarray(index)
        return PairErrors(
            error=self.error[index],
            identity=self.identity[index],
            ok=self.ok[index],
            image=self.image[index],
            confidence=None if self.confidence is None else self.confidence[index],
        )


class MeanMetric:
    """A metric that is the mean over pairs of a score of each pair.

    Args:
        per_pair: the ``(N,)`` scores of N pairs.
        limits: smallest and largest possible score; an interval is cut to them.
    """

    def __init__(
        self, per_pair: Callable[[PairErrors], Floats], limits: tuple[float, float] = (-math.inf, math.inf)
    ) -> None:
        self.per_pair, self.limits = per_pair, limits
        functools.update_wrapper(self, per_pair)

    def __call__(self, errors: PairErrors) -> float:
        """The metric over all pairs."""
        return float(self.per_pair(errors).mean())


class MedianMetric(MeanMetric):
    """A metric that is the median over pairs of a score of each pair."""

    def __call__(self, errors: PairErrors) -> float:
        """The metric over all pairs."""
        return float(np.median(self.per_pair(errors)))


percent = functools.partial(MeanMetric, limits=(0.0, 100.0))
"""Decorator of a :class:`MeanMetric` in percent."""
pixels = functools.partial(MeanMetric, limits=(0.0, math.inf))
"""Decorator of a :class:`MeanMetric` in pixels."""

Metric = Callable[[PairErrors], Any]
"""``(errors) -> float``. The interval of a :class:`MeanMetric` or :class:`MedianMetric` is sharper than that of another
function, which is computed by the jackknife."""
