"""What this distribution offers."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl


@hookimpl
def register_registrators(register: Any) -> None:
    """Register every matcher of this distribution."""
    register(
        "sift",
        "regbench_matchers.sift:SIFT",
        summary="SIFT keypoints, ratio test, homography by MAGSAC++ (OpenCV)",
        paper="Lowe, IJCV 2004; Barath et al., MAGSAC++, CVPR 2020",
    )
