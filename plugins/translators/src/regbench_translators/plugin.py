"""What this distribution offers."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl


@hookimpl
def register_translators(register: Any) -> None:
    """Register every translator of this distribution."""
    register(
        "identity",
        "regbench_translators.identity:Identity",
        summary="the source as it is: the reference every translation is measured against",
        provides=("differentiable",),
    )
    register(
        "copy-target",
        "regbench_translators.copy_target:CopyTarget",
        summary="the unaligned target as it is: the control for translations that leak the target's geometry",
        provides=("unpaired_training",),
    )
    register(
        "mimgcd",
        "regbench_translators.mimgcd:MIMGCD",
        summary="one-step diffusion guided by a maximum index map (22 M U-Net at 128 px)",
        paper="CoLReg, sec. 3.2",
        provides=("unpaired_training", "aligned_training", "differentiable"),
    )
    register(
        "swin-unet",
        "regbench_translators.swin_unet:SwinUNet",
        summary="SSHNet's modality transfer network: a U-Net of Swin blocks (7.57 M at 128 px)",
        paper="Yu et al., SSHNet, CVPR 2025, as in its code",
        provides=("differentiable",),
    )
    register(
        "unet",
        "regbench_translators.unet:UNet",
        summary="SSHNet's convolutional modality transfer network (1.94 M)",
        paper="Yu et al., SSHNet, CVPR 2025, as in its code",
        provides=("differentiable",),
    )
