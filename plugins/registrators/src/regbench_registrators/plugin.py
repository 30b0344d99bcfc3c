"""What this distribution offers."""

from __future__ import annotations

from regbench import Register, hookimpl

_MCNET = "regbench_registrators.mcnet:MCNet"
_IHN = "regbench_registrators.ihn:IHN"
_RHWF = "regbench_registrators.rhwf:RHWF"


@hookimpl
def register_registrators(register: Register) -> None:
    """Register every registrator of this distribution."""
    register(
        "identity",
        "regbench_registrators.identity:Identity",
        summary="no motion at all: the line every method must beat",
        control="identity",
    )
    register(
        "mcnet",
        _MCNET,
        summary="multiscale correlation, 3 scales x 2 iterations (0.85 M at 128 px)",
        paper="Zhu et al., MCNet, CVPR 2024",
        provides=("train", "features"),
    )
    register(
        "mcnet4",
        _MCNET,
        summary="MCNet with a fourth, coarser scale, as CoLReg uses it (1.20 M at 128 px)",
        paper="CoLReg, sec. 4.1.4",
        config={"scales": 4},
        provides=("train", "features"),
    )
    register(
        "ihn",
        _IHN,
        summary="iterative all-pairs correlation lookup, 2 scales, 6 + 3 iterations (1.72 M at 128 px)",
        paper="Cao et al., Iterative Deep Homography Estimation, CVPR 2022",
        provides=("train", "features"),
    )
    register(
        "ihn1",
        _IHN,
        summary="IHN with one scale, 6 iterations (1.31 M at 128 px)",
        paper="Cao et al., Iterative Deep Homography Estimation, CVPR 2022",
        config={"scales": 1, "finest": 4},
        provides=("train", "features"),
    )
    register(
        "ihn-lite",
        _IHN,
        summary="the one-scale IHN that SSHNet trains (0.76 M at 128 px)",
        paper="the estimator of SSHNet, CVPR 2025, as in its code",
        config={
            "scales": 1,
            "finest": 4,
            "decoder": "sshnet",
            "decoder_widths": (64, 64),
            "signed": False,
            "detach_lookup": True,
            "gamma": 0.8,
        },
        provides=("train", "features"),
    )
    register(
        "scpnet-net",
        "regbench_registrators.ihn:SingleShot",
        summary="the estimator of SCPNet: IHN with one scale that estimates once (1.31 M at 128 px)",
        paper="Zhang et al., SCPNet, ECCV 2024",
        provides=("train", "features"),
    )
    register(
        "rhwf",
        _RHWF,
        summary="focus transformer over recurrently warped images, 2 scales x 6 iterations (1.29 M at 128 px)",
        paper="Cao et al., Recurrent Homography Estimation (RHWF), CVPR 2023",
        provides=("train", "features"),
    )
    register(
        "rhwf1",
        _RHWF,
        summary="RHWF with one scale, 6 iterations (0.93 M at 128 px)",
        paper="Cao et al., Recurrent Homography Estimation (RHWF), CVPR 2023",
        config={"scales": 1, "finest": 4},
        provides=("train", "features"),
    )
    register(
        "mhn",
        "regbench_registrators.mhn:MHN",
        summary="three levels of direct regression, the source warped between them (2.57 M at 128 px)",
        paper="Le et al., Deep Homography Estimation for Dynamic Scenes, CVPR 2020",
        provides=("train",),
    )
    register(
        "dhn",
        "regbench_registrators.dhn:DHN",
        summary="one-shot regression from the stacked grey pair (34.2 M at 128 px)",
        paper="DeTone et al., Deep Image Homography Estimation, 2016",
        provides=("train",),
    )
    register(
        "dhn-resnet34",
        "regbench_registrators.dhn_resnet:DHNResNet",
        summary="a ResNet-34 in the place of DHN's network, as AltO and biHomE use it (21.3 M)",
        paper="the registrator of AltO, NeurIPS 2024, as in its code",
        provides=("train",),
    )
    register(
        "cudhn-net",
        "regbench_registrators.cudhn:CUDHN",
        summary="the network of CUDHN: masked one-channel features, then a ResNet-34 (21.3 M)",
        paper="Zhang et al., Content-Aware Unsupervised Deep Homography Estimation, ECCV 2020",
        provides=("train", "features"),
    )
