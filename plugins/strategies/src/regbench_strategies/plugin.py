"""What this distribution offers."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl

_TRAINS = {"registrator": ("train",)}


@hookimpl
def register_strategies(register: Any) -> None:
    """Register every strategy of this distribution."""
    register(
        "supervised",
        "regbench_strategies.supervised:Supervised",
        summary="learns from the true homography of each pair: the reference, not a contender",
        paper="DeTone et al. 2016; MCNet, CVPR 2024, sec. 4",
        requires=_TRAINS,
    )
    register(
        "self-supervised",
        "regbench_strategies.self_supervised:SelfSupervised",
        summary="the no-translator control: learns from synthetic self-pairs of both modalities",
        requires=_TRAINS,
    )
