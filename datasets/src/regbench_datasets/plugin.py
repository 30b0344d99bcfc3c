"""What this distribution registers; imports no reader."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl


@hookimpl
def register_datasets(register: Any) -> None:
    """Published sets, and a reader for your own."""
    at = "regbench_datasets."
    register(
        "folder",
        at + "folder:Folder",
        summary="your own pairs: two folders matched by file name, or a CSV of pairs",
    )
    register(
        "mscoco",
        at + "mscoco:MSCOCO",
        summary="single photographs, the pair is made of one image",
        paper="Lin et al., ECCV 2014",
    )
    register(
        "osdataset",
        at + "osdataset:OSdataset",
        summary="optical and SAR satellite images of towns, 1 m (CoLReg's SAR_Opt_OS)",
        paper="Xiang et al., 2020",
    )
    register(
        "vedai",
        at + "vedai:VEDAI",
        summary="aerial RGB and near infrared, 25 cm (CoLReg's RGB_IR_AI)",
        paper="Razakarivony and Jurie, 2016",
    )
