"""What the roles hand each other: pair facts, views of the data, registrations.

Shapes: B samples, K iterations, images ``(B, 3, H, W)`` float32 in [0, 1] (grey is replicated to three channels).
Displacements ``(B, 4, 2)`` are pixels at the SOURCE corners TL, TR, BL, BR, x then y; see :mod:`regbench.geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench import geometry
from regbench.distributed.batch import draw
from regbench.errors import RegbenchError


@dataclass(frozen=True)
class PairInfo:
    """What a network may know about the pairs it will see, before it is built.

    Attributes:
        patch: side of the square patches in pixels.
        rho: largest corner offset per coordinate in pixels (the perturbation range).
        source_channels: 1 when the source modality is grey (its image is replicated), else 3.
        target_channels: the same for the target modality.
        source_modality: name of the source modality, such as ``optical``.
        target_modality: name of the target modality, such as ``sar``.
    """

    patch: int = 128
    rho: int = 32
    source_channels: int = 3
    target_channels: int = 3
    source_modality: str = "A"
    target_modality: str = "B"


@dataclass(frozen=True)
class Matches:
    """Points of a source image matched with points of a target image.

    Attributes:
        source: ``(N, 2)`` float64 pixels, x then y.
        target: ``(N, 2)``, matched with ``source`` row by row.
        inliers: ``(N,)`` bool, which of them agree with the homography.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    inliers: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check shapes; raises ValueError."""
        n = len(self.source)
        if self.source.shape != (n, 2) or self.target.shape != (n, 2) or self.inliers.shape != (n,):
            shapes = [array.shape for array in (self.source, self.target, self.inliers)]
            raise ValueError(f"matches must be (N, 2), (N, 2) and (N,), got {shapes}")


@dataclass(frozen=True)
class Registration:
    """An estimated homography per sample, as corner displacements.

    Attributes:
        displacements: ``(K, B, 4, 2)`` pixels, one estimate per iteration; the last is the answer.
        size: ``(height, width)`` of the source the displacements refer to.
        ok: ``(B,)`` bool, False where the method found no answer. ``None`` means all succeeded.
        matches: for methods that match points, those of each pair (None for a pair without); nothing for the others.
    """

    displacements: Tensor
    size: tuple[int, int]
    ok: Tensor | None = None
    matches: tuple[Matches | None, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes; raises ValueError."""
        if self.displacements.ndim != 4 or self.displacements.shape[-2:] != (4, 2):
            raise ValueError(f"displacements must be (K, B, 4, 2), got {tuple(self.displacements.shape)}")
        if self.ok is not None and self.ok.shape != (self.displacements.shape[1],):
            raise ValueError(f"ok must be (B,), got {tuple(self.ok.shape)}")
        if self.matches and len(self.matches) != self.displacements.shape[1]:
            raise ValueError(f"matches must be of each of the {self.displacements.shape[1]} pairs, or none")

    @property
    def displacement(self) -> Tensor:
        """The final estimate, ``(B, 4, 2)`` pixels."""
        return self.displacements[-1]

    @cached_property
    def homography(self) -> Tensor:
        """``(B, 3, 3)`` float64, source pixels to target pixels, H[2,2] = 1."""
        return geometry.homography_from_displacement(self.displacement.double(), self.size)


@dataclass(frozen=True)
class Pair:
    """An unaligned pair of source and target images ``(B, 3, H, W)``.

    ``displacement`` ``(B, 4, 2)`` is the truth, in pixels, under ``supervision = "homography"``; otherwise None.
    """

    source: Tensor
    target: Tensor
    displacement: Tensor | None = None


@dataclass(frozen=True)
class SelfPair:
    """A synthetic pair made of one image by a random homography, which is its label.

    Attributes:
        image: ``(B, 3, H, W)``, the target of this pair.
        warped: the same shape, the source of this pair.
        displacement: ``(B, 4, 2)`` pixels; its homography maps pixels of ``warped`` to pixels of ``image``.
        mask: ``(B, 1, H, W)``, 1 where a pixel of ``warped`` has a counterpart inside ``image``, else 0.
    """

    image: Tensor
    warped: Tensor
    displacement: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Unpaired:
    """Source and target images ``(B, 3, H, W)``, drawn independently of each other."""

    source: Tensor
    target: Tensor


@dataclass(frozen=True)
class Batch:
    """The data of one step, on the device, as a loss receives it: the views that ``Stage.views`` names.

    Images are ``(B, 3, H, W)`` float32 in [0, 1]. Where several processes train together, the views hold this process's
    share of the samples; :mod:`regbench.whole_batch` has what couples the samples of all of them.

    Example::

        def loss(self, batch, shared):
            pair, own = batch.pair, batch.self_source
            noise = batch.noise(like=pair.source)
            ...

    Attributes:
        size: samples of the whole batch, over all processes.
        step: number of the step within the stage, from 0.
        generator: on the CPU, seeded by the run, the stage and the step, so that a resumed run draws the same numbers.
            Numbers that belong to samples are drawn with ``whole_batch.draw``.
        views: the data by the name of the view; the properties below are the same, typed.
        pair_step: the step that first had the pairs of this one: ``step``, unless the stage repeats its pairs.
        pair_generator: as ``generator``, but the same whenever the pairs come again: for what is kept of them.

    Raises:
        RegbenchError: a loss reads a view that its stage does not name.
    """

    size: int
    step: int
    generator: torch.Generator
    views: dict[str, Pair | SelfPair | Unpaired] = field(default_factory=dict)
    pair_step: int | None = None
    pair_generator: torch.Generator | None = None

    def _view(self, name: str) -> Pair | SelfPair | Unpaired:
        if name not in self.views:
            named = ", ".join(sorted(self.views)) or "none"
            raise RegbenchError(f"the stage does not name the view {name!r} (it names: {named})")
        return self.views[name]

    @property
    def pair(self) -> Pair:
        """The unaligned pair."""
        view = self._view("pair")
        assert isinstance(view, Pair)
        return view

    @property
    def self_source(self) -> SelfPair:
        """A self-pair of the source modality; its ``image`` is ``pair.source``."""
        view = self._view("self_source")
        assert isinstance(view, SelfPair)
        return view

    @property
    def self_target(self) -> SelfPair:
        """A self-pair of the target modality; its ``image`` is ``pair.target``."""
        view = self._view("self_target")
        assert isinstance(view, SelfPair)
        return view

    @property
    def unpaired(self) -> Unpaired:
        """Independently drawn images of both modalities."""
        view = self._view("unpaired")
        assert isinstance(view, Unpaired)
        return view

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal noise of the shape, dtype and device of ``like``, repeatable for this step."""
        return draw(lambda n: torch.randn(n, *like.shape[1:], generator=self.generator), len(like), like=like)
