"""Two images of one's own, aligned: error, seconds, peak memory and confidence, in Python and on the command line.

Pairs are made from aligned pairs of published sets: the source is kept, the target is moved by a drawn homography,
enlarged, and stored with the depth that its sensor has. Each pair is aligned in a process of its own, whose memory is
measured. Misalignment left in the data (a pixel or so) counts as error.

    python benchmarks/own_images.py --data DATA [--methods auto,sift] [--only nir,depth] [--seeds 2] [--command]
    python benchmarks/own_images.py --large 4000 12000        # drawn scenes, no data needed

``--data`` names a folder that holds VEDAI, DIML, OSdataset and LLVIP in their published layouts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from tabulate import tabulate

Image = NDArray[Any]
Matrix = NDArray[np.float64]


class Made(NamedTuple):
    source: Image
    target: Image
    truth: Matrix
    """Source pixels to target pixels."""


def turned(source: Image, target: Image, reach: float, rng: np.random.Generator, larger: float = 1.0) -> Made:
    """The pair with the target's corners moved by up to ``reach`` px, then ``larger`` times as large."""
    h, w = source.shape[:2]
    corners = np.float32([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]])
    moved = (corners + rng.uniform(-reach, reach, (4, 2))).astype(np.float32)
    truth = scaled(larger) @ cv2.getPerspectiveTransform(corners, moved).astype(np.float64)
    size = (round(w * larger), round(h * larger))
    seen = cv2.warpPerspective(target, truth, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    return Made(source, seen, truth / truth[2, 2])


def scaled(factor: float) -> Matrix:
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1.0]])


def some(folder: Path, pattern: str, seed: int) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        sys.exit(f"{folder}: nothing like {pattern}")
    return found[(seed * 7 + 3) % len(found)]


def read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        sys.exit(f"{path} cannot be read")
    return image


def nir(data: Path, seed: int, rng: np.random.Generator, larger: float = 1.0) -> Made:
    path = some(data / "VEDAI/Vehicules512", "0*_ir.png", seed)
    infrared = read(path)
    infrared = infrared if infrared.ndim == 2 else infrared[..., 0]
    return turned(infrared, read(path.with_name(path.name.replace("_ir", "_co"))), 0.075 * len(infrared), rng, larger)


def nir10(data: Path, seed: int, rng: np.random.Generator) -> Made:
    return nir(data, seed, rng, 10.0)


def depth(data: Path, seed: int, rng: np.random.Generator) -> Made:
    path = some(data / "DIML/test", "HR/*/depth_filled/*.png", seed)
    colour = path.parents[1] / "color" / path.name.replace("_depth_filled", "_c")
    return turned(read(path), read(colour), 10, rng)


def sar(data: Path, seed: int, rng: np.random.Generator, larger: float = 1.0) -> Made:
    path = some(data / "OSdataset/256/test", "sar*.png", seed)
    radar = read(path)
    return turned(radar, read(path.with_name(path.name.replace("sar", "opt"))), 20, rng, larger)


def sar4(data: Path, seed: int, rng: np.random.Generator) -> Made:
    return sar(data, seed, rng, 4.0)


def thermal(data: Path, seed: int, rng: np.random.Generator) -> Made:
    """Counts of a 16-bit camera at half the size of the photograph."""
    path = some(data / "LLVIP/infrared/test", "[0-8]*.jpg", seed)
    heat = read(path)
    heat = cv2.resize(heat if heat.ndim == 2 else heat[..., 0], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    photo = read(data / "LLVIP/visible/test" / path.name)
    made = turned(photo, photo, 60, rng)
    counts = (7185 + heat.astype(float) * 2056 / 255).round().astype(np.uint16)
    truth = made.truth @ scaled(2.0)
    return Made(counts, made.target, truth / truth[2, 2])


PAIRS: dict[str, Callable[[Path, int, np.random.Generator], Made]] = {
    "nir": nir, "nir10": nir10, "depth": depth, "sar": sar, "sar4": sar4, "thermal": thermal,
}  # fmt: skip


def drawn(side: int) -> Made:
    """A drawn scene of any size, seen again from elsewhere; grey 8 bit."""
    rng = np.random.default_rng(0)
    image = np.zeros((side * 3 // 4, side), np.float32)
    for cells in (9, 27, 81, 243, 729):
        grid = rng.random((cells * 3 // 4, cells), np.float32)
        image += cv2.resize(grid, image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    image -= image.min()
    grey = (image * (255 / image.max())).astype(np.uint8)
    return turned(grey, grey, side / 20, rng)


def write(made: Made, folder: Path, tiled: bool = False) -> tuple[Path, Path]:
    """The pair as files: PNG, or TIFF for counts of 16 bits and where windows are wanted."""
    paths = []
    for name, image in (("source", made.source), ("target", made.target)):
        tiff = tiled or (image.dtype == np.uint16 and image.shape[0] > 300)
        path = folder / f"{name}{'.tif' if tiff else '.png'}"
        if tiff:
            seen = image[..., ::-1] if image.ndim == 3 else image
            colour = "rgb" if seen.ndim == 3 else "minisblack"
            tifffile.imwrite(path, seen, tile=(512, 512) if tiled else None, photometric=colour)
        else:
            cv2.imwrite(str(path), image)
        paths.append(path)
    return paths[0], paths[1]


PYTHON = """
import json, sys, time
start = time.perf_counter()
import regbench
found = regbench.align(sys.argv[1], sys.argv[2], sys.argv[3])
print(json.dumps({"homography": found.homography.tolist(), "ok": found.ok, "confidence": found.confidence,
                  "method": found.method, "seconds": time.perf_counter() - start}))
"""


WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""


def measure(words: list[str]) -> dict[str, Any]:
    """Run a process that prints JSON; with its seconds of CPU, and the peak of its memory in GB."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", WATCH, *words], capture_output=True, text=True)
    wall = time.perf_counter() - start
    try:
        facts = json.loads(done.stdout)
        cpu, peak = done.stderr.splitlines()[-1].split()
    except (ValueError, IndexError):
        return {"ok": False, "why": done.stderr[-300:], "wall": wall}
    return facts | {"wall": wall, "cpu": float(cpu), "gigabytes": int(peak) / 2**20}


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, Made, bool]]:
    for side in arguments.large or ():
        made = drawn(side)
        yield f"{side} px", made, False
        yield f"{side} px, tiled TIFF", made, True
    if arguments.large:
        return
    for name in arguments.only.split(","):
        for seed in range(arguments.seeds):
            yield name, PAIRS[name](arguments.data, seed, np.random.default_rng([seed, list(PAIRS).index(name)])), False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--methods", default="auto")
    parser.add_argument("--only", default=",".join(PAIRS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--large", type=int, nargs="*", help="longer sides of drawn scenes, instead of data")
    parser.add_argument("--command", action="store_true", help="the command line too")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    arguments = parser.parse_args()
    if not arguments.large and arguments.data is None:
        parser.error("name --data FOLDER or --large SIDE")
    rows = []
    for name, made, tiled in cases(arguments):
        with tempfile.TemporaryDirectory() as folder:
            files = [str(path) for path in write(made, Path(folder), tiled)]
            for method in arguments.methods.split(","):
                calls = {"Python": [sys.executable, "-c", PYTHON, *files, method]}
                if arguments.command:
                    calls["command"] = [
                        sys.executable,
                        "-m",
                        "regbench",
                        "register",
                        *files,
                        "--method",
                        method,
                        "--json",
                    ]
                for how, words in calls.items():
                    rows.append({"pair": name, "by": how, "asked": method} | judged(measure(words), made))
                    print(rows[-1], file=sys.stderr, flush=True)
    shown = ("pair", "by", "asked", "method", "error", "percent", "confidence", "cpu", "wall", "gigabytes")
    print(tabulate([[row.get(key) for key in shown] for row in rows], shown, "github", floatfmt=".2f"))
    summary(rows)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1))


def judged(facts: dict[str, Any], made: Made) -> dict[str, Any]:
    """With the mean error of the source's corners, px and percent of the target's diagonal; none without an answer."""
    if not facts["ok"]:
        return facts
    h, w = made.source.shape[:2]
    corners = np.array([[[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1.0]]])
    found, truth = (cv2.perspectiveTransform(corners, np.array(x)) for x in (facts.pop("homography"), made.truth))
    error = float(np.linalg.norm(found - truth, axis=-1).mean())
    return facts | {"error": error, "percent": 100 * error / float(np.hypot(*made.target.shape[:2]))}


def summary(rows: list[dict[str, Any]]) -> None:
    answers = [row for row in rows if "percent" in row]
    right, wrong = [r for r in answers if r["percent"] < 1], [r for r in answers if r["percent"] > 10]
    sure = [sum(r["confidence"] >= 0.5 for r in some_) for some_ in (right, wrong)]
    print(f"\n{len(rows)} trials; {len(rows) - len(answers)} without an answer")
    print(f"right (< 1 % of the diagonal): {len(right)}, {sure[0]} of them at confidence 0.5 or more")
    print(f"wrong (> 10 %): {len(wrong)}, {sure[1]} of them at confidence 0.5 or more")


if __name__ == "__main__":
    main()
