"""Images whose registration is known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from regbench import geometry
from regbench.data.pairs import draw_displacements
from regbench.data.protocol import Protocol

_SCALES = (1.0, 2.0, 4.0)  # standard deviations in pixels: something to hold on to at every level of a pyramid


def textured(count: int, size: geometry.Size, seed: int = 0) -> Tensor:
    """Smoothed noise at several scales: ``(count, 3, *size)`` float32 spanning [0, 1] in every channel."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(count * 3, 1, *size)
    for sigma in _SCALES:
        reach = int(4 * sigma)
        x = torch.arange(-reach, reach + 1)
        kernel = torch.exp(-(x**2) / (2 * sigma**2))
        noise = torch.randn(count * 3, 1, size[0] + 2 * reach, size[1] + 2 * reach, generator=generator)
        smooth = conv2d(conv2d(noise, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
        image += smooth / smooth.std()
    low, high = image.amin(dim=(-1, -2), keepdim=True), image.amax(dim=(-1, -2), keepdim=True)
    return ((image - low) / (high - low)).reshape(count, 3, *size)


def shifted_pair(count: int, side: int, shift: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Source and target ``(count, 3, side, side)`` cut from one texture, target(p + shift) = source(p).

    So every corner's displacement is ``shift`` (x, y), and nothing was interpolated.
    """
    margin = max(abs(s) for s in shift)
    whole = textured(count, (side + 2 * margin, side + 2 * margin), seed)

    def window(x: int, y: int) -> Tensor:
        return whole[..., y : y + side, x : x + side].contiguous()

    return window(margin, margin), window(margin - shift[0], margin - shift[1])


def labelled_pair(count: int, protocol: Protocol, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target and displacement ``(count, 4, 2)`` of pairs made as the harness makes them, of one modality."""
    side, margin = protocol.patch, protocol.rho
    whole = textured(count, (side + 2 * margin, side + 2 * margin), seed)
    generator = torch.Generator().manual_seed(seed)
    displacement = draw_displacements(count, side, margin, generator)
    window = geometry.translation(torch.full((count, 2), float(margin)))
    into = window @ geometry.homography_from_displacement(displacement, (side, side))
    source = geometry.sample(whole, into, (side, side))  # source(p) = whole(window + H p)
    return source, geometry.sample(whole, window, (side, side)), displacement
