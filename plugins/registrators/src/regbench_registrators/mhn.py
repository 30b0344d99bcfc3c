"""MHN: the multi-scale network of "Deep homography estimation for dynamic scenes" (Le, Liu, Zhang, Agarwala,
CVPR 2020), without its mask branch.

Grey images at a quarter, half and full size, coarse to fine: each level regresses the eight corner offsets that the
coarser ones left over, from the pair whose source has been warped by their estimate (Fig. 3 of the paper). Offsets are
full-resolution pixels at every level. The authors published no network; this is the form SSHNet's code gives it
(2,566,936 parameters at 128 px), and the depth of each level follows the patch.

That code has two defects, which ``scaling="published"`` reproduces. At half size it halves the homography's
translation and leaves h31 and h32, which double; and it warps with coordinates of one ``grid_sample`` convention in
the other. By default the homography is scaled exactly and the warp is regbench's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regbench import ComponentConfig, PairInfo, Registration, Registrator, geometry
from regbench.ops import sequence_loss
from regbench_registrators.blocks.composition import Composition, in_sequence
from regbench_registrators.presets import MHN_PRESETS
from regbench_registrators.published_keys import MHN_KEYS

SHRINKS = (4, 2, 1)


class MHNConfig(ComponentConfig):
    """Defaults are the published network, with exact scaling."""

    widths: tuple[int, ...] = Field(
        (32, 64, 64, 128, 128, 256), min_length=1, description="channels after 0, 1, 2, .. poolings; the last goes on"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="before the last layer of each level")
    scaling: Literal["exact", "published"] = Field(
        "exact", description="of the homography at half size: exact, or as in the code it was published with"
    )
    composition: Composition = Field("add", description="of the levels: published sum, or exact product")
    gamma: float = Field(0.8, gt=0, le=1, description="of the sequence loss")

    presets = MHN_PRESETS


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Level(nn.Module):
    """From a stacked grey pair to the eight offsets: pool down to 4 x 4, average, one linear layer.

    Args:
        widths: channels after each number of poolings, from none.
        dropout: before the linear layer.
    """

    def __init__(self, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(double_convolution(i, o) for i, o in zip((2, *widths), widths, strict=False))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(widths[-1], 8, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, pair: Tensor) -> Tensor:
        """``(B, 2, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        x = self.blocks[0](pair)
        for block in self.blocks[1:]:
            x = block(F.max_pool2d(x, 2))
        x = self.dropout(F.avg_pool2d(x, 4))
        return self.head(x).reshape(-1, 4, 2)


class MHN(Registrator):
    """The network of Fig. 3 of the MHN paper.

    Args:
        config: sizes; defaults are published.
        info: ``info.patch`` must be a power of two, at least 16.

    Raises:
        ValueError: another patch.
    """

    Config = MHNConfig
    config: MHNConfig
    published_keys = MHN_KEYS

    def __init__(self, config: MHNConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        patch = info.patch
        if patch < 16 or patch & (patch - 1):
            raise ValueError(f"MHN needs a patch that is a power of two, at least 16 px; got {patch}")
        levels = []
        for i, shrink in enumerate(SHRINKS):
            side = patch // shrink
            blocks = side.bit_length() - 2  # one without pooling, then down to 4 x 4
            widths = (*config.widths, *[config.widths[-1]] * blocks)[:blocks]
            levels.append(Level(widths, config.dropout))
            # Buffers, so that they follow the network and are not made anew at each call.
            small, full = (side, side), (patch, patch)
            self.register_buffer(f"into_{i}", geometry.resize_matrix(full, small).float(), persistent=False)
            self.register_buffer(f"out_of_{i}", geometry.resize_matrix(small, full).float(), persistent=False)
        self.levels = nn.ModuleList(levels)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the displacements; one entry a level, ``(3, B, 4, 2)``.

        Gradients reach each level through its own estimate alone: the coarser ones are constants to it.
        """
        size = (source.shape[-2], source.shape[-1])
        grey = [image.mean(dim=1, keepdim=True) for image in (source, target)]
        estimates: list[Tensor] = []
        for i, (shrink, level) in enumerate(zip(SHRINKS, self.levels, strict=True)):
            small = (size[0] // shrink, size[1] // shrink)
            first, second = (F.interpolate(image, small, mode="bilinear") if shrink > 1 else image for image in grey)
            if i == 0:
                estimates.append(level(torch.cat([first, second], dim=1)).float())
                continue
            before = estimates[-1].detach()
            first = self.warped(first, geometry.homography_from_displacement(before, size), i)
            left = level(torch.cat([first, second], dim=1)).float()
            # This level sees the warped source: its homography applies after the earlier one.
            estimates.append(in_sequence(before, left, size, self.config.composition))
        return Registration(torch.stack(estimates), size)

    def warped(self, image: Tensor, homography: Tensor, level: int) -> Tensor:
        """Push a level's source image forward by a homography of the full-size patch.

        Args:
            image: ``(B, 1, h, w)`` at the level's size.
            homography: ``(B, 3, 3)``, full-size source pixels to target pixels.
            level: 0 (coarse) to 2.

        Returns:
            ``(B, 1, h, w)``, zero outside.
        """
        h, w = image.shape[-2:]
        if self.config.scaling == "exact":
            into, out_of = self.get_buffer(f"into_{level}"), self.get_buffer(f"out_of_{level}")
            return geometry.warp(image, geometry.compose(geometry.product(into, homography), out_of))
        shrunk = torch.cat([homography[:, :2, :2], homography[:, :2, 2:] / SHRINKS[level]], dim=2)
        backward = geometry.invert(torch.cat([shrunk, homography[:, 2:]], dim=1))
        # Its grid spans -1 .. 1 between the centres of the outermost pixels; its grid_sample, between their edges.
        grid = geometry.sampling_grid(backward, (h, w), (h, w))
        return F.grid_sample(image.to(grid.dtype), grid, align_corners=False).to(image.dtype)

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sequence loss over the levels, a scalar."""
        return sequence_loss(registration.displacements, displacement, weight, gamma=self.config.gamma)
