"""MUNIT's networks: two encoders split an image into a content map and a style code; a decoder joins them again.

Every convolution reflects the border. The content encoder normalises, the style encoder does not. The decoder's
residual blocks take the scale and shift of their normalisation from the style (AdaIN, Huang and Belongie 2017).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops.patchgan import LEAK
from regbench_translators.blocks.resnet import ResBlock


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, padding_mode="reflect")


class ContentEncoder(nn.Module):
    """Two halvings and residual blocks, instance norm throughout."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for inputs, outputs, kernel, stride in (
            (channels, width, 7, 1),
            (width, 2 * width, 4, 2),
            (2 * width, 4 * width, 4, 2),
        ):
            stack += [_conv(inputs, outputs, kernel, stride), nn.InstanceNorm2d(outputs), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*stack, *(ResBlock(4 * width) for _ in range(blocks)))

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, 4 width, H / 4, W / 4)``."""
        return self.body(image)


class StyleEncoder(nn.Module):
    """Four halvings without normalisation, which would remove the style, then the mean over the image."""

    def __init__(self, channels: int, width: int, style: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for inputs, outputs, kernel, stride in (
            (channels, width, 7, 1),
            (width, 2 * width, 4, 2),
            (2 * width, 4 * width, 4, 2),
            (4 * width, 4 * width, 4, 2),
            (4 * width, 4 * width, 4, 2),
        ):
            stack += [_conv(inputs, outputs, kernel, stride), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*stack, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4 * width, style, 1), nn.Flatten())

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, style)``."""
        return self.body(image)


def adain(x: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """Instance norm of ``x (B, C, H, W)``, scaled and shifted by ``(B, C)`` each."""
    return weight[..., None, None] * F.instance_norm(x) + bias[..., None, None]


class StyledBlock(nn.Module):
    """A residual block whose two normalisations take their scale and shift from the style."""

    parameters_per_channel = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels, 3), _conv(channels, channels, 3)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same; style ``(B, 4 C)``: bias and weight of the first norm, then of the second."""
        bias1, weight1, bias2, weight2 = style.chunk(4, dim=1)
        h = F.relu(adain(self.first(x), bias1, weight1))
        return x + adain(self.second(h), bias2, weight2)


class Decoder(nn.Module):
    """Residual blocks, normalised as a perceptron reads from the style, then two doublings with layer norm."""

    def __init__(self, channels: int, width: int, blocks: int, style: int, hidden: int) -> None:
        super().__init__()
        wide = 4 * width
        self.blocks = nn.ModuleList(StyledBlock(wide) for _ in range(blocks))
        self.perceptron = nn.Sequential(
            nn.Linear(style, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, blocks * StyledBlock.parameters_per_channel * wide),
        )
        stack: list[nn.Module] = []
        for inputs in (wide, wide // 2):
            norm = nn.GroupNorm(1, inputs // 2)  # one group is MUNIT's layer norm: over channels and pixels
            stack += [nn.Upsample(scale_factor=2), _conv(inputs, inputs // 2, 5), norm, nn.ReLU(inplace=True)]
        self.up = nn.Sequential(*stack, _conv(width, channels, 7), nn.Tanh())

    def reset_norms(self) -> None:
        """Draw the scales of the layer norms from U(0, 1), as published."""
        for module in self.up:
            if isinstance(module, nn.GroupNorm):
                nn.init.uniform_(module.weight)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """``(B, 4 width, h, w)`` and ``(B, style)`` to ``(B, channels, 4 h, 4 w)`` in (-1, 1)."""
        of_blocks = self.perceptron(style).chunk(len(self.blocks), dim=1)
        for block, of_block in zip(self.blocks, of_blocks, strict=True):
            content = block(content, of_block)
        return self.up(content)


class Modality(nn.Module):
    """Encoders and decoder of one modality; 15.026 M parameters at the published size, with 3 channels."""

    def __init__(self, channels: int, width: int, blocks: int, style: int, hidden: int) -> None:
        super().__init__()
        self.content = ContentEncoder(channels, width, blocks)
        self.style = StyleEncoder(channels, width, style)
        self.decoder = Decoder(channels, width, blocks, style, hidden)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """An image ``(B, channels, H, W)`` to its content ``(B, 4 width, H / 4, W / 4)`` and style ``(B, style)``."""
        return self.content(image), self.style(image)

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Content ``(B, 4 width, h, w)`` and style ``(B, style)`` to ``(B, channels, 4 h, 4 w)`` in (-1, 1)."""
        return self.decoder(content, style)


class MultiScaleDiscriminator(nn.Module):
    """One small discriminator for each of several sizes of the image.

    Args:
        channels: of the image.
        width: channels of the first layer.
        scales: number of sizes, each half of the one before; 8.271 M parameters with three, as published.
    """

    def __init__(self, channels: int, width: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(self._scale(channels, width) for _ in range(scales))

    @staticmethod
    def _scale(channels: int, width: int) -> nn.Sequential:
        stack: list[nn.Module] = []
        for outputs in (width, 2 * width, 4 * width, 8 * width):
            stack += [_conv(channels, outputs, 4, 2), nn.LeakyReLU(LEAK, inplace=True)]
            channels = outputs
        return nn.Sequential(*stack, nn.Conv2d(channels, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, channels, H, W)`` to verdicts ``(B, 1, h, w)`` of each scale; at 128 px 8 x 8, 4 x 4, 2 x 2."""
        verdicts = []
        for scale in self.scales:
            verdicts.append(scale(image))
            image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return verdicts
