"""Coverage of intervals and family-wise error of claims, simulated, under metric version 1 and at present.

    python benchmarks/coverage.py             # 300 boards each, as docs/statistics.md prints; two minutes on one core

Version 1 is written out here again: percentile bootstrap over images; sign-flip test with Holm and that interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from regbench.metrics.uncertainty import Images, holm
from regbench.report.ranking import ALPHA, significant

Floats = np.ndarray
IDENTITY = 25.0
"""Error of doing nothing, px."""
KINDS = ("normal", "skewed", "very skewed", "8 % of images fail")
WORSE = "8 % fail, at twice identity's error"
"""Failures that cost more than the rule for orders allows for."""


def image_errors(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Floats, float]:
    """Mean errors of images in px, and their mean over all images there are."""
    if kind == "normal":
        return rng.normal(8.0, 2.0, shape), 8.0
    if kind == "skewed":  # skewness 1.7
        return 8.0 * rng.lognormal(-0.125, 0.5, shape), 8.0
    if kind == "very skewed":  # skewness 3.3
        return 8.0 * rng.lognormal(-(0.75**2) / 2, 0.75, shape), 8.0
    failed, cost = rng.random(shape) < 0.08, IDENTITY * (2.0 if kind == WORSE else 1.0)
    return np.where(failed, cost, 6.0) + rng.normal(0.0, 1.0, shape), 0.92 * 6.0 + 0.08 * cost


def test_sets(images: int, unequal: bool, boards: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Image numbers of the pairs of each board: 10 pairs an image, or 1 to 10."""
    for _ in range(boards):
        sizes = rng.integers(1, 11, images) if unequal else np.full(images, 10)
        yield np.repeat(np.arange(images), sizes)


def old_draws(image: Floats, draws: int = 2000) -> Floats:
    """``(draws, N)`` weights of the percentile bootstrap over images, each row of sum 1."""
    images = image.max() + 1
    drawn = np.random.RandomState(0).randint(0, images, (draws, images))
    times = (drawn[:, :, None] == np.arange(images)).sum(axis=1)[:, image].astype(float)
    return times / times.sum(axis=1, keepdims=True)


def coverage(kind: str, images: int, unequal: bool, boards: int) -> dict[str, dict[str, list[float]]]:
    """By statistic and method: percent of boards whose interval misses the truth, and that have none."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, list[str]]] = {}
    for image in test_sets(images, unequal, boards, rng):
        means, truth = image_errors(kind, (images,), rng)
        other, _ = image_errors(kind, (images,), rng)
        ours, theirs = (m[image] + rng.normal(0, 1, len(image)) for m in (means, other))
        nothing = IDENTITY + rng.normal(0, 1, images)[image] + rng.normal(0, 4, len(image))
        new, weights = Images(image), old_draws(image)
        close = 100.0 * np.maximum(0.0, 1.0 - np.abs(ours) / 20.0)
        order = np.argsort(ours)
        rank = np.cumsum(weights[:, order], axis=1)
        medians = ours[order][(rank < 0.5).sum(axis=1).clip(max=len(ours) - 1)]
        for name, true, old, present in (
            ("MACE", truth, weights @ ours, new.mean(ours)),
            ("median", None, medians, new.median(ours)),
            ("AUC@20", None, weights @ close, new.mean(close, (0.0, 100.0))),
            ("MACE / identity", truth / IDENTITY, (weights @ ours) / (weights @ nothing), new.ratio(ours, nothing)),
            ("difference", 0.0, weights @ (ours - theirs), new.mean(ours - theirs)),
        ):
            true = reference(kind, name) if true is None else true
            for method, interval in (("old", tuple(np.percentile(old, [2.5, 97.5]))), ("new", present)):
                outcome = "none" if interval is None else "hit" if interval[0] <= true <= interval[1] else "miss"
                found.setdefault(name, {}).setdefault(method, []).append(outcome)
    return {
        name: {m: [100 * o.count(what) / boards for what in ("miss", "none")] for m, o in methods.items()}
        for name, methods in found.items()
    }


def misses_of_mace(kind: str, images: int, unequal: bool, boards: int) -> float:
    """Percent of boards whose interval of MACE misses the truth, under the present method; nan where none has one."""
    rng, missed, given = np.random.default_rng(5), 0, 0
    for image in test_sets(images, unequal, boards, rng):
        means, truth = image_errors(kind, (images,), rng)
        interval = Images(image).mean(means[image] + rng.normal(0, 1, len(image)))
        given += interval is not None
        missed += interval is not None and not interval[0] <= truth <= interval[1]
    return 100 * missed / boards if given else float("nan")


def reference(kind: str, name: str, known: dict[tuple[str, str], float] = {}) -> float:  # noqa: B006 - a cache
    """The true median and AUC@20, of a million pairs."""
    if (kind, name) not in known:
        rng = np.random.default_rng(1)
        errors = image_errors(kind, (1_000_000,), rng)[0] + rng.normal(0, 1, 1_000_000)
        known[kind, "median"] = float(np.median(errors))
        known[kind, "AUC@20"] = float((100.0 * np.maximum(0.0, 1.0 - np.abs(errors) / 20.0)).mean())
    return known[kind, name]


def family_wise(kind: str, images: int, rows: int, boards: int) -> dict[str, float]:
    """Percent of boards that claim an order of rows of equal MACE.

    ``old`` and ``new``, and ``test``: new without the rule that a lead has to outlast unseen failures.

    Rows are exchangeable in the kind ``normal``; in the others, a steady row stands beside rows of the kind.
    """
    rng = np.random.default_rng(0)
    image = np.arange(images)
    first, second = np.triu_indices(rows, k=1)
    signs = 2.0 * rng.integers(0, 2, (9999, images)) - 1.0
    weights, new = old_draws(image), Images(image)
    claims = {"old": 0, "test": 0, "new": 0}
    for _ in range(boards):
        scores, truth = image_errors(kind, (images, rows), rng)
        if kind != "normal":
            scores[:, 0] = truth + rng.normal(0.0, 0.5, images)
        scores = scores[:, np.argsort(scores.mean(axis=0))]
        excess = scores[:, second] - scores[:, first]
        p = (1 + (np.abs(signs @ excess) >= np.abs(excess.sum(axis=0)) - 1e-9).sum(axis=0)) / (len(signs) + 1)
        low = np.percentile(weights @ excess, 2.5, axis=0)
        claims["old"] += bool(((holm(p) < ALPHA) & (low > 0)).any())
        intervals = new.means(excess)
        above = np.array([bounds is not None and bounds[0] > 0 for bounds in intervals])
        claims["test"] += bool(((holm(new.p_values(excess)) < ALPHA) & above).any())
        claims["new"] += bool(significant(scores, np.full(images, IDENTITY), new))
    return {method: 100 * count / boards for method, count in claims.items()}


def main() -> None:
    """Print the tables as markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=300)
    boards = parser.parse_args().boards
    names = ("MACE", "median", "AUC@20", "MACE / identity", "difference")
    print(f"| images | errors | {' | '.join(names)} | no interval of MACE |\n|---|---|{'---|' * 6}")
    for images in (15, 28, 64):
        for kind, unequal in [(kind, False) for kind in KINDS] + [("skewed", True)]:
            found = coverage(kind, images, unequal, boards)
            cells = [f"{found[name]['old'][0]:.1f} → {_miss(found[name]['new'])}" for name in names]
            label = kind + (", 1 to 10 pairs an image" if unequal else "")
            print(f"| {images} | {label} | {' | '.join(cells)} | {found['MACE']['new'][1]:.0f} |", flush=True)
    print(f"\n| images, {10 * boards} boards | {' | '.join(KINDS)} | skewed, 1 to 10 pairs an image |")
    print("|---|" + "---|" * (len(KINDS) + 1))
    for images in (28, 64):
        misses = [misses_of_mace(kind, images, False, 10 * boards) for kind in KINDS]
        misses.append(misses_of_mace("skewed", images, True, 10 * boards))
        print(f"| {images} | {' | '.join(f'{m:.1f}' for m in misses)} |", flush=True)
    kinds = (*KINDS, WORSE)
    print("\n| images | rows | " + " | ".join(kinds) + " |\n|---|---|" + "---|" * len(kinds))
    for images in (15, 28, 64):
        for rows in (2, 7):
            rates = [family_wise(kind, images, rows, boards) for kind in kinds]
            cells = [f"{r['old']:.1f} → {r['test']:.1f} → {r['new']:.1f}" for r in rates]
            print(f"| {images} | {rows} | {' | '.join(cells)} |", flush=True)


def _miss(outcome: list[float]) -> str:
    miss, none = outcome
    return "none" if none == 100 else f"{miss:.1f}"


if __name__ == "__main__":
    main()
