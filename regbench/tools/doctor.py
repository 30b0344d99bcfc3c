"""Checks of the installation."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions

import torch

from regbench import __version__
from regbench.data.packs.prepare import data_dir
from regbench.installed import OFFICIAL, canonical
from regbench.plugins.registry import ENV_LOAD, registry
from regbench.threads import load
from regbench.weights.unpickling import LEAST_TORCH, torch_is_safe


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Look at Python, torch, how busy the machine is, OpenCV, plugins, their versions and the data folder."""
    return [_python(), _torch(), _load(), _opencv(), *_plugins(), _official(), _data()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _torch() -> Finding:
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found = f"{torch.__version__}, {torch.get_num_threads()} threads, {', '.join(devices) or 'no GPU'}"
    least = ".".join(map(str, LEAST_TORCH))
    return Finding("torch", torch_is_safe(), found if torch_is_safe() else f"{found}; {least} or newer is needed")


def _load() -> Finding:
    found = load()
    if found is None:
        return Finding("load", True, "not counted on this system")
    wanting, cores = found
    detail = f"{wanting:.1f} processes want {cores} core{'s' if cores > 1 else ''}"
    if wanting > cores:
        detail += ": busy. Runs take longer than the docs say, and timings mislead; start fewer runs at once"
    return Finding("load", True, detail)  # a busy machine is no fault of the installation


def _opencv() -> Finding:
    # Several wheels own the module cv2; with two installed, which one is imported is chance.
    try:
        wheels = sorted({name for name in packages_distributions().get("cv2", []) if isinstance(name, str)})
    except Exception:  # a distribution without metadata, which another finding names
        wheels = []
    if len(wheels) > 1:
        return Finding("opencv", False, f"{' and '.join(wheels)} both own cv2; uninstall all but one")
    import cv2

    ok = hasattr(cv2, "SIFT_create") and hasattr(cv2, "USAC_MAGSAC")
    return Finding("opencv", ok, f"{cv2.__version__} from {', '.join(wheels) or 'an unknown wheel'}")


_WAY_OUT = (
    f"where one hangs or ends the process, {ENV_LOAD}= starts without any, {ENV_LOAD}=NAME,NAME with those named, and "
    "--plugins-timeout SECONDS (or REGBENCH_PLUGINS_TIMEOUT) gives up on one that takes longer"
)


def _plugins() -> list[Finding]:
    """Each plugin, the broken ones with what to do, then how to start without them."""
    found = [
        Finding(
            f"plugin {p.name}",
            p.status == "ok",
            f"{p.reason}; update, repair or uninstall {p.distribution} {p.version}"
            if p.reason
            else f"{len(p.components)} components of {p.distribution} {p.version}",
        )
        for p in registry().plugins
    ]
    chosen = os.environ.get(ENV_LOAD)
    loaded = "all that are installed" if chosen is None else f"{chosen or 'none'}, as {ENV_LOAD} says"
    return [*found, Finding("plugins loaded", True, f"{loaded}; {_WAY_OUT}")]


def _official() -> Finding:
    """Whether the official distributions are there, of the harness's own version: they are released together."""
    loaded = {canonical(p.distribution): p.version for p in registry().plugins}
    others = {name: version for name, version in loaded.items() if name in OFFICIAL and version != __version__}
    if others:
        listed = ", ".join(f"{name} {version}" for name, version in sorted(others.items()))
        told = f"regbench is {__version__}, but {listed}; install all of one version: pip install -U 'regbench[all]'"
        return Finding("versions", False, told)
    missing = sorted(OFFICIAL - set(loaded))
    if "regbench-registrators" in missing and os.environ.get(ENV_LOAD) is None:
        told = f"{', '.join(missing)} not installed, so there is no network to train; pip install 'regbench[all]'"
        return Finding("versions", False, told)
    told = f"; not installed or not loaded: {', '.join(missing)}" if missing else ""
    return Finding("versions", True, f"regbench {__version__} and its plugins are of one version{told}")


def _data() -> Finding:
    folder = data_dir()
    existing = next(p for p in [folder.absolute(), *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK)
    return Finding("data folder", writable and free > 0.5, f"{folder}, {free:.1f} GiB free, writable: {writable}")
