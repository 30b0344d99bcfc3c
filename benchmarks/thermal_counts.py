"""Does it matter whether a thermal camera's images are stored as counts of 16 bits or as 8 bits? With a range, no.

The thermal side of LLVIP is stored a second time as counts 7185..9241 in 16-bit PNGs, as an uncooled camera writes
them. MCNet is trained under `supervised` on both forms with one seed, and the difference of their errors on the same
test pairs is taken pair by pair.

    python benchmarks/thermal_counts.py --root LLVIP [--steps 500] [--range 7185..9241] [--out DIR]

Prints one JSON line: MACE over that of doing nothing for each form, the mean difference of errors (counts less 8 bits,
px) with its 95 % interval over images, and whether both are below 0.95 and the interval contains zero. With
`--range full`, which is what a data set without a range gets, the counts collapse. --out keeps packs and runs, so that
another call repeats nothing.
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
from regbench.results.pairs import Pairs, read_pairs
from regbench.results.store import PAIRS
from regbench.runs.execute import execute
from regbench.runs.plan import Request, make_plan
from regbench.training.progress import reporter

LOW, HIGH = 7185, 9241


def as_counts(root: Path, out: Path) -> Path:
    """LLVIP with its infrared images as counts; the visible ones are links."""
    for split in ("train", "test"):
        infrared = out / "infrared" / split
        visible = out / "visible" / split
        if infrared.is_dir():
            continue
        infrared.mkdir(parents=True)
        visible.parent.mkdir(parents=True, exist_ok=True)
        visible.symlink_to((root / "visible" / split).resolve())
        for path in sorted((root / "infrared" / split).iterdir()):
            grey = read_image(path)
            grey = grey if grey.ndim == 2 else grey[..., 0]
            counts = (LOW + grey.astype(np.float64) * (HIGH - LOW) / 255).round().astype(np.uint16)
            cv2.imwrite(str(infrared / f"{path.stem}.png"), counts)
    return out


def trained(root: Path, out: Path, steps: int, dataset: dict[str, str]) -> Pairs:
    """The errors on the test pairs of a supervised MCNet."""
    request = Request(
        registrator="mcnet",
        strategy="supervised",
        dataset="llvip",
        root=root,
        budget="quick",
        pairing="online",
        seed=0,
        sets={"strategy": {"steps": steps}, "dataset": dataset},
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
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--range", default=f"{LOW}..{HIGH}")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        os.environ["REGBENCH_DATA"] = str(out / "packs")
        counts_root = as_counts(given.root, out / "counts")
        bits8 = trained(given.root, out, given.steps, {})
        counts = trained(counts_root, out, given.steps, {"range_b": given.range})
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
