"""What this distribution offers."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl


@hookimpl
def register_registrators(register: Any) -> None:
    """Register every matcher of this distribution."""
    register(
        "ecc",
        "regbench_matchers.ecc:ECC",
        summary="enhanced correlation coefficient, homography, Gaussian pyramid (OpenCV)",
        paper="Evangelidis and Psarakis, PAMI 2008",
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
        "rift",
        "regbench_matchers.rift:RIFT",
        summary="phase congruency keypoints, maximum index map descriptor, upright",
        paper="Li, Hu and Ai, RIFT, TIP 2020",
    )
    register(
        "rift2",
        "regbench_matchers.rift:RIFT",
        summary="RIFT whose patches are turned to their main orientation",
        paper="Li et al., RIFT2, arXiv 2303.00319, 2023",
        config={"rotation": True},
    )
    register(
        "sift",
        "regbench_matchers.sift:SIFT",
        summary="SIFT keypoints, ratio test, homography by MAGSAC++ (OpenCV)",
        paper="Lowe, IJCV 2004; Barath et al., MAGSAC++, CVPR 2020",
    )
