"""Does it matter whether a thermal camera's images are stored as counts of 16 bits or as 8 bits? With a range, no.

The thermal side of LLVIP's first training pairs is stored as counts 7185..9241 in 16-bit PNGs, as an uncooled camera
writes them, and as the 8 bits it is published in. MCNet is trained under `supervised` on both forms with one seed
(online pairs, budget quick), and the difference of their errors on the same test pairs is taken pair by pair.

    python benchmarks/thermal_counts.py --root LLVIP [--pairs 60] [--steps 500] [--range 7185..9241] [--out DIR]

Prints one JSON line: MACE over that of doing nothing for each form, the mean difference of errors (counts less 8 bits,
px) with its 95 % interval over images, and whether both are below 0.95 and the interval contains zero. With
`--range full` the counts are read as a data set without a range is. --out keeps packs and runs, so that another call
repeats nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from regbench.data.reading import read_image
from regbench.metrics.uncertainty import compare
from regbench.results.layout import PAIRS
from regbench.results.pairs import Pairs, read_pairs
from regbench.runs.execute import execute
from regbench.runs.plan import Request, make_plan
from regbench.training.progress import reporter

LOW, HIGH = 7185, 9241


def pairs_of(root: Path, out: Path, count: int) -> Path:
    """The first training pairs of LLVIP as ``visible``, ``bits8`` and ``counts``, folders of files of one name."""
    names = sorted(path.stem for path in (root / "visible" / "train").iterdir())[:count]
    for folder in ("visible", "bits8", "counts"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        visible, infrared = (read_image(root / side / "train" / f"{name}.jpg") for side in ("visible", "infrared"))
        grey = infrared if infrared.ndim == 2 else infrared[..., 0]
        counts = (LOW + grey.astype(np.float64) * (HIGH - LOW) / 255).round().astype(np.uint16)
        cv2.imwrite(str(out / "visible" / f"{name}.png"), visible[..., ::-1] if visible.ndim == 3 else visible)
        cv2.imwrite(str(out / "bits8" / f"{name}.png"), grey)
        cv2.imwrite(str(out / "counts" / f"{name}.png"), counts)
    return out


def trained(root: Path, out: Path, steps: int, thermal: str, values: str) -> Pairs:
    """The errors on the test pairs of a supervised MCNet whose target is a folder with a value range."""
    reader = {"source": "visible", "target": thermal, "modality_b": "thermal", "range_b": values}
    request = Request(
        registrator="mcnet",
        strategy="supervised",
        dataset="folder",
        root=root,
        budget="quick",
        pairing="online",
        seed=0,
        sets={"strategy": {"steps": steps}, "dataset": reader},
        device="cpu",
        out=out / "runs",
    )
    report = reporter(False)
    try:
        plan = make_plan(request)
        execute(plan, report)
    finally:
        report.close()
    return read_pairs(plan.folder / PAIRS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--range", default=f"{LOW}..{HIGH}")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        os.environ["REGBENCH_DATA"] = str(out / "packs")
        root = pairs_of(given.root, out / "pairs", given.pairs)
        bits8 = trained(root, out, given.steps, "bits8", "full")
        counts = trained(root, out, given.steps, "counts", given.range)
    assert np.array_equal(bits8.displacement, counts.displacement)  # the same test pairs
    difference, interval, _ = compare(counts.errors, bits8.errors)
    identity = float(bits8.identity_error.mean())
    ratios = {
        name: round(float(pairs.errors.scored.mean()) / identity, 4)
        for name, pairs in (("8 bit", bits8), ("counts", counts))
    }
    low, high = interval or (float("nan"), float("nan"))
    passed = max(ratios.values()) < 0.95 and low <= 0 <= high
    facts = {"range": given.range, "ratio": ratios, "difference_px": round(difference, 4), "ci95": [low, high]}
    print(json.dumps(facts | {"passed": bool(passed)}))


if __name__ == "__main__":
    main()
