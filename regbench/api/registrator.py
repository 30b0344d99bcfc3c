"""The registrator role: estimates the homography between a source and a target image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

import torch.nn.functional as F
from torch import Tensor, nn

from regbench import geometry
from regbench.api.config import ComponentConfig
from regbench.api.types import PairInfo, Registration
from regbench.ops.sequence_loss import sequence_loss


class Registrator(nn.Module, ABC):
    """Base class of every registrator.

    A subclass states its settings as ``Config`` and implements :meth:`forward`. Networks are built for one patch
    size (``info.patch``); :meth:`register` accepts images of any size.
    """

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    any_size: ClassVar[bool] = False
    """True for methods that take images of any size as they are (matchers)."""
    published_keys: ClassVar[Sequence[tuple[str, str]]] = ()
    """How a published checkpoint's keys become ours: (regular expression, replacement), applied in order."""

    def __init__(self, config: ComponentConfig, info: PairInfo) -> None:
        super().__init__()
        self.config = config
        self.info = info

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the homography that maps source pixels to target pixels.

        Args:
            source: ``(B, 3, H, W)`` float32 in [0, 1].
            target: the same shape.

        Returns:
            A :class:`Registration` whose displacements refer to the source's corners.
        """

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sequence loss: mean absolute error of each iteration, weighted 0.85^(K-1-k) (IHN, RHWF).

        Args:
            registration: what :meth:`forward` returned.
            displacement: label ``(B, 4, 2)`` pixels.
            weight: optional ``(B,)`` weight of each sample, mean one.

        Returns:
            A scalar.
        """
        return sequence_loss(registration.displacements, displacement, weight)

    def features(self, image: Tensor) -> Tensor:
        """Dense features ``(B, C, h, w)`` of an image; only where the capability ``features`` is registered."""
        raise NotImplementedError(f"{type(self).__name__} offers no features")

    @final
    def register(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the homography between images of any size, in their own pixels.

        Checks the input, resizes to the network's patch where the method needs it, and rescales the homography
        exactly. Estimates that are not finite are marked as failed.

        Args:
            source: ``(B, 3, H, W)`` (or one channel) float32 in [0, 1].
            target: ``(B, 3, H', W')`` (or one channel).

        Returns:
            A :class:`Registration` at the source's size.

        Raises:
            ValueError: wrong shape or dtype.
        """
        source, target = _checked("source", source), _checked("target", target)
        if source.shape[0] != target.shape[0]:
            raise ValueError(f"source has {source.shape[0]} images, target {target.shape[0]}")
        native = (self.info.patch, self.info.patch)
        before_s, before_t = _size(source), _size(target)
        if self.any_size or (before_s == native and before_t == native):
            found = self(source, target)
        else:
            found = self(_resized(source, native), _resized(target, native))
            h = geometry.homography_from_displacement(found.displacements.double(), native)
            h = geometry.rescale(h, (native, before_s), (native, before_t))
            moved = geometry.displacement_from_homography(h, before_s)
            found = Registration(moved.to(found.displacements.dtype), before_s, found.ok)
        finite = found.displacement.isfinite().all(dim=-1).all(dim=-1)
        ok = finite if found.ok is None else found.ok & finite
        return Registration(found.displacements, found.size, ok)


def _size(image: Tensor) -> geometry.Size:
    return (image.shape[-2], image.shape[-1])


def _resized(image: Tensor, size: geometry.Size) -> Tensor:
    if _size(image) == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def _checked(name: str, image: Tensor) -> Tensor:
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise ValueError(f"{name} must be (B, 3, H, W) or (B, 1, H, W), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{name} must be float in [0, 1], got {image.dtype}; divide 8-bit images by 255")
    return image.expand(-1, 3, -1, -1).contiguous()
