"""The entry point of this distribution: it registers the matchers."""

from __future__ import annotations

from regbench import Register, hookimpl
from regbench_matchers.blocks.vismatch_models import vismatch_names


@hookimpl
def register_registrators(register: Register) -> None:
    """Register every matcher of this distribution."""
    register(
        "ecc",
        "regbench_matchers.ecc:ECC",
        summary="enhanced correlation coefficient, homography, Gaussian pyramid (OpenCV)",
        paper="Evangelidis and Psarakis, PAMI 2008",
    )
    register(
        "edge-search",
        "regbench_matchers.edge_search:EdgeSearch",
        summary="dense search over edge orientations, no keypoints; for radar and depth beside photographs",
        paper="none; features after CFOG (Ye et al., TGRS 2019)",
    )
    register(
        "lightglue",
        "regbench_matchers.lightglue:LightGlue",
        summary="LightGlue on DISK, ALIKED, SuperPoint or SIFT keypoints (kornia; weights to be fetched)",
        paper="Lindenberger, Sarlin and Pollefeys, ICCV 2023",
    )
    register(
        "loftr",
        "regbench_matchers.loftr:LoFTR",
        summary="LoFTR, detector-free (kornia; weights to be fetched)",
        paper="Sun et al., CVPR 2021",
    )
    register(
        "orb",
        "regbench_matchers.orb:ORB",
        summary="ORB keypoints, cross-checked, homography by MAGSAC++ (OpenCV)",
        paper="Rublee et al., ICCV 2011; Barath et al., MAGSAC++, CVPR 2020",
    )
    register(
        "phase-correlation",
        "regbench_matchers.phase_correlation:PhaseCorrelation",
        summary="Fourier-Mellin: rotation, scale and translation by phase correlation",
        paper="Reddy and Chatterji, TIP 1996; Guizar-Sicairos et al., Optics Letters 2008",
    )
    register(
        "redfeat",
        "regbench_matchers.redfeat:ReDFeat",
        summary="ReDFeat: detector and descriptor learned across modalities, then matched (1.12 M)",
        paper="Deng and Ma, ReDFeat, arXiv 2205.07439, 2022",
        provides=("train",),
    )
    register(
        "rift",
        "regbench_matchers.rift:RIFT",
        summary="phase congruency keypoints, maximum index map descriptor, upright",
        paper="Li, Hu and Ai, RIFT, TIP 2020",
        control="no-training",
    )
    register(
        "rift2",
        "regbench_matchers.rift:RIFT",
        summary="RIFT with patches rotated to their main orientation",
        paper="Li et al., RIFT2, arXiv 2303.00319, 2023",
        config={"rotation": True},
    )
    register(
        "sift",
        "regbench_matchers.sift:SIFT",
        summary="SIFT keypoints, ratio test, homography by MAGSAC++ (OpenCV)",
        paper="Lowe, IJCV 2004; Barath et al., MAGSAC++, CVPR 2020",
        control="no-training",
    )
    register(
        "superpoint-superglue",
        "regbench_matchers.superpoint_superglue:SuperPointSuperGlue",
        summary="SuperPoint keypoints matched by SuperGlue (weights to be fetched)",
        paper="DeTone et al., CVPR Workshops 2018; Sarlin et al., CVPR 2020",
    )
    for name in vismatch_names():
        register(
            f"vismatch:{name}",
            "regbench_matchers.vismatch:Vismatch",
            summary=f"{name} through the package vismatch, which downloads its weights",
            config={"matcher": name},
        )
