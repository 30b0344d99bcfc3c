"""The network of CUDHN: content-aware unsupervised deep homography estimation (Zhang et al., ECCV 2020), in the
"Oneline" form its authors released.

A small convolutional net gives each grey image a feature map of one channel, another a mask of where to look; a
ResNet-34 over the two masked maps regresses the eight corner offsets (21,292,556 parameters).
The paper's unsupervised training, a triplet loss over features and masks, is a strategy's; this module is the network,
and :meth:`CUDHN.features`, :meth:`CUDHN.mask` and :meth:`CUDHN.grey` are what such a strategy needs. Trained by the
default loss of a registrator, the network is supervised like any other.

Conventions. The released homography maps pixels of the second image to pixels of the first, its corners lie one pixel
beyond the patch (x + w, not x + w - 1) and run TL, BL, BR, TR. So regbench's source, whose corners the displacement
moves, is the second image here, and offsets are converted exactly. The released code masks the full frame and crops;
a registrator sees the patch alone, so the mask is that of the patch. The released training starts its ResNet-34 from
ImageNet weights; here ``pretrained`` is false by default, because that needs a file, and ``pretrained=true`` is the
published start.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import ComponentConfig, PairInfo, Registration, Registrator, geometry
from regbench.ops import RESNET34_DEPTHS, RESNET34_WIDTHS
from regbench_registrators.blocks.resnet import Depths, Pretrained, Widths, offsets_regressor
from regbench_registrators.presets import CUDHN_PRESETS

# For 8-bit R, G, B. The authors subtract them from images that OpenCV has read, B first: their list starts with 118.93.
MEAN = (102.60, 113.97, 118.93)
DEVIATION = (72.45, 68.81, 69.85)
RELEASED_ORDER = (0, 3, 1, 2)
"""Where TL, TR, BL, BR stand among the released TL, BL, BR, TR."""


class CUDHNConfig(ComponentConfig):
    """Defaults are the released network, without its ImageNet weights (``pretrained``)."""

    feature_widths: tuple[int, ...] = Field((4, 8), description="channels of the feature net before its last layer")
    mask_widths: tuple[int, ...] = Field((4, 8, 16, 32), description="channels of the mask net before its last layer")
    strength: float = Field(0.5, gt=0, le=1, description="share of its maximum at which a mask saturates")
    depths: Depths = RESNET34_DEPTHS
    widths: Widths = RESNET34_WIDTHS
    pretrained: Pretrained = False

    presets = CUDHN_PRESETS


def one_channel_net(widths: tuple[int, ...], last: nn.Module) -> nn.Sequential:
    """3x3 convolutions with batch norm and ReLU from one channel to one; ``last`` takes the place of the last ReLU."""
    channels = (1, *widths, 1)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    layers[-1] = last
    return nn.Sequential(*layers)


class CUDHN(Registrator):
    """The released network of the CUDHN paper, for patches of any size.

    Raises:
        ValueError: ``pretrained`` at another size than ResNet-34.
        DataError: there are no ImageNet weights.
    """

    Config = CUDHNConfig
    config: CUDHNConfig
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: CUDHNConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.feature_net = one_channel_net(config.feature_widths, nn.ReLU())
        self.mask_net = one_channel_net(config.mask_widths, nn.Sigmoid())
        self.regressor = offsets_regressor(2, config.depths, config.widths, config.pretrained)
        for net in (self.feature_net, self.mask_net) if config.pretrained else (self,):
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1) / 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels."""
        masked = [self.features(image) * self.normalised(self.mask(image)) for image in (target, source)]
        offsets = self.regressor(torch.cat(masked, dim=1)).float().reshape(-1, 4, 2)
        h, w = size = (source.shape[-2], source.shape[-1])
        ordered = torch.stack([offsets[:, i] for i in RELEASED_ORDER], dim=1)
        homography = geometry.homography_from_displacement(ordered, (h + 1, w + 1))
        return Registration(geometry.displacement_from_homography(homography, size).unsqueeze(0), size)

    def grey(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to the mean of its standardised channels, ``(B, 1, H, W)``."""
        return ((image - self.mean) / self.deviation).mean(dim=1, keepdim=True)

    def features(self, image: Tensor) -> Tensor:
        """The feature map the triplet loss compares, ``(B, 1, H, W)``, at least 0; no mask applied."""
        return self.feature_net(self.grey(image))

    def mask(self, image: Tensor) -> Tensor:
        """Where to look, ``(B, 1, H, W)`` in (0, 1). Warp this; pass the outcome through :meth:`normalised`."""
        return self.mask_net(self.grey(image))

    def normalised(self, mask: Tensor) -> Tensor:
        """Scale each mask so that ``config.strength`` of its maximum, and all above, becomes 1."""
        peak = mask.amax(dim=(-3, -2, -1), keepdim=True)
        return (mask / (self.config.strength * peak)).clamp(0, 1)
