"""The way from two images to an alignment: ``regbench.align`` and ``regbench.load``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regbench.alignment.auto import choices
from regbench.alignment.coarse import find_coarse, working_side
from regbench.alignment.georeference import prior_homography
from regbench.alignment.images import OwnImage, open_image
from regbench.alignment.methods import Method, method_of
from regbench.alignment.pyramid import refine
from regbench.alignment.types import CONFIDENT, SURE, Alignment, Attempt, Matrix
from regbench.confidence.model import assess
from regbench.errors import RegbenchError, UsageError

if TYPE_CHECKING:
    from regbench.alignment.images import Given

AUTO = "auto"


class Aligner:
    """Methods ready to align many pairs; made by :func:`load`.

    Args:
        methods: what to try in order until one is sure, or one more than until one is confident: name, why it stands
            there, and how to load it.
        max_side: longest side of images at working size, px.
    """

    def __init__(self, methods: Sequence[tuple[str, str, Callable[[], Method]]], max_side: int) -> None:
        self._methods = methods
        self._loaded: dict[str, Method] = {}
        self.max_side = max_side

    def align(
        self,
        source: Given,
        target: Given,
        *,
        range_source: str | None = None,
        range_target: str | None = None,
        bands_source: Sequence[int] | None = None,
        bands_target: Sequence[int] | None = None,
        nodata_source: float | None = None,
        nodata_target: float | None = None,
    ) -> Alignment:
        """Align one pair; arguments as for :func:`align`."""
        images = (
            open_image(source, bands=bands_source, nodata=nodata_source, values=range_source, side="source"),
            open_image(target, bands=bands_target, nodata=nodata_target, values=range_target, side="target"),
        )
        rules = range_source, range_target
        best: Alignment | None = None
        tried: list[Attempt] = []
        for name, why, make in self._methods:
            trusted = best is not None and best.ok and best.confidence >= CONFIDENT
            start = time.perf_counter()
            try:
                method = self._loaded.get(name) or self._loaded.setdefault(name, make())
                found = self._by(method, images, rules, best)
            except RegbenchError as error:
                if len(self._methods) == 1:
                    raise
                tried.append(Attempt(name, False, 0.0, time.perf_counter() - start, str(error)))
                continue
            tried.append(Attempt(method.name, found.ok, found.confidence, time.perf_counter() - start, why))
            if best is None or (found.ok, found.confidence) > (best.ok, best.confidence):
                best = found
            if trusted or (best.ok and best.confidence >= SURE):
                break
        if best is None:
            raise RegbenchError(f"no method could be used: {'; '.join(f'{a.method}: {a.why}' for a in tried)}")
        return replace(best, tried=tuple(tried))

    def align_batch(self, pairs: Iterable[tuple[Given, Given]], **options: Any) -> list[Alignment]:
        """Align pairs one after the other.

        Args:
            pairs: source and target of each.
            options: as for :meth:`align`, for all of them.
        """
        return [self.align(source, target, **options) for source, target in pairs]

    def _by(
        self,
        method: Method,
        images: tuple[OwnImage, OwnImage],
        rules: tuple[str | None, str | None],
        other: Alignment | None,
    ) -> Alignment:
        """Align by one method; ``other`` is the best answer of those before it."""
        source, target = (
            image.with_range(record) if rule is None and record is not None and image.how != "as set" else image
            for image, rule, record in zip(images, rules, method.ranges, strict=True)
        )
        coarse = find_coarse(method, source, target, self.max_side, _prior(source, target))
        start = coarse.homography
        nothing = Alignment(np.eye(3), False, 0.0, {}, method.name, None, (), self.max_side, source, target)
        if start is None:
            return replace(nothing, confidence_parts=coarse.confidence.parts)
        level = refine(method, source, target, start, coarse.factor)
        matches = level.matches if level.matches is not None else coarse.matches
        confidence = assess(
            coarse.source,
            coarse.target,
            coarse.at_work(level.homography),
            matches=coarse.found.matches,  # all of them: those of tiles are the ones that agree already
            reverse=method.find(coarse.target, coarse.source).homography,
            other=None if other is None or not other.ok else coarse.at_work(other.homography),
        )
        found = Alignment(level.homography, True, confidence.value, confidence.parts, method.name, matches)
        return replace(found, max_side=self.max_side, source=source, target=target)


def load(
    what: str | Path = AUTO,
    *,
    weights: str | Path | None = None,
    max_side: int | None = None,
    device: str = "cpu",
    **settings: Any,
) -> Aligner:
    """An aligner for many pairs.

    Args:
        what: ``auto``, the name of a registrator (``regbench plugins list``), the directory of a finished run, or a
            weights file of ours.
        weights: weights file for a registrator that is named.
        max_side: longest side of images at working size, px; by default 1024, less where memory is short. Finer levels
            are read by tiles, so that the answer is exact to the pixels of the whole images.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``auto``.
        settings: of the registrator.

    Raises:
        UsageError: an unknown name or setting, or the registrator has to be trained and there are no weights.
        DataError: a run or a file is missing or broken.

    Example::

        aligner = regbench.load("sift")
        for thermal, photo in pairs:
            print(aligner.align(thermal, photo).homography)
    """
    side = max_side or working_side()
    if side < 16:
        raise UsageError(f"max_side={side}: at least 16 px are needed")
    if str(what) == AUTO:
        if weights is not None or settings:
            raise UsageError("weights and settings are those of one registrator; name it as method instead of auto")
        found = choices()
        if not found:
            raise UsageError("no method is installed that needs no training: pip install regbench-matchers")
        return Aligner([(name, why, _later(name, device)) for name, why in found], side)
    method = method_of(what, device, None if weights is None else Path(weights).expanduser(), settings)
    return Aligner([(method.name, "", lambda: method)], side)


def align(
    source: Given,
    target: Given,
    method: str | Path = AUTO,
    *,
    weights: str | Path | None = None,
    max_side: int | None = None,
    device: str = "cpu",
    range_source: str | None = None,
    range_target: str | None = None,
    bands_source: Sequence[int] | None = None,
    bands_target: Sequence[int] | None = None,
    nodata_source: float | None = None,
    nodata_target: float | None = None,
    **settings: Any,
) -> Alignment:
    """How a source image lies on a target image, of any sizes, bit depths and modalities.

    Args:
        source: a file, an array ``(H, W)`` or ``(H, W, C)``, or a tensor ``(C, H, W)`` in [0, 1].
        target: likewise.
        method: ``auto`` tries several until one is sure, and one more where one is merely confident; or see
            :func:`load`.
        weights: as for :func:`load`.
        max_side: as for :func:`load`.
        device: as for :func:`load`.
        range_source: stored values of the source that are black and white: ``full``, ``WHITE``, ``LOW..HIGH`` or
            ``image:P``; by default what a run recorded, else all of 8 bits, else the image's own percentiles.
        range_target: likewise.
        bands_source: numbers from 1 of the bands of the source to look at, one or three.
        bands_target: likewise.
        nodata_source: stored value of the source that means no data.
        nodata_target: likewise.
        settings: of the registrator.

    Returns:
        The homography of source pixels to target pixels with a confidence in [0, 1]; ``.warp()``, ``.overlay()`` and
        ``.save(folder)`` make images of it.

    Raises:
        DataError: a file is missing or broken.
        UsageError: an unknown name or setting.

    Example::

        import regbench

        found = regbench.align("thermal.tif", "photo.jpg")
        print(found.homography, found.confidence)
        found.save("aligned")
    """
    aligner = load(method, weights=weights, max_side=max_side, device=device, **settings)
    return aligner.align(
        source,
        target,
        range_source=range_source,
        range_target=range_target,
        bands_source=bands_source,
        bands_target=bands_target,
        nodata_source=nodata_source,
        nodata_target=nodata_target,
    )


def _later(name: str, device: str) -> Callable[[], Method]:
    return lambda: method_of(name, device)


def _prior(source: OwnImage, target: OwnImage) -> Matrix | None:
    """Source pixels to target pixels by the maps, where both have one."""
    if source.georeference is None or target.georeference is None:
        return None
    return prior_homography(source.georeference, target.georeference, source.size)
