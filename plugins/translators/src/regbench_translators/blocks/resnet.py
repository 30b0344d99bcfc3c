"""The ResNet generator of CycleGAN and CUT (Johnson et al. 2016), whose encoder's features can be read by layer.

CUT's form is anti-aliased: it blurs before it halves and interpolates before it convolves. CycleGAN's form has strided
and transposed convolutions. Both have the same number of parameters, 11.378 M at width 64 with nine blocks and 3
channels. Instance norm has neither parameters nor running statistics, so that train and eval mode compute the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from regbench.ops import BlurDown, blur_up


class ResBlock(nn.Module):
    """Two reflected 3x3 convolutions with instance norm; nothing after the sum."""

    def __init__(self, channels: int, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *reflected(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            *reflected(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same."""
        return x + self.body(x)


def reflected(inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True) -> list[nn.Module]:
    """A convolution over a reflected border of half its kernel."""
    return [nn.ReflectionPad2d((kernel - 1) // 2), nn.Conv2d(inputs, outputs, kernel, stride=stride, bias=bias)]


def encoder_layers(inputs: int, width: int, antialias: bool) -> list[nn.Module]:
    """From an image to features of a quarter of its side, 4 x width channels."""
    layers = [*reflected(inputs, width, 7), *_norm(width)]
    for channels in (width, 2 * width):
        stride = 1 if antialias else 2
        layers += [nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1), *_norm(2 * channels)]
        if antialias:
            layers.append(BlurDown())
    return layers


def decoder_layers(outputs: int, width: int, antialias: bool) -> list[nn.Module]:
    """From 4 x width channels at a quarter of the side back to an image in (-1, 1)."""
    layers: list[nn.Module] = []
    for channels in (4 * width, 2 * width):
        half = channels // 2
        if antialias:
            layers += [blur_up(), nn.Conv2d(channels, half, 3, padding=1)]
        else:
            layers.append(nn.ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1))
        layers += _norm(half)
    return [*layers, *reflected(width, outputs, 7), nn.Tanh()]


def _norm(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]


def channels_after(layers: Iterable[nn.Module], inputs: int) -> list[int]:
    """Channels of the features after each layer; ``inputs`` are those before the first."""
    channels = []
    for layer in layers:
        inputs = getattr(layer, "out_channels", inputs)
        channels.append(inputs)
    return channels


def check_taps(taps: Sequence[int], layers: int) -> None:
    """Raise ValueError if a layer whose features are to be read does not exist."""
    if not taps or min(taps) < 0 or max(taps) >= layers:
        raise ValueError(f"nce_layers={list(taps)} must name layers of the encoder, 0 to {layers - 1}")


def comparable(layers: Sequence[nn.Module]) -> tuple[int, ...]:
    """Indices of the encoder layers that CUT compares, found by kind, since their numbers depend on the sampling.

    These are the padded image, the two convolutions that double the channels, the first residual block and the fifth
    (the last where there are fewer): 0, 4, 8, 12, 16 in CUT's own encoder.
    """
    convolutions = [n for n, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    blocks = [n for n, layer in enumerate(layers) if isinstance(layer, ResBlock)]
    return tuple(dict.fromkeys([0, *convolutions[1:], blocks[0], blocks[:5][-1]]))


class ResNetGenerator(nn.Module):
    """Encoder, residual blocks, decoder.

    Args:
        inputs: channels of the image it reads.
        outputs: channels of the image it writes.
        width: channels of the first layer.
        blocks: residual blocks, at a quarter of the side.
        antialias: CUT's sampling; False for CycleGAN's.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 64, blocks: int = 9, antialias: bool = True) -> None:
        super().__init__()
        encoder = [*encoder_layers(inputs, width, antialias), *(ResBlock(4 * width) for _ in range(blocks))]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder_layers(outputs, width, antialias))
        self.channels = channels_after(encoder, inputs)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` in [-1, 1] to ``(B, outputs, H, W)`` in (-1, 1); H and W multiples of 4."""
        return self.decoder(self.encoder(image))

    def features(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Outputs of the encoder's layers ``taps``: indices in the published list, whose 0 is the padded image."""
        return read_features(image, self.encoder, taps)


def read_features(image: Tensor, layers: Iterable[nn.Module], taps: Sequence[int]) -> list[Tensor]:
    """Outputs of the layers ``taps``; layers after the last of them are not run."""
    outputs: dict[int, Tensor] = {}
    for number, layer in enumerate(layers):
        image = layer(image)
        if number in taps:
            outputs[number] = image
        if number == max(taps):
            break
    return [outputs[number] for number in taps]
