"""U-GAT-IT's networks: attention by a classifier's weights, and a norm that learns to mix instance and layer norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from regbench.ops.patchgan import LEAK
from regbench_translators.blocks.resnet import ResBlock, reflected


class LayerInstanceNorm(nn.Module):
    """rho of instance norm and 1 - rho of layer norm, rho learned per channel and kept in [0, 1] (AdaLIN).

    Args:
        channels: of the features.
        rho: its initial value.
        affine: True for a scale and shift of its own; False if each call gives them.
    """

    def __init__(self, channels: int, rho: float, affine: bool) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), rho))
        self.gamma = nn.Parameter(torch.ones(1, channels)) if affine else None
        self.beta = nn.Parameter(torch.zeros(1, channels)) if affine else None

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` to the same; scale ``gamma`` and shift ``beta`` ``(B, C)`` unless ``affine``."""
        gamma, beta = (gamma, beta) if self.gamma is None else (self.gamma, self.beta)
        assert gamma is not None
        assert beta is not None
        mixed = self.rho * _standard(x, (2, 3)) + (1 - self.rho) * _standard(x, (1, 2, 3))
        return mixed * gamma[..., None, None] + beta[..., None, None]

    def clip(self) -> None:
        """Put rho back into [0, 1]."""
        with torch.no_grad():
            self.rho.clamp_(0, 1)


def _standard(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """``x`` with zero mean and unit (unbiased) variance over ``dims``."""
    variance, mean = torch.var_mean(x, dim=dims, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-5)


class AdaptiveBlock(nn.Module):
    """A residual block whose norms take their scale and shift from the attended features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*reflected(channels, channels, 3, bias=False))
        self.second = nn.Sequential(*reflected(channels, channels, 3, bias=False))
        self.norm1, self.norm2 = (LayerInstanceNorm(channels, 0.9, affine=False) for _ in range(2))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same; scale and shift of both norms ``(B, C)``."""
        h = F.relu(self.norm1(self.first(x), gamma, beta))
        return x + self.norm2(self.second(h), gamma, beta)


class Attention(nn.Module):
    """Class activation maps: features weighted by the weights of an auxiliary classifier of the two modalities.

    Args:
        channels: of the features.
        normalised: spectral norm on the two classifiers; as published, the features are weighted by the weights before
            that norm.
    """

    def __init__(self, channels: int, normalised: bool) -> None:
        super().__init__()
        wrap = spectral_norm if normalised else nn.Identity()
        self.normalised = normalised
        self.average = wrap(nn.Linear(channels, 1, bias=False))
        self.maximum = wrap(nn.Linear(channels, 1, bias=False))
        self.merge = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, H, W)`` to attended features of the same shape, before an activation, and logits ``(B, 2)``."""
        attended, logits = [], []
        for head, pooled in ((self.average, x.mean(dim=(2, 3))), (self.maximum, x.amax(dim=(2, 3)))):
            logits.append(head(pooled))
            attended.append(x * self._weight(head)[..., None, None])
        return self.merge(torch.cat(attended, dim=1)), torch.cat(logits, dim=1)

    def _weight(self, classifier: nn.Module) -> Tensor:
        """The classifier's weight ``(1, C)``, before any spectral norm."""
        return classifier.get_parameter("parametrizations.weight.original" if self.normalised else "weight")


class Generator(nn.Module):
    """Encoder, attention, adaptive blocks, decoder.

    Args:
        inputs: channels it reads.
        outputs: channels it writes.
        width: channels of the first layer.
        blocks: residual blocks of the encoder, and of the decoder.
        side: of the image, px: the scale and shift of the norms are read from the flattened features, which fixes the
            size (77.633 M parameters at 128 px, 278.96 M at 256). None for the light model, which reads them from the
            features' means and takes any size (10.590 M).
    """

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, side: int | None) -> None:
        super().__init__()
        wide = 4 * width
        self.side = side
        encoder: list[nn.Module] = [*reflected(inputs, width, 7, bias=False), *_norm(width)]
        for channels in (width, 2 * width):
            encoder += [*reflected(channels, 2 * channels, 3, stride=2, bias=False), *_norm(2 * channels)]
        self.encoder = nn.Sequential(*encoder, *(ResBlock(wide, bias=False) for _ in range(blocks)))
        self.attention = Attention(wide, normalised=False)
        pooled = wide if side is None else wide * (side // 4) ** 2
        self.style = nn.Sequential(
            nn.Linear(pooled, wide, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(wide, wide, bias=False),
            nn.ReLU(inplace=True),
        )
        self.gamma, self.beta = (nn.Linear(wide, wide, bias=False) for _ in range(2))
        self.blocks = nn.ModuleList(AdaptiveBlock(wide) for _ in range(blocks))
        decoder: list[nn.Module] = []
        for channels in (wide, wide // 2):
            half = channels // 2
            decoder += [nn.Upsample(scale_factor=2), *reflected(channels, half, 3, bias=False)]
            decoder += [LayerInstanceNorm(half, 0.0, affine=True), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*decoder, *reflected(width, outputs, 7, bias=False), nn.Tanh())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, inputs, H, W)`` in [-1, 1] to an image ``(B, outputs, H, W)`` in (-1, 1) and logits ``(B, 2)``."""
        x, logits = self.attention(self.encoder(image))
        x = F.relu(x)
        style = self.style(x.mean(dim=(2, 3)) if self.side is None else x.flatten(1))
        gamma, beta = self.gamma(style), self.beta(style)
        for block in self.blocks:
            x = block(x, gamma, beta)
        return self.decoder(x), logits

    def clip(self) -> None:
        """Put every rho back into [0, 1]."""
        for module in self.modules():
            if isinstance(module, LayerInstanceNorm):
                module.clip()


def _norm(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]


class Discriminator(nn.Module):
    """A spectrally normalised PatchGAN with attention.

    Args:
        channels: of the image.
        width: channels of the first layer.
        layers: 7 for the global discriminator (53.130 M parameters with 3 channels), 5 for the local one (3.291 M);
            all but the last two halve the side.
    """

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for number in range(layers - 1):
            outputs = width * 2**number
            pad, convolution = reflected(channels, outputs, 4, stride=2 if number < layers - 2 else 1)
            stack += [pad, spectral_norm(convolution), nn.LeakyReLU(LEAK, inplace=True)]
            channels = outputs
        self.body = nn.Sequential(*stack)
        self.attention = Attention(channels, normalised=True)
        pad, last = reflected(channels, 1, 4, bias=False)
        self.last = nn.Sequential(nn.LeakyReLU(LEAK, inplace=True), pad, spectral_norm(last))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, channels, H, W)`` to verdicts ``(B, 1, h, w)`` and logits ``(B, 2)``.

        At 128 px the global discriminator gives 2 x 2 verdicts, the local one 14 x 14.
        """
        x, logits = self.attention(self.body(image))
        return self.last(x), logits


def least_side(layers: int) -> int:
    """Side in pixels of the smallest image that a :class:`Discriminator` can judge.

    Its last two layers take one pixel each, and reflection needs one more.
    """
    return 3 * 2 ** (layers - 2)
