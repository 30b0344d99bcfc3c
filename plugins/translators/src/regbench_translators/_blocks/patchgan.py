"""The PatchGAN discriminator (Isola et al. 2017): one verdict for every patch of 70 px, no sigmoid at the end."""

from __future__ import annotations

from torch import Tensor, nn

from regbench_translators._blocks.sampling import BlurDown

LEAK = 0.2


def patch_widths(width: int, layers: int) -> list[int]:
    """Channels after each convolution but the last: doubled each time, eight times the first at most."""
    return [width * min(2**i, 8) for i in range(layers + 1)]


class PatchGAN(nn.Module):
    """4x4 convolutions, the first ``layers`` of which halve; 2.765 M parameters as published, with 3 channels.

    Args:
        channels: of the image.
        width: channels of the first layer.
        layers: how many layers halve.
        antialias: blur before halving (CUT); False for strided convolutions (CycleGAN), whose field is 70 px.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3, antialias: bool = True) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        before = channels
        for number, after in enumerate(patch_widths(width, layers)):
            halves = number < layers
            stack.append(nn.Conv2d(before, after, 4, stride=2 if halves and not antialias else 1, padding=1))
            if number:
                stack.append(nn.InstanceNorm2d(after))
            stack.append(nn.LeakyReLU(LEAK, inplace=True))
            if halves and antialias:
                stack.append(BlurDown())
            before = after
        self.layers = nn.Sequential(*stack, nn.Conv2d(before, 1, 4, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to verdicts ``(B, 1, h, w)``: 14 x 14 at 128 px, 30 x 30 at 256 px."""
        return self.layers(image)


def check_patch(patch: int, layers: int) -> None:
    """The patch must leave the last layers more than one pixel to normalise; raises ValueError."""
    if patch < 3 * 2**layers:
        raise ValueError(
            f"a discriminator with {layers} halvings needs a patch of at least {3 * 2**layers} px, got {patch}: "
            "take fewer critic_layers or a larger protocol.patch"
        )
