"""ResNet-34 (He et al. 2016) with new weights, whole or its first stages, at its own size or a smaller one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

RESNET34_DEPTHS = (3, 4, 6, 3)
"""Residual blocks of the four stages."""
RESNET34_WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages."""


def resnet34(
    *,
    inputs: int = 3,
    outputs: int = 0,
    depths: Sequence[int] = RESNET34_DEPTHS,
    widths: Sequence[int] = RESNET34_WIDTHS,
) -> nn.Module:
    """Stem, as many stages of basic blocks as sizes are given, average pooling and a linear layer.

    Its parts are named as in torchvision and timm: ``conv1``, ``bn1``, ``act1``, ``maxpool``, ``layer1`` and so on,
    ``fc``. The residual branches start as in torchvision's ResNet. :func:`regbench.ops.load_imagenet` fills it.

    Args:
        inputs: channels of the input.
        outputs: units of the linear layer; 0: none, the averaged features are the result.
        depths: residual blocks of the stages, two at least in all.
        widths: channels of the stages.

    Returns:
        With all four stages a module from ``(B, inputs, H, W)`` to ``(B, outputs)``; with fewer a holder of parts,
        which the caller applies.
    """
    import timm  # slow to import, and most users of the operators do without

    # timm itself would start the residual branches at zero.
    return timm.create_model(
        "resnet34",
        pretrained=False,
        in_chans=inputs,
        num_classes=outputs,
        layers=tuple(depths),
        channels=tuple(widths),
        zero_init_last=False,
    )
