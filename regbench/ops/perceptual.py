"""Perceptual distance of two images: how far apart the features of a fixed network lie (LPIPS, Zhang et al. 2018).

Features of several depths are scaled to unit length at every pixel; their squared differences are weighted by channel,
summed over channels, averaged over pixels and summed over depths. Three networks are offered, all frozen:

* :func:`lpips_vgg16`: the published LPIPS, VGG-16 with learned channel weights;
* :func:`timm_features`: any backbone of timm that offers features, every channel counted alike;
* :func:`random_features`: a narrow VGG with seeded random weights, for tests and short runs: it needs no file, and its
  distances are those of textures, not of what ImageNet taught.

Published weights are read from local files and never downloaded; the attribute ``source`` states which network and
which files were used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.errors import DataError, UsageError
from regbench.weights.published import hub_cache, in_hugging_face_cache, read_published

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""3x3 convolutions of each block of VGG-16; a pooling lies between blocks."""
VGG16_WIDTHS = (64, 128, 256, 512, 512)
RANDOM_WIDTHS = (16, 32, 64, 64, 64)
_IN_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # where `features` holds the convolutions
VGG16_KEYS = {
    f"features.{at}.{kind}": f"convolutions.{i}.{kind}"
    for i, at in enumerate(_IN_TORCHVISION)
    for kind in ("weight", "bias")
}
"""Keys of torchvision's ``vgg16-397923af.pth`` to those of :class:`VGG`; its classifier is not needed."""
LPIPS_KEYS = {f"lin{i}.model.1.weight": f"{i}" for i in range(len(CONVOLUTIONS))}
"""Keys of the channel weights in the file ``weights/v0.1/vgg.pth`` of the package lpips, ``(1, C, 1, 1)`` each."""
VGG16_FILE, LPIPS_FILE = "vgg16-397923af.pth", "vgg.pth"
# LPIPS scales images of [-1, 1] by these; they are ImageNet's for [0, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_IMAGENET = tuple((1 + s) / 2 for s in _SHIFT), tuple(s / 2 for s in _SCALE)
Range = Literal["unit", "signed"]


class VGG(nn.Module):
    """The convolutions of VGG-16.

    Args:
        widths: channels of the five blocks.
    """

    def __init__(self, widths: Sequence[int] = VGG16_WIDTHS) -> None:
        super().__init__()
        channels = [3, *(w for w, count in zip(widths, CONVOLUTIONS, strict=True) for _ in range(count))]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)``, H and W at least 16, to the last map of each block (relu1_2, 2_2, 3_3, 4_3, 5_3)."""
        layers = iter(self.convolutions)
        maps: list[Tensor] = []
        for count in CONVOLUTIONS:
            x = F.max_pool2d(x, 2) if maps else x
            for _ in range(count):
                x = F.relu(next(layers)(x))
            maps.append(x)
        return maps


class Perceptual(nn.Module):
    """Distance of two images in the features of a frozen network.

    Args:
        network: ``(B, 3, H, W)`` to a sequence of maps ``(B, C, h, w)``.
        source: name and files of the network, for result files.
        mean: subtracted from images of [0, 1], a number a channel.
        deviation: divides them.
        weights: a weight for every channel of every map, ``(1, C, 1, 1)``; None counts all alike, by one.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        source: Mapping[str, Any],
        mean: Sequence[float],
        deviation: Sequence[float],
        weights: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.source = dict(source)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        self._weighted = weights is not None
        for i, weight in enumerate(weights or ()):
            self.register_buffer(f"weight{i}", weight)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Perceptual:
        """Stay in evaluation mode: the network is a ruler, not something that learns."""
        return super().train(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances ``(B,)``, not negative, of images ``(B, 3, H, W)`` in [0, 1]; gradients reach both."""
        both = (torch.cat([first, second]) - self.mean) / self.deviation
        total = first.new_zeros(len(first))
        for i, features in enumerate(self.network(both)):
            # vector_norm's gradient is zero where all features are; that of a square root would not be a number.
            length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
            a, b = (features / (length + 1e-10)).chunk(2)
            difference = (a - b).square()
            if self._weighted:
                difference = difference * self.get_buffer(f"weight{i}")
            total = total + difference.sum(dim=1).mean(dim=(1, 2))
        return total


def lpips_vgg16(folder: Path | None = None, image_range: Range = "signed") -> Perceptual:
    """LPIPS 0.1 on VGG-16, as the package ``lpips`` computes it.

    Args:
        folder: holds ``vgg16-397923af.pth`` (torchvision) and ``vgg.pth`` (``weights/v0.1`` of the package lpips). None
            looks in torch.hub's cache, and for the second file in that package where it is installed.
        image_range: ``signed`` brings images to [-1, 1], which LPIPS was made for; ``unit`` feeds [0, 1] as it is,
            which is what a call of the package with images of [0, 1] amounts to.

    Raises:
        DataError: a file is missing, broken or of something else; the message says which one to put where.
    """
    network_file, weights_file = lpips_files(folder)
    network = _hollow(VGG16_WIDTHS)
    network.load_state_dict(_renamed(network_file, VGG16_KEYS, network.state_dict()), assign=True)
    shapes = {str(i): torch.empty(1, width, 1, 1) for i, width in enumerate(VGG16_WIDTHS)}
    weights = _renamed(weights_file, LPIPS_KEYS, shapes)
    mean, deviation = _IMAGENET if image_range == "signed" else (_SHIFT, _SCALE)
    source = {
        "backend": "lpips-vgg16",
        "image_range": image_range,
        "files": [_described(network_file), _described(weights_file)],
    }
    return Perceptual(network, source, mean, deviation, [weights[str(i)] for i in range(len(weights))])


def lpips_files(folder: Path | None = None) -> tuple[Path, Path]:
    """The two files that :func:`lpips_vgg16` reads, of the network and of LPIPS; raises DataError as it does."""
    places = [folder] if folder else [hub_cache()]
    network_file = _first_file(VGG16_FILE, places, "torchvision, https://download.pytorch.org/models/" + VGG16_FILE)
    package = find_spec("lpips") if folder is None else None
    if package is not None and package.origin is not None:
        places.append(Path(package.origin).parent / "weights" / "v0.1")
    return network_file, _first_file(LPIPS_FILE, places, f"weights/v0.1/{LPIPS_FILE} of the package lpips")


def random_features(seed: int = 0, widths: Sequence[int] = RANDOM_WIDTHS) -> Perceptual:
    """A VGG whose weights are drawn from ``seed`` (He et al. 2015) with no bias; needs no file."""
    generator = torch.Generator().manual_seed(seed)
    network = _hollow(widths)
    tensors = {name: torch.zeros(hollow.shape) for name, hollow in network.state_dict().items()}
    for name, tensor in tensors.items():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(tensor, nonlinearity="relu", generator=generator)
    network.load_state_dict(tensors, assign=True)
    return Perceptual(network, {"backend": "random", "seed": seed, "widths": list(widths)}, *_IMAGENET)


def timm_features(name: str, file: Path | None = None) -> Perceptual:
    """Features of a backbone of timm, with its published weights.

    Args:
        name: as timm knows it, such as ``resnet50.a1_in1k``.
        file: its weights, ``model.safetensors`` or a ``.pth`` file. None looks in the Hugging Face cache.

    Raises:
        UsageError: timm is not installed, or knows no such backbone.
        DataError: there are no weights; the message says which file to put where.
    """
    config, file = _timm_backbone(name, file)
    import timm

    overlay = {"state_dict": read_published(file)}
    try:
        # With features_only timm takes whatever fits and draws the rest at random: the whole model is the check.
        timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        network = timm.create_model(name, pretrained=True, features_only=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError, AttributeError) as error:
        raise DataError(f"{file}: are no weights of {name}: {' '.join(str(error).split())[:300]}") from error
    source = {"backend": f"timm:{name}", "files": [_described(file)]}
    return Perceptual(network, source, config.mean, config.std)


def timm_file(name: str, file: Path | None = None) -> Path:
    """The file that :func:`timm_features` reads; raises as it does."""
    return _timm_backbone(name, file)[1]


def _timm_backbone(name: str, file: Path | None) -> tuple[Any, Path]:
    """What timm knows of a backbone, and the file of its weights."""
    if find_spec("timm") is None:
        raise UsageError(f"features of {name} need timm: pip install timm")
    import timm

    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise UsageError(f"timm has no backbone {name!r}: {error}") from error
    if config is None or not timm.is_model(name):
        raise UsageError(f"timm has no backbone {name!r}; timm.list_pretrained() names them")
    file = file or in_hugging_face_cache(config.hf_hub_id)
    if file is None or not file.is_file():
        where = f"{file}: no such file" if file else f"{name} has no weights in the Hugging Face cache"
        raise DataError(f"{where}: get model.safetensors of {config.hf_hub_id or name} and name it")
    return config, file


def _hollow(widths: Sequence[int]) -> VGG:
    """A VGG on the meta device, to be filled: no weights are drawn from the global generator in vain."""
    with torch.device("meta"):
        return VGG(widths)


def _first_file(name: str, places: Sequence[Path], origin: str) -> Path:
    for place in places:
        if (place / name).is_file():
            return place / name
    raise DataError(
        f"{places[0] / name}: no such file; LPIPS needs it. Nothing is downloaded: get it from {origin} and put it "
        "there, or name the folder that holds it"
    )


def _renamed(file: Path, keys: Mapping[str, str], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file under our names; raises DataError unless all exist in the expected shapes."""
    tensors = read_published(file)
    renamed = {}
    for theirs, ours in keys.items():
        if theirs not in tensors:
            raise DataError(f"{file}: has no {theirs}; it is not the published file")
        if tensors[theirs].shape != expected[ours].shape:
            shapes = f"{tuple(tensors[theirs].shape)}, not {tuple(expected[ours].shape)}"
            raise DataError(f"{file}: {theirs} is {shapes}; it is not the published file")
        renamed[ours] = tensors[theirs].float()
    return renamed


def _described(file: Path) -> dict[str, str]:
    with file.open("rb") as content:
        return {"name": file.name, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
