"""Provenance of a result: code, libraries, machine and command line. Nothing here is part of a run's identity."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from regbench.installed import versions

_LIBRARIES = {
    "torch": ("torch",),
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "kornia": ("kornia",),
    "timm": ("timm",),
    "h5py": ("h5py",),
}


def collect(argv: Sequence[str] | None = None, device: str | None = None) -> dict[str, Any]:
    """Collect provenance, without names of folders or users of this machine.

    Args:
        argv: the command line; default ``sys.argv``. Absolute paths are cut to their last part.
        device: the type of the device that computed, such as ``cpu``.

    Returns:
        ``git`` (commit and whether the tree differs from it; None outside a checkout), ``versions``,
        ``distributions`` (regbench and its plugins), ``os``, ``cpu`` (model, cores, threads used), ``gpu``
        (name and driver of each), ``device`` (as given), ``tf32`` (see :func:`tf32`), ``argv`` and ``utc``.
    """
    return {
        "git": git_state(Path(__file__).parents[2]),
        "versions": _versions(),
        "distributions": _distributions(),
        "os": _os(),
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count(), "threads": _threads()},
        "gpu": _gpus(),
        "device": device,
        "tf32": tf32(),
        "argv": [without_folders(part) for part in (sys.argv if argv is None else argv)],
        "utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def tf32() -> dict[str, Any] | None:
    """Whether a GPU may round float32 products of matrices and convolutions to TensorFloat-32; None without torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return {"matmul": torch.get_float32_matmul_precision() != "highest", "cudnn": torch.backends.cudnn.allow_tf32}


def git_state(tree: Path) -> dict[str, Any] | None:
    """Commit of a source tree and whether it has changes; None where there is no checkout or no git."""
    if not (tree / ".git").exists():
        return None
    commit = _output("git", "-C", str(tree), "rev-parse", "HEAD")
    status = _output("git", "-C", str(tree), "status", "--porcelain", "--untracked-files=no")
    return None if not commit else {"commit": commit, "dirty": bool(status)}


def without_folders(argument: str) -> str:
    """An argument (``/data/x`` or ``--out=/data/x``) with an absolute path cut to its last part."""
    name, equals, value = argument.rpartition("=")
    for path in (PurePosixPath(value), PureWindowsPath(value)):
        if path.is_absolute():
            return name + equals + path.name
    return argument


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name, distributions in _LIBRARIES.items():
        versions[name] = next((v for d in distributions if (v := _version(d))), None)
    try:
        import torch

        backend: Any = torch.backends.cudnn  # not annotated by torch
        versions["cuda"] = torch.version.cuda
        versions["cudnn"] = str(backend.version()) if backend.is_available() else None
    except ImportError:
        versions["cuda"] = versions["cudnn"] = None
    return versions


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _distributions() -> dict[str, str]:
    return dict(sorted(versions().items()))


def _os() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError, AttributeError):
        name = f"{platform.system()} {platform.release()}"
    return f"{name} ({platform.machine()})"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None


def _gpus() -> list[dict[str, str]]:
    listed = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") or ""
    rows = (line.rpartition(",") for line in listed.splitlines())
    return [{"name": name.strip(), "driver": driver.strip()} for name, _, driver in rows if name]


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
