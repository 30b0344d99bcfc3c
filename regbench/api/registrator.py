"""The registrator role: estimates the homography between a source and a target image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench import geometry
from regbench.api.config import ComponentConfig
from regbench.api.types import PairInfo, Registration
from regbench.errors import PluginError
from regbench.ops.sequence_loss import sequence_loss


class Registrator(nn.Module, ABC):
    """Base class of every registrator: a network or a matcher that estimates the homography of an image pair.

    Everything named below is imported from ``regbench``.

    Implement:
        ``forward(source, target)``: images ``(B, 3, H, W)`` float32 in [0, 1] to a :class:`regbench.Registration`.

    Optional:
        ``Config``: a subclass of :class:`regbench.ComponentConfig` (pydantic); ``self.config`` holds the values, and
            ``--set registrator.NAME=VALUE`` changes them. Defaults are the published network.
        ``__init__(config, info)``: makes the layers. ``info`` (:class:`regbench.PairInfo`) says the side of the
            patches, the range of the displacements and the channels of the modalities. A ``ValueError`` says which
            settings do not fit the pairs.
        ``loss(registration, displacement, weight)``: for networks; by default the sequence loss of IHN.
        ``features(image)``: dense features, for strategies that compare them.
        ``any_size``, ``any_scale``, ``whole``, ``published_keys``: class attributes, described below.

    What must hold:
        Displacements are pixels at the corners TL, TR, BL, BR of the source, x then y: where a corner of the source
            lies in the target, less where it is (``regbench.geometry`` converts from and to homographies).
        Pairs of a batch do not influence each other in eval mode, and the same input gives the same output.
        The input is not modified. A method that finds no answer for a pair marks it in ``Registration.ok``.
        Coordinates are computed in float32, also under autocast.

    Example::

        import torch
        from regbench import Registration, Registrator

        class Mine(Registrator):
            def __init__(self, config, info):
                super().__init__(config, info)
                self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * info.patch**2, 8))

            def forward(self, source, target):
                displacement = self.layers(torch.cat([source, target], dim=1)).reshape(1, -1, 4, 2)
                return Registration(displacement, (source.shape[-2], source.shape[-1]))

    Register it in a module of your distribution::

        @regbench.hookimpl
        def register_registrators(register):
            register("mine", "my_package.mine:Mine", summary="one line", provides=("train",))

    with ``provides=("train",)`` where there is something to train and ``"features"`` where :meth:`features` is
    implemented; advertise the module in ``pyproject.toml``::

        [project.entry-points.regbench]
        my_plugin = "my_package.plugin"

    and check it: ``regbench plugins check my-distribution``.
    """

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    any_size: ClassVar[bool] = False
    """True for methods that take images of any size as they are (matchers)."""
    any_scale: ClassVar[bool] = False
    """True for methods to which it does not matter that one image shows things several times as large."""
    whole: ClassVar[bool] = False
    """True for methods that need all that both images show: tiles of large images are not given to them."""
    published_keys: ClassVar[Sequence[tuple[str, str]]] = ()
    """Renames the keys of a published checkpoint for this class: (regular expression, replacement), in order."""

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
        """Sequence loss: mean absolute error of each iteration k of K, weighted 0.85^(K-1-k) (IHN, RHWF).

        Args:
            registration: what :meth:`forward` returned.
            displacement: label ``(B, 4, 2)`` pixels.
            weight: optional ``(B,)`` weight of each sample, mean one.

        Returns:
            A scalar.
        """
        return sequence_loss(registration.displacements, displacement, weight)

    def features(self, image: Tensor) -> Tensor:
        """Dense features ``(B, C, h, w)`` of an image ``(B, 3, H, W)``; registered as ``provides=("features",)``."""
        raise NotImplementedError(f"{type(self).__name__} offers no features")

    @final
    def register(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the homography between images of any size, in their own pixels.

        Checks the input, resizes to the network's patch where the method needs it, and rescales the homography
        exactly. An estimate is an answer only if its corners are finite and stay a convex quadrilateral of the same
        orientation: one that is singular, folds or mirrors is marked as failed, here and so everywhere.

        Args:
            source: ``(B, 3, H, W)`` (or one channel) float32 in [0, 1].
            target: ``(B, 3, H', W')`` (or one channel).

        Returns:
            A :class:`Registration` at the source's size.

        Raises:
            ValueError: wrong shape or dtype.
            PluginError: :meth:`forward` gave something else than agreed.
        """
        source, target = _as_three_channels("source", source), _as_three_channels("target", target)
        if source.shape[0] != target.shape[0]:
            raise ValueError(f"source has {source.shape[0]} images, target {target.shape[0]}")
        native = (self.info.patch, self.info.patch)
        source_size, target_size = _size(source), _size(target)
        if self.any_size or (source_size == native and target_size == native):
            registration = self._checked(self(source, target), source)
        else:
            small = _resized(source, native)
            resized = self._checked(self(small, _resized(target, native)), small)
            h = geometry.homography_from_displacement(resized.displacements.double(), native)
            h = geometry.rescale(h, (native, source_size), (native, target_size))
            displacements = geometry.displacement_from_homography(h, source_size)
            registration = Registration(displacements.to(resized.displacements.dtype), source_size, resized.ok)
        usable = geometry.is_usable(registration.displacement, registration.size)
        ok = usable if registration.ok is None else registration.ok & usable
        return Registration(registration.displacements, registration.size, ok, registration.matches)

    def _checked(self, found: object, source: Tensor) -> Registration:
        """What :meth:`forward` gave for a source, as it is; nothing is read from the device."""
        wrong = ""
        if not isinstance(found, Registration):
            wrong = f"a {type(found).__name__}, no regbench.Registration"
        elif not found.displacements.is_floating_point():
            wrong = f"displacements of {found.displacements.dtype}, no floats"
        elif found.displacements.shape[0] < 1 or found.displacements.shape[1] != len(source):
            wrong = (
                f"displacements {tuple(found.displacements.shape)} for {len(source)} pairs, no (K, {len(source)}, 4, 2)"
            )
        elif found.displacements.device != source.device:
            wrong = f"displacements on {found.displacements.device} for images on {source.device}"
        elif tuple(found.size) != _size(source):
            wrong = f"a size {tuple(found.size)} for a source of {_size(source)}"
        elif found.ok is not None and (found.ok.dtype != torch.bool or found.ok.device != source.device):
            wrong = f"ok of {found.ok.dtype} on {found.ok.device}, no bool on {source.device}"
        if wrong:
            raise PluginError(f"{type(self).__module__}.{type(self).__name__}.forward gave {wrong}")
        assert isinstance(found, Registration)
        return found


def _size(image: Tensor) -> geometry.Size:
    return (image.shape[-2], image.shape[-1])


def _resized(image: Tensor, size: geometry.Size) -> Tensor:
    if _size(image) == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def _as_three_channels(name: str, image: Tensor) -> Tensor:
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise ValueError(f"{name} must be (B, 3, H, W) or (B, 1, H, W), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{name} must be float in [0, 1], got {image.dtype}; divide 8-bit images by 255")
    return image.expand(-1, 3, -1, -1).contiguous()
