"""Which stored values are black and white: one rule, in data sets, runs and for a user's own pair.

Every data set takes a rule a side, the settings ``range_a`` and ``range_b``:

* ``full``: all that the pixels' type holds, 0..255 or 0..65535 (the default);
* ``WHITE`` or ``LOW..HIGH``: stored values, such as ``10000`` (from 0) or ``7185..9241``;
* ``percentile:P``: from the P-th to the (100 - P)-th percentile of the training images, computed once, when the pack is
  written;
* ``image:P``: the same percentiles of each image by itself. Brightness then has another meaning in each image: a last
  resort.

Values beyond the range are clipped, pixels without a value (NaN) are black. A pack and a run record the numbers, with
the type of pixels they are counts of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import RANGE_SETTINGS, Dataset
from regbench.errors import DataError, UsageError

ROBUST = 0.5
"""Percentile from which an image is stretched where no rule is known."""
LITTLE = 0.25
"""Images that use less of their range than this are told of."""
_PIXELS = 2**23  # looked at for percentiles
_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_FORMS = "full, WHITE, LOW..HIGH, percentile:P or image:P, such as 10000, 7185..9241 or percentile:0.5"


class ValueRange(NamedTuple):
    """The stored values that mean 0.0 and 1.0."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{_text(self.low)}..{_text(self.high)}"

    def to_unit(self, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        """Stored pixels of any shape as float32 in [0, 1]; NaN becomes 0."""
        pixels = stored.astype(np.float32)
        if self.low:
            pixels -= np.float32(self.low)
        pixels /= np.float32(self.high - self.low)
        np.clip(pixels, 0, 1, out=pixels)
        return np.nan_to_num(pixels, copy=False) if stored.dtype.kind == "f" else pixels


@dataclass(frozen=True)
class Rule:
    """How the range of a side is found."""

    kind: Literal["full", "fixed", "percentile", "image"]
    values: ValueRange | None = None
    """Of a ``fixed`` rule."""
    percent: float = 0.0
    """Of the other two."""

    def __str__(self) -> str:
        if self.kind == "fixed":
            return str(self.values)
        return self.kind if self.kind == "full" else f"{self.kind}:{_text(self.percent)}"


FULL = Rule("full")


def parse_rule(value: object, where: str) -> Rule:
    """A rule as it is written.

    Args:
        value: text, or a number (white).
        where: the setting, for the error.

    Raises:
        UsageError: it is no rule, or its range is empty.
    """
    text = str(value).strip()
    if text == "full":
        return FULL
    if found := re.fullmatch(rf"(percentile|image):({_NUMBER})", text):
        percent = float(found[2])
        if not 0 <= percent < 50:
            raise UsageError(f"{where}={text}: a percentile of at least 0 and less than 50 is wanted")
        return Rule("percentile" if found[1] == "percentile" else "image", percent=percent)
    if isinstance(value, bool) or not (found := re.fullmatch(rf"(?:({_NUMBER})\.\.)?({_NUMBER})", text)):
        raise UsageError(f"{where}={text}: write {_FORMS}")
    low, high = float(found[1] or 0), float(found[2])
    if not low < high < float("inf"):
        raise UsageError(f"{where}={text}: white must be a larger value than black")
    return Rule("fixed", ValueRange(low, high))


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of a data set as those of its reader, and the ranges among them in their one spelling.

    Raises:
        UsageError: a range is no rule.
    """
    ranges = {name: str(parse_rule(settings[name], name)) for name in RANGE_SETTINGS if settings.get(name) is not None}
    return {name: value for name, value in settings.items() if name not in RANGE_SETTINGS}, ranges


def rules_of(dataset: Dataset, ranges: Mapping[str, str]) -> tuple[Rule, Rule]:
    """The rules of side A and B: as set, else the reader's own white, else all that the type of the pixels holds.

    Raises:
        UsageError: a range is no rule, or B has one where A and B are the same images.
    """
    if dataset.single and "range_b" in ranges:
        raise UsageError("range_b: A and B are the same images here; range_a holds for both")
    rules = []
    for name, white in zip(RANGE_SETTINGS, dataset.max_values, strict=True):
        own = FULL if white is None else Rule("fixed", ValueRange(0.0, float(white)))
        rules.append(parse_rule(ranges[name], name) if name in ranges else own)
    return (rules[0], rules[0]) if dataset.single else (rules[0], rules[1])


def full_range(dtype: np.dtype[Any] | type[Any] | str) -> ValueRange | None:
    """All that 8 or 16 bits hold; None for other types, whose range says nothing of an image."""
    dtype = np.dtype(dtype)
    return ValueRange(0.0, float(np.iinfo(dtype).max)) if dtype in (np.uint8, np.uint16) else None


def percentiles(images: Iterable[NDArray[np.generic]], percent: float) -> ValueRange | None:
    """Range from the ``percent``-th to the (100 - ``percent``)-th percentile of the pixels that have a value.

    Where both are one value, as in an image of a few bright spots, from the least to the largest value.

    Returns:
        Values that are stored; None where all are the same, or there is none.
    """
    found = [image[np.isfinite(image)] if image.dtype.kind == "f" else image.ravel() for image in images]
    pixels = np.concatenate(found) if found else np.empty(0)
    if not pixels.size:
        return None
    for outside in (percent, 0.0):
        low, high = np.percentile(pixels, (outside, 100 - outside), method="nearest")
        if low < high:
            return ValueRange(float(low), float(high))
    return None


def percentiles_of_set(images: Any, percent: float) -> ValueRange | None:
    """:func:`percentiles` of an array ``(N, H, W, C)`` on the disk; of every k-th pixel where there are many."""
    total = int(np.prod(images.shape))
    step = -(-total // _PIXELS) | 1  # odd, so that it walks through all columns
    return percentiles((image.ravel()[::step] for image in images), percent)


def stretched(image: NDArray[np.generic], percent: float) -> NDArray[np.generic]:
    """An image ``(H, W)`` or ``(H, W, 3)`` by the rule ``image``: as many bits as before, 16 for floats, all used.

    An image of one value alone is black.
    """
    top = np.uint8 if image.dtype == np.uint8 else np.uint16
    found = percentiles([image], percent)
    if found is None:
        return np.zeros(image.shape, top)
    return np.asarray((found.to_unit(image) * np.iinfo(top).max).round().astype(top))


def recorded(rule: Rule | str, values: ValueRange, dtype: np.dtype[Any]) -> str:
    """What a run says of a side, such as ``7185..9241 of uint16`` or ``image:0.5``."""
    text = str(rule)
    return text if text.startswith("image:") else f"{values} of {dtype.name}"


def same_range(first: str, second: str) -> bool:
    """Whether two records mean the same of any image: equal, or each all of its type."""

    def is_full(record: str) -> bool:
        text, _, kind = record.partition(" of ")
        return bool(kind) and (whole := full_range(kind)) is not None and text == str(whole)

    return first == second or (is_full(first) and is_full(second))


def range_of(image: NDArray[np.generic], record: str | None) -> tuple[ValueRange, str]:
    """The range of a user's own image.

    Args:
        image: as decoded.
        record: what the run or the weights in use say of this side (:func:`recorded`), or a rule of the user; None
            where nothing is known.

    Returns:
        The range, and how it was found, in words. All of the type's range recorded means that of the image's own type.
        A record of pixels of another type says nothing of this image: 8 bits are then taken as they are, others from
        percentile 0.5 to 99.5 of those that have a value, so that no hot pixel has an effect.

    Raises:
        DataError: the record is no rule, or is one over a whole set.
    """
    whole, instead = full_range(image.dtype), ""
    if record is not None:
        text, _, kind = record.partition(" of ")
        try:
            rule = parse_rule(text, "range")
        except UsageError as error:
            raise DataError(str(error)) from None
        if rule.kind == "percentile":
            raise DataError(f"range={text}: a single image has no set; write LOW..HIGH or image:P")
        if rule.kind == "image":
            return percentiles([image], rule.percent) or _one_value(image), f"percentiles of the image ({text})"
        if whole is not None and (rule.kind == "full" or (kind and rule.values == full_range(kind))):
            return whole, f"all of {image.dtype.name}"
        if rule.values is not None and kind in ("", image.dtype.name):
            return rule.values, "as recorded" if kind else "as set"
        instead = f", as {record} says nothing of {image.dtype.name}"
    if image.dtype == np.uint8 and whole is not None:
        return whole, f"all of {image.dtype.name}{instead}"
    return percentiles([image], ROBUST) or _one_value(image), f"percentiles of the image (image:{ROBUST}){instead}"


def _one_value(image: NDArray[np.generic]) -> ValueRange:
    """A range that makes an image of one value, or of none, black."""
    values = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    low = float(values.flat[0]) if values.size else 0.0
    return ValueRange(low, low + 1)


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
