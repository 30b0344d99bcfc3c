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
        summary="SSHNet's distillation: a fresh registrator learns what a finished run (--teacher) finds",
        paper="Yu et al., SSHNet, CVPR 2025",
        requires=_TRAINS,
    )
