"""UNSB's networks: CUT's networks with the time of the bridge and, for the generator, a latent code as further inputs.

The released code has two flaws that decide the form of the generator's block here. First, it applies every layer of the
block's first half to the block's input and keeps the last result, a normalisation, so that the first convolution and
the time have no effect. Second, the time would have no effect even if the layers were chained: its per-channel bias
enters before a reflected convolution and an instance norm, which removes whatever is constant in a channel. The block
``intended`` chains its layers and adds the time after the normalisation, to the shift. The block ``released``
computes what the published numbers come from, without the weights that have no effect.

The discriminators add the time in the published places: it has an effect in the first layer, which is not normalised,
and none in the three others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from regbench.ops import BlurDown
from regbench.ops.patchgan import LEAK, patch_widths
from regbench_translators.blocks.resnet import channels_after, decoder_layers, encoder_layers, reflected
from regbench_translators.unsb.bridge import time_features

BlockKind = Literal["intended", "released"]


def _perceptron(inputs: int, width: int, layers: int) -> nn.Sequential:
    """Linear layers, each followed by a leaky ReLU."""
    stack: list[nn.Module] = []
    for number in range(layers):
        stack += [nn.Linear(width if number else inputs, width), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*stack)


class TimeEmbedding(nn.Module):
    """Sinusoidal features of the step, then two linear layers."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features = features
        self.body = _perceptron(features, width, 2)

    def forward(self, step: Tensor) -> Tensor:
        """Step numbers ``(B,)`` to ``(B, width)``."""
        return self.body(time_features(step, self.features))


class LatentMapping(nn.Module):
    """Four linear layers that read a normal code, scaled to unit mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = _perceptron(width, width, 4)

    def forward(self, z: Tensor) -> Tensor:
        """``(B, width)`` to the same."""
        return self.body(z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8))


class LatentAffine(nn.Module):
    """Scale and shift per channel, read from the latent code."""

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Linear(latent, 2 * channels)

    def reset(self) -> None:
        """Set the biases to scale 1 and shift 0."""
        with torch.no_grad():
            scale, shift = self.body.bias.chunk(2)
            scale.fill_(1)
            shift.fill_(0)

    def forward(self, x: Tensor, z: Tensor, time: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` and codes ``(B, latent)`` to ``(B, C, H, W)``; ``time`` ``(B, C)`` adds to the shift."""
        scale, shift = self.body(z)[..., None, None].chunk(2, dim=1)
        return scale * x + shift + (0 if time is None else time[..., None, None])


class ConditionalBlock(nn.Module):
    """A residual block conditioned on a latent code and, if ``intended``, on the time."""

    def __init__(self, channels: int, kind: BlockKind) -> None:
        super().__init__()
        intended = kind == "intended"
        self.first = nn.Sequential(*reflected(channels, channels, 3)) if intended else nn.Identity()
        self.time = nn.Linear(channels, channels) if intended else None
        self.norm, self.affine = nn.InstanceNorm2d(channels), LatentAffine(channels, channels)
        self.second = nn.Sequential(
            nn.ReLU(inplace=True), *reflected(channels, channels, 3), nn.InstanceNorm2d(channels)
        )

    def forward(self, x: Tensor, time: Tensor | None, z: Tensor) -> Tensor:
        """``(B, C, H, W)``, time and latent features ``(B, C)`` to ``(B, C, H, W)``."""
        shift = None if self.time is None or time is None else self.time(time)
        return x + self.second(self.affine(self.norm(self.first(x)), z, shift))


class BridgeGenerator(nn.Module):
    """CUT's generator with conditional blocks; it guesses the bridge's end from the state x_t, the step and a code z.

    Args:
        inputs: channels it reads.
        outputs: channels it writes.
        width: channels of the first layer; time and latent features have 4 x width.
        blocks: residual blocks.
        kind: of the blocks, see the top of this module.
    """

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, kind: BlockKind) -> None:
        super().__init__()
        self.latent = 4 * width
        self.time = TimeEmbedding(width, self.latent) if kind == "intended" else None
        self.mapping = LatentMapping(self.latent)
        encoder = [*encoder_layers(inputs, width, True), *(ConditionalBlock(4 * width, kind) for _ in range(blocks))]
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.Sequential(*decoder_layers(outputs, width, True))
        self.channels = channels_after(encoder, inputs)

    def forward(self, image: Tensor, step: Tensor, z: Tensor) -> Tensor:
        """``(B, inputs, H, W)``, step numbers ``(B,)``, codes ``(B, latent)`` to ``(B, outputs, H, W)`` in (-1, 1)."""
        last = len(self.encoder) - 1
        return self.decoder(self.features(image, step, z, (last,))[0])

    def features(self, image: Tensor, step: Tensor, z: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Outputs of the encoder's layers ``taps``: indices in the published list, whose 0 is the padded image."""
        time, z = None if self.time is None else self.time(step), self.mapping(z)
        outputs: dict[int, Tensor] = {}
        for number, layer in enumerate(self.encoder[: max(taps) + 1]):
            image = layer(image, time, z) if isinstance(layer, ConditionalBlock) else layer(image)
            if number in taps:
                outputs[number] = image
        return [outputs[number] for number in taps]


class BridgeDiscriminator(nn.Module):
    """A PatchGAN conditioned on the step; 3.143 M parameters at the published size, with 3 channels.

    Args:
        channels: it reads; as energy network it reads two states of two images each.
        width: channels of the first layer; time features have 4 x width.
        layers: number of layers that halve.
    """

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(4 * width, 4 * width)
        self.convolutions, self.biases, self.after = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, outputs in enumerate(patch_widths(width, layers)):
            self.convolutions.append(nn.Conv2d(channels, outputs, 4, padding=1))
            self.biases.append(nn.Linear(4 * width, outputs))
            self.after.append(
                nn.Sequential(
                    nn.InstanceNorm2d(outputs) if number else nn.Identity(),
                    nn.LeakyReLU(LEAK, inplace=True),
                    BlurDown() if number < layers else nn.Identity(),
                )
            )
            channels = outputs
        self.last = nn.Conv2d(channels, 1, 4, padding=1)

    def forward(self, image: Tensor, step: Tensor) -> Tensor:
        """``(B, channels, H, W)`` and step numbers ``(B,)`` to verdicts ``(B, 1, h, w)``."""
        time = self.time(step)
        for convolution, bias, after in zip(self.convolutions, self.biases, self.after, strict=True):
            image = after(convolution(image) + bias(time)[..., None, None])
        return self.last(image)
