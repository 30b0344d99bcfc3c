"""Calibrate the confidence of answers: ``estimate`` on real pairs, ``measure`` features, ``fit`` and ``report``.

    python benchmarks/calibrate_confidence.py estimate --data DIR > estimates.jsonl
    python benchmarks/calibrate_confidence.py measure --data DIR --estimates estimates.jsonl | gzip > SAMPLES
    python benchmarks/calibrate_confidence.py fit --samples SAMPLES > regbench/confidence/calibration.py
    python benchmarks/calibrate_confidence.py report --samples SAMPLES [--plot PNG]

SAMPLES is ``benchmarks/confidence_samples.jsonl.gz``, which holds the measurements the frozen constants came from.

``estimate`` cuts frozen pairs of six sets below DIR (see ``SETS``) under random homographies, with a change of
scale in every second one, and has them registered both ways by every method of ``METHODS``; ``--weights`` adds MCNet
with published weights. Doing nothing, and truths that were moved by 0.1 to 30 % of the diagonal, stand for networks
that answer without matches. Every second pair is registered with the target of another place, too: there no answer is
right. ``fit`` prints the module of constants. ``report`` fits to five sets and judges the sixth, for each of the six;
``--plot`` draws its reliability diagram.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from regbench.api.types import Matches
from regbench.confidence import fitting
from regbench.confidence.features import measure
from regbench.confidence.laid import corners_of, moved
from regbench.report.figures.files import save_figure
from regbench.report.figures.reliability import reliability_diagram
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure

SETS = {
    "vedai": ("VEDAI/Vehicules512/*_co.png", "_co.", "_ir."),
    "llvip": ("LLVIP/visible/*/*.jpg", "/visible/", "/infrared/"),
    "osdataset": ("OSdataset/256/*/opt*.png", "/opt", "/sar"),
    "googlemap": ("GoogleMap/*_template_original/*.jpg", "_template_original", "_input"),
    "diml": ("DIML/*/HR/*/color/*_c.png", "color/", "depth_filled/"),
    "googleearth": ("GoogleEarth/*_input/*.jpg", "_input", "_input"),
}
METHODS = ("sift", "orb", "rift", "phase-correlation", "ecc", "edge-search")
LONGEST = 512
"""Larger images are shrunk to this side first, px."""
WINDOW = (0.62, 0.8)
"""Side of the target's window as a share of the image's."""
SEED = 7


@dataclass(frozen=True)
class Case:
    """A pair of images, and the true homography (None where they show different places)."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    truth: NDArray[np.float64] | None


def main() -> None:
    """Run one verb."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("estimate", "measure", "fit", "report"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS), help="that estimate")
    parser.add_argument("--pairs", type=int, default=16, help="of each set")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair of each set")
    parser.add_argument("--estimates", type=Path)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--plot", type=Path, help="the reliability diagram of report")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.verb == "estimate":
        numbers = range(args.first, args.first + args.pairs)
        for line in estimates(args.data, numbers, args.methods.split(","), args.weights):
            print(json.dumps(line), flush=True)
    elif args.verb == "measure":
        for line in measured(args.data, args.estimates):
            print(json.dumps(line), flush=True)
    else:
        samples = load(args.samples)
        print(fitting.module(samples) if args.verb == "fit" else fitting.report(samples))
        if args.plot is not None:
            draw(samples, args.plot)


def draw(samples: list[dict[str, Any]], path: Path) -> None:
    """Draw the reliability diagram of answers, each judged by the model that was fitted without its set."""
    answered = [sample for sample in samples if sample["why"] != "no answer"]
    confidence = fitting.left_out(answered)
    p = np.array([confidence(sample) for sample in answered])
    right = np.array([sample["error"] < fitting.RIGHT for sample in answered], np.float64)
    save_figure(reliability_diagram(p, right, "six sets, each left out in turn"), path)


def load(path: Path) -> list[dict[str, Any]]:
    """The samples of a file of JSON lines, compressed or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [json.loads(line) for line in file]


def files(data: Path, name: str) -> list[tuple[Path, Path]]:
    """The files of A and B, in an order that mixes places."""
    pattern, a, b = SETS[name]
    firsts = sorted(data.glob(pattern))
    pairs = [(first, Path(_replaced(str(first), a, b))) for first in firsts]
    if name == "diml":
        pairs = [(first, Path(str(second).replace("_c.png", "_depth_filled.png"))) for first, second in pairs]
    if name == "googleearth":  # two dates: the template lies in the input at the place its label tells
        pairs = [(first, Path(str(first).replace("_input", "_template"))) for first in firsts]
    order = np.random.default_rng(0).permutation(len(pairs))
    return [pairs[i] for i in order]


def testing(data: Path, name: str, first: Path) -> bool:
    """Whether a pair is of the test split, which shows no place that the other split shows."""
    if name == "vedai":
        return first.name[:8] in (data / "VEDAI" / "test.txt").read_text().split()
    return any(part in ("test", "val2014_input", "val2014_template_original") for part in first.parts)


def _replaced(path: str, a: str, b: str) -> str:
    head, _, tail = path.rpartition(a)
    return head + b + tail


def read(path: Path) -> NDArray[np.float32]:
    """An image as float32 in [0, 1]; 16-bit ones by their own largest value."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    values = image.astype(np.float32) / (255.0 if image.dtype == np.uint8 else max(1.0, float(image.max())))
    shrink = LONGEST / max(values.shape[:2])
    size = (round(values.shape[1] * shrink), round(values.shape[0] * shrink))
    return values if shrink >= 1 else np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def cases(data: Path, numbers: Iterable[int]) -> Iterator[tuple[str, str, Case]]:
    """Set, name of the pair and the pair; unrelated ones end in ``x``."""
    listed = {name: files(data, name) for name in SETS}
    for i in numbers:
        for name, found in listed.items():
            first, second = found[i % len(found)]
            held_out = testing(data, name, first)
            others = [second for first, second in found if testing(data, name, first) != held_out]
            stranger = others[i % len(others)]
            rng = np.random.default_rng([SEED, i, *name.encode()])
            source, target = read(first), read(second)
            onto = label(first) if name == "googleearth" else np.eye(3)
            case = cut(source, target, onto, rng)
            yield name, str(i), case
            if i % 2:
                yield name, f"{i}x", Case(case.source, cut(source, read(stranger), onto, rng).target, None)


def label(path: Path) -> NDArray[np.float64]:
    """The homography from pixels of the input (192 px) to pixels of the template (128 px) of GoogleEarth."""
    folder = path.parent.parent / path.parent.name.replace("_input", "_label")
    places = json.loads((folder / f"{path.stem}_label.txt").read_text())["location"]
    merged = {key: value for place in places for key, value in place.items()}
    names = ("top_left", "top_right", "bottom_right", "bottom_left")
    quad = np.float32([[merged[f"{n}_u"], merged[f"{n}_v"]] for n in names])
    return np.asarray(cv2.getPerspectiveTransform(quad, corners_of((128, 128)).astype(np.float32)), np.float64)


def cut(a: NDArray[np.float32], b: NDArray[np.float32], onto: NDArray[np.float64], rng: np.random.Generator) -> Case:
    """A target window of B, and a source seen through a random homography of A that stays inside it.

    Args:
        a: the image the source is seen on.
        b: the image the target is cut from.
        onto: pixels of ``a`` to pixels of ``b``; the identity for aligned images.
        rng: draws window, scale (0.5 to 2, in every second pair), rotation (up to 15 degrees) and corners (up to 8 %).
    """
    whole = onto[2, 0] or onto[0, 0] != 1  # a template is used whole: its label is the homography
    h, w = b.shape[:2]
    side = min(h, w) if whole else round(min(h, w) * rng.uniform(*WINDOW))
    x0, y0 = (0, 0) if whole else (int(rng.integers(0, w - side + 1)), int(rng.integers(0, h - side + 1)))
    target = b[y0 : y0 + side, x0 : x0 + side]
    into = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]]) @ onto  # A to target
    centre = moved(np.linalg.inv(into), np.array([[(side - 1) / 2.0] * 2]))[0]
    limit = np.array(a.shape[1::-1]) - 1.0
    turned = rng.uniform() < 0.5
    for shrink in np.linspace(1, 0.3, 40):
        angle = math.radians(rng.uniform(-15, 15)) if turned else 0.0
        seen = side * rng.uniform(0.65, 1.15) * shrink
        square = (corners_of((2, 2)) - 0.5) * seen
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = rng.uniform(-0.25, 0.25, 2) * side * shrink
        quad = square @ turn.T + rng.uniform(-0.08, 0.08, (4, 2)) * seen + centre + shift
        if (quad >= 0).all() and (quad <= limit).all():
            break
    else:
        quad = np.clip(quad, 0, limit)
    scale = math.exp(rng.uniform(math.log(0.5), math.log(2))) if rng.uniform() < 0.5 else 1.0
    n = int(np.clip(round(seen * scale), 96, 512))
    through = cv2.getPerspectiveTransform(corners_of((n, n)).astype(np.float32), quad.astype(np.float32))
    wide = max(1.0, seen / n)
    blurred = cv2.GaussianBlur(a, (0, 0), 0.4 * wide) if wide > 1.2 else a
    source = cv2.warpPerspective(blurred, through, (n, n), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    truth = into @ through
    return Case(np.ascontiguousarray(source), np.ascontiguousarray(target), truth / truth[2, 2])


def estimates(
    data: Path, numbers: Iterable[int], names: Iterable[str], weights: Path | None
) -> Iterator[dict[str, Any]]:
    """What every method answers: set, pair, method, homography, reverse and matches, as lists."""
    methods = {name: registrator_alone(configure("registrator", name)).eval() for name in names}
    if weights is not None:
        methods["mcnet"] = registrator_alone(configure("registrator", "mcnet"), weights=weights).eval()
    for name, pair, case in cases(data, numbers):
        for method, network in methods.items():
            there, matches = _answer(network, case.source, case.target)
            back, _ = _answer(network, case.target, case.source)
            yield _line(name, pair, method, there, back, matches)
        for method, there, back in direct(name, pair, case):
            yield _line(name, pair, method, there, back, None)
        print(name, pair, file=sys.stderr)


def direct(name: str, pair: str, case: Case) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Answers as networks give them, without matches: method, homography, and the way back."""
    rng = np.random.default_rng([SEED, len(pair), *pair.encode(), *name.encode()])
    size, diagonal = case.target.shape[:2], math.hypot(*case.target.shape[:2])
    stretch = np.diag([size[1] / case.source.shape[1], size[0] / case.source.shape[0], 1.0])
    yield "nothing", stretch, np.linalg.inv(stretch)
    exact = stretch if case.truth is None else case.truth
    for k in range(3):
        off = math.exp(rng.uniform(math.log(0.001), math.log(0.3))) * diagonal / 1.25
        there, again = (_moved_corners(exact, case.source.shape[:2], off, rng) for _ in range(2))
        yield f"moved{k}", there, np.linalg.inv(again)


def _answer(
    network: torch.nn.Module, source: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[NDArray[np.float64] | None, Matches | None]:
    images = [torch.from_numpy(np.atleast_3d(x)[..., ::-1].copy()).permute(2, 0, 1)[None] for x in (source, target)]
    with torch.inference_mode():
        registration = network.register(*images)
    if not registration.ok[0]:
        return None, None
    return registration.homography[0].numpy(), registration.matches[0] if registration.matches else None


def _moved_corners(
    exact: NDArray[np.float64], size: tuple[int, ...], off: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A homography whose corners lie off by normal noise, half of which they share."""
    corners = corners_of((size[0], size[1]))
    quad = moved(exact, corners) + off * (rng.standard_normal((4, 2)) + rng.standard_normal(2)) / math.sqrt(2)
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), quad.astype(np.float32)), np.float64)


def _line(
    name: str,
    pair: str,
    method: str,
    there: NDArray[np.float64] | None,
    back: NDArray[np.float64] | None,
    matches: Matches | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"set": name, "pair": pair, "method": method}
    found["homography"] = None if there is None else there.tolist()
    found["reverse"] = None if back is None else back.tolist()
    if matches is not None:
        found["source"], found["target"] = matches.source.round(2).tolist(), matches.target.round(2).tolist()
        found["inliers"] = matches.inliers.astype(int).tolist()
    return found


def measured(data: Path, path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a fit: set, pair, method, error as a share of the target's diagonal, and features."""
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        lines.setdefault((line["set"], line["pair"]), []).append(line)
    numbers = sorted({int(pair.rstrip("x")) for _, pair in lines})
    for name, pair, case in cases(data, numbers):
        answers = {line["method"]: line for line in lines.get((name, pair), [])}
        for method, line in answers.items():
            second = next((m for m in ("rift", "sift", "phase-correlation") if m != method and m in answers), None)
            known = {
                "homography": _matrix(line["homography"]),
                "reverse": _matrix(line["reverse"]),
                "other": _matrix(answers[second]["homography"]) if second else None,
                "matches": _matches(line),
            }
            features, why = measure(case.source, case.target, **known)
            error = error_of(case, known["homography"])
            found = {"set": name, "pair": pair, "method": method, "error": round(error, 6), "why": why}
            yield found | {"features": {key: round(value, 4) for key, value in features.items()}}


def error_of(case: Case, answer: NDArray[np.float64] | None) -> float:
    """Mean corner error, share of the target's diagonal; 1 at most, for no answer, and where no answer is right."""
    if case.truth is None or answer is None:
        return 1.0
    corners = corners_of((case.source.shape[0], case.source.shape[1]))
    gap = moved(answer, corners) - moved(case.truth, corners)
    return min(1.0, float(np.linalg.norm(gap, axis=1).mean() / math.hypot(*case.target.shape[:2])))


def _matrix(values: list[list[float]] | None) -> NDArray[np.float64] | None:
    return None if values is None else np.array(values)


def _matches(line: dict[str, Any]) -> Matches | None:
    if "inliers" not in line:
        return None
    points = [np.array(line[side], np.float64).reshape(-1, 2) for side in ("source", "target")]
    return Matches(points[0], points[1], np.array(line["inliers"], bool))


if __name__ == "__main__":
    main()
