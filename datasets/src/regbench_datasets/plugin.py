"""What this distribution registers; imports no reader."""

from __future__ import annotations

from regbench import Register, hookimpl


@hookimpl
def register_datasets(register: Register) -> None:
    """Published sets, and a reader for your own."""
    at = "regbench_datasets."
    register(
        "diml",
        at + "diml:DIML",
        summary="colour and 16-bit depth of rooms (CoLReg's Depth_VIS)",
        paper="Cho et al., 2021",
    )
    register(
        "dpdn",
        at + "dpdn:DPDN",
        summary="rendered colour and depth, in SSHNet's layout",
        paper="Riegler et al., BMVC 2016",
    )
    register(
        "faid",
        at + "faid:FAID",
        summary="photographs with flash and in ambient light",
        paper="Aksoy et al., ECCV 2018",
    )
    register(
        "folder",
        at + "folder:Folder",
        summary="your own pairs: two folders, trainA/trainB/testA/testB, or a CSV of pairs",
    )
    register(
        "googleearth",
        at + "dlkfm:GoogleEarth",
        summary="satellite photographs of two dates, unaligned, with labels",
        paper="Zhao et al. (DLKFM), CVPR 2021",
    )
    register(
        "googlemap",
        at + "dlkfm:GoogleMap",
        summary="street map and satellite photograph, unaligned, with labels",
        paper="Zhao et al. (DLKFM), CVPR 2021",
    )
    register(
        "googlemap-original",
        at + "dlkfm:GoogleMap",
        summary="the aligned images of googlemap, for pairs made here (SSHNet, SCPNet)",
        paper="Zhao et al. (DLKFM), CVPR 2021",
        config={"pairs": "original"},
    )
    register(
        "llvip",
        at + "llvip:LLVIP",
        summary="visible and thermal streets at night (CoLReg's VIS_IR_LowLight)",
        paper="Jia et al., ICCVW 2021",
    )
    register(
        "mscoco",
        at + "mscoco:MSCOCO",
        summary="single photographs, the pair is made of one image",
        paper="Lin et al., ECCV 2014",
    )
    register(
        "nirscene",
        at + "nirscene:NIRScene",
        summary="EPFL RGB-NIR: colour and near infrared photographs (nirscene1)",
        paper="Brown and Süsstrunk, CVPR 2011",
    )
    register(
        "osdataset",
        at + "osdataset:OSdataset",
        summary="optical and SAR satellite images of towns, 1 m (CoLReg's SAR_Opt_OS)",
        paper="Xiang et al., 2020",
    )
    register(
        "pdscoco",
        at + "mscoco:MSCOCO",
        summary="PDS-COCO: mscoco with the colours of either image distorted anew (biHomE)",
        paper="Koguciuk et al. (biHomE), CVPRW 2021",
        config={"distortion": "pds", "fit": "crop"},
    )
    register(
        "vedai",
        at + "vedai:VEDAI",
        summary="aerial RGB and near infrared, 25 cm (CoLReg's RGB_IR_AI)",
        paper="Razakarivony and Jurie, 2016",
    )
