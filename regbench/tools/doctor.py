"""Checks of the installation."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions

import torch

from regbench.data.packs.prepare import data_dir
from regbench.plugins.registry import registry


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Look at Python, torch, OpenCV, plugins and the data folder."""
    return [_python(), _torch(), _opencv(), *_plugins(), _data()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _torch() -> Finding:
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding(
        "torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads, {', '.join(devices) or 'no GPU'}"
    )


def _opencv() -> Finding:
    # Several wheels own the module cv2; with two installed, which one is imported is chance.
    wheels = sorted(set(packages_distributions().get("cv2", [])))
    if len(wheels) > 1:
        return Finding("opencv", False, f"{' and '.join(wheels)} both own cv2; uninstall all but one")
    import cv2

    ok = hasattr(cv2, "SIFT_create") and hasattr(cv2, "USAC_MAGSAC")
    return Finding("opencv", ok, f"{cv2.__version__} from {', '.join(wheels) or 'an unknown wheel'}")


def _plugins() -> list[Finding]:
    return [
        Finding(
            f"plugin {p.name}",
            p.status == "ok",
            p.reason or f"{len(p.components)} components of {p.distribution} {p.version}",
        )
        for p in registry().plugins
    ]


def _data() -> Finding:
    folder = data_dir()
    existing = next(p for p in [folder.absolute(), *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK)
    return Finding("data folder", writable and free > 0.5, f"{folder}, {free:.1f} GiB free, writable: {writable}")
