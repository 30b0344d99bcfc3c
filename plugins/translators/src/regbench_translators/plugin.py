"""The entry point of this distribution: it registers the translators."""

from __future__ import annotations

from regbench import Register, hookimpl


@hookimpl
def register_translators(register: Register) -> None:
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
        control="no-translation",
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
    trainable = ("unpaired_training", "differentiable")
    with_features = (*trainable, "features")
    register(
        "cyclegan",
        "regbench_translators.cyclegan:CycleGAN",
        summary="two generators that undo each other (11.4 M each)",
        paper="Zhu et al. 2017",
        provides=with_features,
    )
    register(
        "cut",
        "regbench_translators.cut:CUT",
        summary="one generator, patches of the translation compared with those of the input (11.4 M)",
        paper="Park et al. 2020",
        provides=with_features,
    )
    register(
        "fastcut",
        "regbench_translators.cut:CUT",
        summary="CUT without the identity half, mirrored half of the time, at half the schedule",
        paper="Park et al. 2020",
        config={
            "steps": 266_800,
            "decay": 0.25,
            "nce_identity": False,
            "lambda_nce": 10.0,
            "flip_equivariance": True,
        },
        provides=with_features,
    )
    register(
        "unsb",
        "regbench_translators.unsb:UNSB",
        summary="Schroedinger bridge of five times, walked by one generator (13.5 M)",
        paper="Kim et al. 2024",
        provides=with_features,
    )
    register(
        "munit",
        "regbench_translators.munit:MUNIT",
        summary="content of the source, style of the target (15.0 M a modality)",
        paper="Huang et al. 2018",
        provides=trainable,
    )
    register(
        "ugatit",
        "regbench_translators.ugatit:UGATIT",
        summary="attention by class activation maps and adaptive norms (77.6 M a generator at 128 px)",
        paper="Kim et al. 2020",
        provides=trainable,
    )
    register(
        "ugatit-light",
        "regbench_translators.ugatit:UGATIT",
        summary="U-GAT-IT whose norms are read from means (10.6 M a generator, any size)",
        paper="Kim et al. 2020",
        config={"light": True},
        provides=trainable,
    )
