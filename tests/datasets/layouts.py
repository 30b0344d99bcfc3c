"""The published layouts, written here as small folders of made-up pictures, and what reads them."""

import json

import cv2
import numpy as np
import torch

from regbench import geometry
from regbench_datasets.diml import DIML
from regbench_datasets.dlkfm import GoogleEarth, GoogleMap
from regbench_datasets.dpdn import DPDN
from regbench_datasets.faid import FAID
from regbench_datasets.llvip import LLVIP
from regbench_datasets.mscoco import MSCOCO
from regbench_datasets.nirscene import NIRScene
from regbench_datasets.osdataset import OSdataset
from regbench_datasets.vedai import VEDAI


def write(path, shape=(60, 60, 3), dtype=np.uint8):
    """A smooth random picture whose content follows from its path; 16-bit where asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*"/".join(path.parts[-4:]).encode()])
    image = cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 2)
    image = (image - image.min()) / (image.max() - image.min()) * np.iinfo(dtype).max
    assert cv2.imwrite(str(path), image.astype(dtype))


def reader(cls, root, **settings):
    return cls(cls.Config(**settings), root)


def llvip(root):
    for split, names in (("train", ("010001", "010002", "250001")), ("test", ("190001", "260003"))):
        for name in names:
            write(root / f"visible/{split}/{name}.jpg", (64, 80, 3))
            write(root / f"infrared/{split}/{name}.jpg", (64, 80))


def diml(root):
    for split, scenes in (("train", ("01. Cafe", "02. Hall")), ("test", ("01. Room",))):
        for scene in scenes:
            for name in ("0007", "0008"):
                write(root / f"{split}/HR/{scene}/color/{name}_c.png")
                write(root / f"{split}/HR/{scene}/depth_filled/{name}_depth_filled.png", (60, 60), np.uint16)


def nirscene(root):
    for category in ("country", "water"):
        for i in range(6):
            write(root / f"{category}/{i:04d}_rgb.tiff", (60, 90, 3))
            write(root / f"{category}/{i:04d}_nir.tiff", (60, 90))


def faid(root):
    for i in range(12):
        for kind in ("flash", "ambient"):
            write(root / f"People/People_{i:03d}_{kind}.png")


def dpdn(root):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            write(root / f"{split}/rgb/{i}.jpg")
            write(root / f"{split}/depth/{i}.jpg", (60, 60))


def osdataset(root):
    for split in ("train", "test"):
        write(root / f"256/{split}/opt1.png")
        write(root / f"256/{split}/sar1.png", (60, 60))


def vedai(root):
    for i, split in enumerate(("train", "test")):
        write(root / f"Vehicules512/{i:08d}_co.png")
        write(root / f"Vehicules512/{i:08d}_ir.png", (60, 60))
        (root / f"{split}.txt").write_text(f"{i:08d}\n")


def mscoco(root):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            write(root / f"{split}2017/{i:012d}.jpg")


def dlkfm(root, corners=((40, 30), (150, 44), (25, 170), (160, 160)), original=True):
    """Input pictures, templates made of them by the label, and the whole picture as template_original."""
    offsets = torch.tensor(corners, dtype=torch.float64) - geometry.corners((128, 128), dtype=torch.float64)
    homography = geometry.homography_from_displacement(offsets, (128, 128))
    for folder, names in (("train2014", ("0_4", "1_4", "0_5")), ("val2014", ("0", "1"))):
        for name in names:
            write(root / f"{folder}_input/{name}.jpg", (192, 192, 3))
            picture = cv2.imread(str(root / f"{folder}_input/{name}.jpg"))
            for kind in ("template", "label", "template_original"):
                (root / f"{folder}_{kind}").mkdir(exist_ok=True)
            # template(p) = input(H p)
            template = cv2.warpPerspective(
                picture, homography.numpy(), (128, 128), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )
            cv2.imwrite(str(root / f"{folder}_template/{name}.jpg"), template, [cv2.IMWRITE_JPEG_QUALITY, 98])
            if original:
                cv2.imwrite(str(root / f"{folder}_template_original/{name}.jpg"), picture)
            names_of = ("top_left", "top_right", "bottom_left", "bottom_right")
            told = [{f"{n}_u": u, f"{n}_v": v} for n, (u, v) in zip(names_of, corners, strict=True)]
            (root / f"{folder}_label/{name}_label.txt").write_text(json.dumps({"location": told}))


def read_all(dataset):
    for split in ("train", "test"):
        for key in dataset.keys(split):
            dataset.read(split, key)


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


LAYOUTS = {
    DIML: (diml, (4, 2), (192, 192), (3, 1)),
    DPDN: (dpdn, (3, 2), (192, 192), (3, 1)),
    GoogleEarth: (dlkfm, (3, 2), (192, 192), (3, 3)),
    GoogleMap: (dlkfm, (3, 2), (192, 192), (3, 3)),
    LLVIP: (llvip, (2, 1), (192, 240), (3, 1)),
}


EVERY = {**{cls: make for cls, (make, *_) in LAYOUTS.items()}, NIRScene: nirscene, FAID: faid, OSdataset: osdataset}
EVERY |= {VEDAI: vedai, MSCOCO: mscoco}
"""By reader: what writes its layout."""
