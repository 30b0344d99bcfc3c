"""Fit the embedded data set to real pairs: ``measure`` the real ones, ``fit`` the constants, ``check`` what is frozen.

    python benchmarks/fit_embedded.py measure --data DIR > real.json
    python benchmarks/fit_embedded.py fit --real real.json --kind nir
    python benchmarks/fit_embedded.py check --real real.json

``measure`` reads the training pairs of the sets below DIR (one folder each, see ``REAL``). ``fit`` starts from the
constants of :mod:`regbench.data.synthetic.fitted` and changes those of one modality, in its memory alone, until the
statistics of ``a=optical b=KIND gap=1`` lie at those of its real counterpart: damped least squares, on the same
scenes throughout. It prints what it found. Differences are in units of a tolerance (``TOLERANCE``). Optical is fitted
first and by itself, to the mean of three sets of photographs from above. The scenes are of a seed that no board uses.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regbench.data import stats
from regbench.data.modality_stats import SCALES, measure_modalities
from regbench.data.packs.prepare import ensure
from regbench.data.synthetic import Synthetic, SyntheticConfig, fitted

REAL = {  # reader, folder, and which side the embedded B (or A, for optical) stands for
    "nir": ("vedai", "VEDAI", "b"),
    "thermal": ("llvip", "LLVIP", "b"),
    "sar": ("osdataset", "OSdataset", "b"),
    "map": ("googlemap-original", "GoogleMap", "a"),
    "depth": ("diml", "DIML", "b"),
}
PHOTOGRAPHS = (("vedai", "a"), ("osdataset", "a"), ("googlemap-original", "b"))
TOLERANCE = {
    "shared": 0.05,
    "mean": 0.03,
    "contrast": 0.015,
    "noise": math.log(1.2),
    "speckle": math.log(1.2),
    "slope": 0.2,
    "patchiness": 0.2,
    "bands": 0.04,
}
SEED = 1963


def main() -> None:
    """Run one verb."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("measure", "fit", "check"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.verb == "measure":
        told = {}
        for reader, folder, _ in REAL.values():
            pack = ensure(reader, root=args.data / folder)
            told[reader] = stats.measure(pack, "train")["modalities"]
        print(json.dumps(told, indent=1))
        return
    real = json.loads(args.real.read_text())
    for kind in args.kind or ["optical", *REAL]:
        if args.verb == "fit":
            fit(kind, targets(kind, real), args.scenes, args.steps)
        report(kind, targets(kind, real), args.scenes)


def features(kind: str, entries: list[dict[str, Any]], side: str) -> dict[str, float]:
    """What is fitted, by name: at 64 px what the sides share at both reductions and what B is like."""
    found: dict[str, float] = {}
    for entry in entries:
        where = f"{entry['patch']}/{entry['reduce']}"
        if kind != "optical":
            found |= {f"{where} {name}": entry["shared"][name] for name in ("grey", "mim", "edges")}
        if entry["reduce"] == 1:
            told = entry[side]
            found |= {f"{where} {name}": told[name] for name in ("contrast", "slope", "patchiness")}
            found[f"{where} noise"] = math.log(told["noise"] + 1e-3)
            if entry["patch"] == 64:
                found["64/1 mean"] = told["mean"]
                if kind == "sar":
                    found["64/1 speckle"] = math.log(told["speckle"])
                found |= {f"64/1 bands {i}": share for i, share in enumerate(told["bands"])}
    if kind != "optical":
        found["64/1 grey_signed"] = entries[0]["shared"]["grey_signed"]
    return found


def targets(kind: str, real: dict[str, Any]) -> dict[str, float]:
    """The features of the real counterpart; of optical, the mean over the sets of photographs."""
    if kind != "optical":
        reader, _, side = REAL[kind]
        return features(kind, real[reader], side)
    sets = [features(kind, real[reader], side) for reader, side in PHOTOGRAPHS]
    return {name: sum(found[name] for found in sets) / len(sets) for name in sets[0]}


def rendered(kind: str, scenes: int, scales: Sequence[tuple[int, int]] = SCALES) -> dict[str, float]:
    """The features of the embedded pair with the present constants."""
    b = "nir" if kind == "optical" else kind
    data = Synthetic(SyntheticConfig(a="optical", b=b, size=128, gap=1.0, seed=SEED, train=scenes))
    pairs = [data.read("train", key) for key in data.keys("train")]
    sides = []
    for images in zip(*(pair[:2] for pair in pairs), strict=True):
        grey = [image.mean(2) if image.ndim == 3 else image for image in images]
        sides.append(torch.from_numpy(np.stack(grey).astype(np.float32) / 255)[:, None])
    entries = measure_modalities([(sides[0], sides[1], torch.ones_like(sides[0]))], scales=scales)
    return features(kind, entries, "a" if kind == "optical" else "b")


def tolerance(name: str) -> float:
    """How far a feature may be off."""
    last = name.split()[1]
    return TOLERANCE.get(last, TOLERANCE["shared"])


def knobs(kind: str) -> dict[str, tuple[float, float]]:
    """The constants of a modality that are fitted, and their bounds.

    The lower bound of ``contrast`` keeps each modality a view of its own, not a copy of optical with texture.
    """
    most = 0.6 if kind == "sar" else 0.1
    found = {"offset": (-1.0, 1.0), "contrast": (0.25, 1.5), "blur": (0.3, 3.0), "noise": (0.0, most)}
    if kind == "map":  # drawn, not photographed: no texture
        return found | {"MAP_PARCELS": (0.0, 1.0)}
    found |= {"shared": (0.0, 0.2), "growth": (-0.15, 0.15)}
    if kind == "optical":
        return found | {"BUSY": (0.0, 1.2)}
    found |= {"follow": (0.0, 1.0), "private": (0.0, 0.2)}
    if kind == "sar":  # fields and roads, not clouds of growth, are what a radar image shows where it is coarse
        del found["growth"]
    own = {"depth": {"DEPTH_RELIEF": (0.0, 2.0)}, "sar": {"SAR_GRAIN": (0.3, 2.0)}}
    return found | own.get(kind, {})


def get(kind: str, name: str) -> float:
    """A constant as it is now."""
    return float(getattr(fitted, name) if name.isupper() else getattr(fitted.SENSORS[kind], name))


def put(kind: str, values: dict[str, float]) -> None:
    """Change constants for this process."""
    for name, value in values.items():
        if name.isupper():
            setattr(fitted, name, value)
        else:
            fitted.SENSORS[kind] = fitted.SENSORS[kind]._replace(**{name: value})


def fit(kind: str, wanted: dict[str, float], scenes: int, steps: int) -> None:
    """Damped least squares (Levenberg-Marquardt) with differences of a fiftieth of each constant's bounds."""
    bounds = knobs(kind)
    names = list(bounds)
    low, high = (np.array([bounds[name][i] for name in names]) for i in (0, 1))
    scale = high - low
    # Larger patches are left to check the fit; the sign is that of ``turned``, which no step this small changes.
    keys = [key for key in wanted if not key.startswith("128") and "signed" not in key]
    weight = np.array([1 / tolerance(key) for key in keys])

    def residual(x: NDArray[np.float64]) -> NDArray[np.float64]:
        put(kind, dict(zip(names, (low + x * scale).tolist(), strict=True)))
        found = rendered(kind, scenes, SCALES[:2])
        return np.clip((np.array([found[key] - wanted[key] for key in keys])) * weight, -20, 20)

    x = np.clip((np.array([get(kind, name) for name in names]) - low) / scale, 0, 1)
    r, damping = residual(x), 0.1
    for step in range(steps):
        jacobian = np.stack([_slope(residual, x, r, i) for i in range(len(x))], 1)
        for _ in range(5):
            trial = _step(x, r, jacobian, damping)
            new = residual(trial)
            if new @ new < r @ r:
                x, r, damping = trial, new, damping / 4
                break
            damping *= 4
        print(f"{kind} step {step}: rms {np.sqrt((r @ r) / len(r)):.3f} tolerances", file=sys.stderr)
    put(kind, dict(zip(names, np.round(low + x * scale, 4).tolist(), strict=True)))


def _step(
    x: NDArray[np.float64], r: NDArray[np.float64], jacobian: NDArray[np.float64], damping: float
) -> NDArray[np.float64]:
    """Where a damped step leads; constants that would leave their bounds stay there, the others move without them."""
    free = np.ones(len(x), bool)
    trial = x.copy()
    while free.any():
        part = jacobian[:, free]
        normal = part.T @ part
        fixed = jacobian[:, ~free] @ (trial - x)[~free]
        move = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-3), -part.T @ (r + fixed))
        trial[free] = x[free] + np.clip(move, -0.25, 0.25)
        outside = (trial < 0) | (trial > 1)
        if not outside.any():
            break
        trial = np.clip(trial, 0, 1)
        free &= ~outside
    return trial


def _slope(
    residual: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    x: NDArray[np.float64],
    at: NDArray[np.float64],
    i: int,
) -> NDArray[np.float64]:
    step = np.zeros_like(x)
    step[i] = 1 / 50 if x[i] < 0.5 else -1 / 50
    return (residual(x + step) - at) / step[i]


def report(kind: str, wanted: dict[str, float], scenes: int) -> None:
    """Print the constants and how far the pair is from its counterpart."""
    found = rendered(kind, scenes)
    print(kind, fitted.SENSORS[kind], {n: get(kind, n) for n in knobs(kind) if n.isupper()})
    total = 0.0
    for name, value in wanted.items():
        off = (found[name] - value) / tolerance(name)
        total += off * off
        print(f"  {name:<18} real {value:8.3f}  embedded {found[name]:8.3f}  {off:+.1f}")
    print(f"  {kind}: rms {math.sqrt(total / len(wanted)):.2f} tolerances")


if __name__ == "__main__":
    main()
