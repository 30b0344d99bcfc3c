"""What this distribution offers."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl

_MCNET = "regbench_registrators.mcnet:MCNet"


@hookimpl
def register_registrators(register: Any) -> None:
    """Register every registrator of this distribution."""
    register(
        "identity",
        "regbench_registrators.identity:Identity",
        summary="no motion at all: the line every method must beat",
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
        "dhn",
        "regbench_registrators.dhn:DHN",
        summary="one-shot regression from the stacked grey pair (34.2 M at 128 px)",
        paper="DeTone et al., Deep Image Homography Estimation, 2016",
        provides=("train",),
    )
