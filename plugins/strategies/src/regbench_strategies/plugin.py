"""What this distribution offers."""

from __future__ import annotations

from regbench import Register, hookimpl

_TRAINS = {"registrator": ("train",)}


@hookimpl
def register_strategies(register: Register) -> None:
    """Register every strategy of this distribution."""
    register(
        "supervised",
        "regbench_strategies.supervised:Supervised",
        summary="learns from the true homography of each pair: the reference, not a contender",
        paper="DeTone et al. 2016; MCNet, CVPR 2024, sec. 4",
        requires=_TRAINS,
        control="supervised",
    )
    register(
        "self-supervised",
        "regbench_strategies.self_supervised:SelfSupervised",
        summary="the no-translator control: learns from synthetic self-pairs of both modalities",
        requires=_TRAINS,
        control="no-translator",
    )
    register(
        "contrast-randomised",
        "regbench_strategies.contrast_randomised:ContrastRandomised",
        summary="a no-translator control: self-pairs of both modalities, each image under a random contrast",
        paper="after SynthMorph (Hoffmann et al., IEEE TMI 2022), without its label maps",
        requires=_TRAINS,
        control="no-translator",
    )
    register(
        "translate",
        "regbench_strategies.translate:Translate",
        summary="a translator trained alone, put before a registrator that knows the target modality only",
        paper="CoLReg, Fig. 1(b)",
        requires={"registrator": (), "translator": ("unpaired_training",)},
    )
    register(
        "colreg",
        "regbench_strategies.colreg:CoLReg",
        summary="collaborative learning: translator and registrator teach each other, without labels",
        paper="CoLReg, Algorithm 1",
        requires={"registrator": ("train",), "translator": ("unpaired_training",)},
        published={"registrator": ("mcnet4",), "translator": ("mimgcd", "cut", "munit", "ugatit", "unsb")},
    )
    register(
        "scpnet",
        "regbench_strategies.scpnet:SCPNet",
        summary="self-supervised on both modalities, consistent on the pair, over projections of one channel",
        paper="Zhang et al., SCPNet, ECCV 2024",
        requires=_TRAINS,
        published={"registrator": ("scpnet-net",)},
    )
    register(
        "alto",
        "regbench_strategies.alto:AltO",
        summary="Barlow Twins of features, of geometry and of modality in turn",
        paper="Song et al., AltO, NeurIPS 2024",
        requires=_TRAINS,
        published={"registrator": ("dhn-resnet34", "ihn1", "rhwf1", "mcnet4")},  # the last in CoLReg's Table 4
    )
    register(
        "cudhn",
        "regbench_strategies.cudhn:CUDHN",
        summary="a triplet loss on features the network learns itself, then weighted by masks it learns",
        paper="Zhang et al., Content-Aware Unsupervised Deep Homography Estimation, ECCV 2020",
        requires={"registrator": ("train", "features")},
        published={"registrator": ("cudhn-net",)},
    )
    register(
        "bihome",
        "regbench_strategies.bihome:BiHomE",
        summary="both directions warped to smaller distance in the features of a frozen ImageNet network",
        paper="Koguciuk et al., Perceptual Loss for Robust Unsupervised Homography Estimation, CVPRW 2021",
        requires=_TRAINS,
        published={"registrator": ("dhn-resnet34", "cudhn-net")},
    )
    register(
        "nemar",
        "regbench_strategies.nemar:NeMAR",
        summary="translator and registrator learn jointly, in both orders, from one adversarial loss",
        paper="Arar et al., Unsupervised Multi-Modal Image Registration via Geometry Preserving Translation, CVPR 2020",
        requires={"registrator": ("train",), "translator": ("differentiable",)},
        published={"registrator": ()},  # it regresses affine maps and dense fields
    )
    register(
        "dfmir",
        "regbench_strategies.dfmir:DFMIR",
        summary="translator and registrator learn jointly by comparing patches and pixels, without a discriminator",
        paper="DFMIR, arXiv 2204.13656",
        requires={"registrator": ("train",), "translator": ("differentiable", "features")},
        published={"registrator": ()},  # it regresses dense fields
    )
    register(
        "sshnet",
        "regbench_strategies.sshnet:SSHNet",
        summary="jointly: a registrator from self-pairs, a transfer network from real pairs it aligns; gradients split",
        paper="Yu et al., SSHNet, CVPR 2025",
        requires={"registrator": ("train",), "translator": ("differentiable",)},
    )
    register(
        "sshnet-d",
        "regbench_strategies.sshnet_d:SSHNetD",
        summary="SSHNet's distillation: a new registrator learns the estimates of a finished run (--teacher)",
        paper="Yu et al., SSHNet, CVPR 2025",
        requires=_TRAINS,
    )
