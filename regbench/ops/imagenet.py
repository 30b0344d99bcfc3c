"""ImageNet weights of a ResNet-34, read from a local file; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from regbench.errors import DataError
from regbench.weights.published import hub_cache, in_hugging_face_cache, read_published

TORCHVISION = ("resnet34-b627a593.pth", "resnet34-333f7ec4.pth")
"""Names of torchvision's file: in current and in older releases."""
TIMM = "timm/resnet34.tv_in1k"
"""The same weights on the Hugging Face hub."""


def load_imagenet(network: nn.Module, file: str | Path | None = None, new: tuple[str, ...] = ()) -> Path:
    """Fill a ResNet-34, or its first stages, with the weights torchvision trained on ImageNet.

    Args:
        network: its parts are named ``conv1``, ``bn1``, ``layer1`` and so on, as torchvision and timm do.
        file: the published file, ``.pth`` or ``.safetensors``. None looks in torch.hub's cache and in that of the
            Hugging Face hub.
        new: names of layers that keep the weights they have, such as ``("conv1", "fc")``.

    Returns:
        The file the weights were read from.

    Raises:
        DataError: there is no file, or it does not fit the network; says what to put where.
    """
    path = imagenet_file(file)
    tensors = read_published(path)
    wanted = {key: value for key, value in network.state_dict().items() if key.rpartition(".")[0] not in new}
    # Old files lack the counters of batch norm, which nothing reads.
    absent = [key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]
    shapes = [key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape]
    if absent or shapes:
        raise DataError(f"{path}: is no ResNet-34 of this size: {(absent or shapes)[0]} is missing or of another shape")
    network.load_state_dict({key: tensors[key] for key in wanted if key in tensors}, strict=False)
    return path


def imagenet_file(file: str | Path | None = None) -> Path:
    """The file that :func:`load_imagenet` reads; raises DataError where there is none."""
    if file is not None:
        file = Path(file).expanduser()
        if not file.is_file():
            raise DataError(f"{file}: no such file; name {TORCHVISION[0]}, torchvision's ResNet-34 of ImageNet")
        return file
    for name in TORCHVISION:
        if (hub_cache() / name).is_file():
            return hub_cache() / name
    if (path := in_hugging_face_cache(TIMM)) is not None:
        return path
    raise DataError(
        f"no ImageNet weights of ResNet-34 here and nothing is downloaded: put torchvision's {TORCHVISION[0]} into "
        f"{hub_cache()}, or name the file"
    )
