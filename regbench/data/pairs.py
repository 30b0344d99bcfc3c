"""How a pair is made from a pack: which image, which window, which homography.

A draw is (index, origin, displacement): the target patch is the window of image B at ``origin``; the source patch is
image A sampled through ``origin`` and the homography of ``displacement`` (DeTone et al. 2016, as the MCNet family
does it): source(p) = A(origin + H p), target(p) = B(origin + p). So H maps source to target pixels, and since
|displacement| <= rho and the origin keeps rho away from the border, no pixel outside the image is ever needed: a
border would encode the label.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from regbench import geometry
from regbench.api.dataset import Split
from regbench.data.images import Images, load
from regbench.data.packs.pack import Pack
from regbench.data.photometric import Distortion, draw_distortion
from regbench.data.protocol import Protocol
from regbench.devices import to_device
from regbench.errors import UsageError

CUTTING = 1
"""Version of the code that cuts patches; raised when a change of it moves the value of a pixel. The hash of the test
pairs covers it."""


class DataFacts(typing.Protocol):
    """What decides whether pairs can be made of a data set: of a pack, or of a reader before there is a pack."""

    @property
    def name(self) -> str:
        """Of the data set."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image."""

    @property
    def aligned(self) -> bool:
        """Whether A and B show the same place at the same pixel."""

    @property
    def max_patch(self) -> int | None:
        """Side of the central square both images of an unaligned pair fill, px; None: all of it."""

    @property
    def channels(self) -> tuple[int, int]:
        """Of A and B."""

    @property
    def modalities(self) -> tuple[str, str]:
        """Names of A and B."""


@dataclass(frozen=True)
class Draws:
    """N pairs to be cut, on the CPU.

    Attributes:
        index: ``(N,)`` image of the split.
        origin: ``(N, 2)`` top left pixel of the window, x then y, whole numbers in float32.
        displacement: ``(N, 4, 2)`` pixels at the source corners, whole numbers in float32; NaN where no truth is known.
        colours: how the colours of source and target are distorted; None where they are not.
    """

    index: Tensor
    origin: Tensor
    displacement: Tensor
    colours: tuple[Distortion, Distortion] | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Tensor | slice) -> Draws:
        colours = self.colours and (self.colours[0][which], self.colours[1][which])
        return Draws(self.index[which], self.origin[which], self.displacement[which], colours)

    def coloured(self, pack: Pack, generator: Callable[[], torch.Generator]) -> Draws:
        """These draws with colours drawn from ``generator()``, where the pack's data set distorts them."""
        if pack.distortion == "none":
            return self
        stream = generator()
        source, target = (draw_distortion(pack.distortion, len(self), stream) for _ in range(2))
        return replace(self, colours=(source, target))


def check_fits(pack: DataFacts, protocol: Protocol) -> None:
    """Raise UsageError when the protocol cannot be drawn from the pack."""
    if pack.aligned and protocol.pairing == "given":
        raise UsageError(
            f"{pack.name} holds aligned pairs; pairing=given is for really unaligned ones. "
            "Use --pairing frozen or --pairing online"
        )
    if not pack.aligned and protocol.pairing != "given":
        raise UsageError(f"{pack.name} holds really unaligned pairs; use --pairing given")
    if pack.max_patch is not None and protocol.patch > pack.max_patch:
        raise UsageError(
            f"{pack.name}: its images fill the central {pack.max_patch} px alone, too few for patch={protocol.patch}; "
            f"add --set protocol.patch={pack.max_patch}"
        )
    margin = protocol.rho if pack.aligned else 0
    need, (h, w) = protocol.patch + 2 * margin, pack.size
    if min(h, w) < need:
        raise UsageError(
            f"{pack.name}: images of {w}x{h} px are too small for patch={protocol.patch}, rho={protocol.rho} "
            f"({need}x{need} needed); lower them with --set protocol.patch=… --set protocol.rho=…"
        )


def draw_displacements(count: int, patch: int, rho: int, generator: torch.Generator) -> Tensor:
    """``(count, 4, 2)`` whole pixels from U{-rho..rho}; quadrilaterals that are not convex are drawn again."""
    displacement = torch.empty(count, 4, 2)
    folded = torch.ones(count, dtype=torch.bool)
    while folded.any():
        drawn = torch.randint(-rho, rho + 1, (int(folded.sum()), 4, 2), generator=generator).float()
        displacement[folded] = drawn
        folded = ~geometry.is_convex(displacement, (patch, patch))
    return displacement


def draw_pairs(index: Tensor, size: geometry.Size, protocol: Protocol, generator: torch.Generator) -> Draws:
    """Window and displacement for each image of ``index``, inside images of ``size``."""
    n, margin = len(index), protocol.rho
    spans = [side - 2 * margin - protocol.patch + 1 for side in (size[1], size[0])]  # x, y
    origin = torch.stack([torch.randint(0, span, (n,), generator=generator) + margin for span in spans], dim=-1)
    return Draws(index, origin.float(), draw_displacements(n, protocol.patch, protocol.rho, generator))


def given_pairs(pack: Pack, split: Split, protocol: Protocol, *, labelled: bool) -> Draws:
    """The central window of every really unaligned pair.

    The label of a window follows from that of the images: H_window = T(-origin) H T(origin). Labels map A to B; they
    are inverted where B is the source.

    Args:
        pack: really unaligned pairs.
        split: which of them.
        protocol: the patch, and which side is the source.
        labelled: True keeps only pairs that have a label; False keeps all, and no displacement means anything.
    """
    labels = pack.homographies(split) if labelled else None
    known = np.arange(pack.counts[split])
    if labelled:
        known = np.flatnonzero(np.isfinite(labels).all(axis=(1, 2))) if labels is not None else known[:0]
    origin = central_origin(pack, protocol).expand(len(known), 2)
    displacement = torch.zeros(len(known), 4, 2)
    if labels is not None:
        homography = torch.from_numpy(labels[known])
        if protocol.source == "B":
            homography = geometry.invert(homography)
        shift = geometry.translation(origin.double())
        local = geometry.compose(geometry.invert(shift), geometry.compose(homography, shift))
        displacement = geometry.displacement_from_homography(local, (protocol.patch, protocol.patch)).float()
    return Draws(torch.from_numpy(known), origin, displacement)


def central_origin(pack: Pack, protocol: Protocol) -> Tensor:
    """Top left pixel ``(2,)``, x then y, of the window in which really unaligned pairs are taken."""
    h, w = pack.size
    return torch.tensor([(w - protocol.patch) // 2, (h - protocol.patch) // 2]).float()


def sides(pack: Pack, split: Split, protocol: Protocol, device: torch.device | str) -> tuple[Images, Images]:
    """All images of the source and of the target modality."""
    a, b = load(pack, split, ("a", "b"), device)
    return (a, b) if protocol.source == "A" else (b, a)


def to_float(images: Tensor) -> Tensor:
    """uint8 ``(B, C, H, W)`` to float32 in [0, 1]; float packs pass."""
    return images.float().div_(255.0) if images.dtype == torch.uint8 else images


def source_patch(images: Tensor, draws: Draws, protocol: Protocol) -> Tensor:
    """The source of each pair, ``(B, 3, patch, patch)`` float32 in [0, 1].

    Args:
        images: of the source modality, those at ``draws.index``, ``(B, C, H, W)`` on the device.
        draws: window and displacement.
        protocol: the patch, rho, and whether pairs are taken as they are (then nothing is interpolated).
    """
    patch, rho = protocol.patch, protocol.rho
    colours = draws.colours and draws.colours[0]
    if protocol.pairing == "given":
        return _finished(window(images, draws.origin, patch), colours)
    around = window(images, draws.origin - rho, patch + 2 * rho)  # nothing beyond it is looked at
    if colours is not None:
        around = colours.apply(_three(to_float(around)))
    hidden = geometry.homography_from_displacement(draws.displacement, (patch, patch))
    inner = geometry.product(geometry.translation(torch.full((2,), float(rho))), hidden)
    # The displaced quadrilateral is convex, so the homography does not fold within the patch.
    source = geometry.sample(around.float(), to_device(inner, around.device), (patch, patch), folds=False).contiguous()
    source = source.div_(255.0) if around.dtype == torch.uint8 else source
    # The weights of an interpolation add up to one only nearly. Distorted images are not clamped again, so that the
    # numbers of earlier results hold.
    return _three(source.clamp_(0, 1) if colours is None else source)


def target_patch(images: Tensor, draws: Draws, protocol: Protocol) -> Tensor:
    """The target of each pair, as :func:`source_patch`; never interpolated."""
    return _finished(window(images, draws.origin, protocol.patch), draws.colours and draws.colours[1])


def window(images: Tensor, origin: Tensor, side: int) -> Tensor:
    """The square of ``side`` px at ``origin`` ``(B, 2)`` (whole numbers, on the CPU) of each image, as stored."""
    places = origin.int().tolist()
    by_pixel = images.permute(0, 2, 3, 1)  # as they lie in memory
    squares = [image[y : y + side, x : x + side] for image, (x, y) in zip(by_pixel, places, strict=True)]
    return torch.stack(squares).permute(0, 3, 1, 2)


def _finished(images: Tensor, colours: Distortion | None) -> Tensor:
    """Stored pixels as a network gets them: three channels in [0, 1], distorted if ``colours`` are given."""
    patches = _three(to_float(images).contiguous())
    return patches if colours is None else colours.apply(patches)


def cut(images: Tensor, homography: Tensor, patch: int, colours: Distortion | None = None) -> Tensor:
    """Sample one patch an image, in one interpolation.

    Args:
        images: ``(B, C, H, W)`` of the pack, uint8 or float, on the device.
        homography: ``(B, 3, 3)``, patch pixels to image pixels.
        patch: side of the output.
        colours: how the colours are distorted, if they are.

    Returns:
        ``(B, 3, patch, patch)`` float32 in [0, 1]; grey is replicated. What falls outside the image (only self-warps
        do) is reflected: a black border would be visible to the network.
    """
    pixels = to_float(images)
    if colours is not None:
        pixels = colours.apply(_three(pixels))
    return _three(geometry.sample(pixels, homography, (patch, patch), padding="reflection").contiguous())


def _three(images: Tensor) -> Tensor:
    """Grey replicated to three channels."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
