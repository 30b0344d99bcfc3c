"""Fitting and judging the logistic model of :mod:`regbench.confidence.calibration`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.confidence.features import GROUPS, IMAGES
from regbench.confidence.logistic import Logistic, known_of

Floats = NDArray[np.float64]

RIGHT = 0.05
"""Share of the target's diagonal below which an answer counts as right."""
WRONG, GOOD = 0.1, 0.01
"""Shares from which on an answer is plainly wrong, and below which it is good."""
WRONG_COUNTS = 2.0
"""How often a plainly wrong answer counts in a fit: to trust one costs more than to doubt a right one."""
RIDGE = 2e-3
"""Weight of the squared weights of standardised features, against the mean log-likelihood."""
ROUNDS = 3000
BINS = 10
NAMES = (*IMAGES, *(name for names in GROUPS.values() for name in names))

Sample = Mapping[str, Any]
"""A line of ``calibrate_confidence.py measure``: ``set``, ``pair``, ``method``, ``error`` and ``features``."""


def only(sample: Sample, known: Iterable[str]) -> Sample:
    """A sample of which nothing is known but the images and these groups."""
    groups = set(known)
    hidden = {name for group, names in GROUPS.items() if group not in groups for name in names}
    return {**sample, "features": {k: v for k, v in sample["features"].items() if k not in hidden}}


def fit(samples: Sequence[Sample]) -> Logistic:
    """Logistic regression with no negative weight, in which each set of images is equally heavy.

    Every sample is taken with all, some and none of the groups that are known of it, so that the model is right
    whatever is known. Samples without features are left out.
    """
    rows: list[Sample] = []
    heavy: list[float] = []
    sets = [sample["set"] for sample in samples if sample["features"]]
    for sample in samples:
        if sample["features"]:
            known = known_of(sample["features"])
            chosen = [c for n in range(len(known) + 1) for c in itertools.combinations(known, n)]
            rows += [only(sample, groups) for groups in chosen]
            cost = WRONG_COUNTS if sample["error"] > WRONG else 1.0
            heavy += [cost / (len(chosen) * sets.count(sample["set"]))] * len(chosen)
    x = np.array([[row["features"].get(name, np.nan) for name in NAMES] for row in rows])
    x[:, np.isnan(x).all(axis=0)] = 0.0  # what is known of no sample
    present = np.array([[group in known_of(row["features"]) for group in GROUPS] for row in rows], np.float64)
    y = np.array([row["error"] < RIGHT for row in rows], np.float64)
    weight = np.array(heavy) / sum(heavy)
    low, high = np.nanquantile(x, 0.005, axis=0), np.nanquantile(x, 0.995, axis=0)
    x = np.clip(x, low, high)
    mean, spread = np.nanmean(x, axis=0), np.nanstd(x, axis=0) + 1e-6
    free = np.concatenate([np.ones((len(x), 1)), present], axis=1)
    theta = _descend(free, np.nan_to_num((x - mean) / spread), y, weight)
    slope = theta[free.shape[1] :] / spread
    shift = dict(zip(NAMES, slope * mean, strict=True))
    return Logistic(
        bias=round(float(theta[0] - sum(shift[name] for name in IMAGES)), 4),
        terms={
            name: (round(float(w), 4), round(float(a), 4), round(float(b), 4))
            for name, w, a, b in zip(NAMES, slope, low, high, strict=True)
        },
        offsets={
            group: round(float(offset - sum(shift[name] for name in names)), 4)
            for (group, names), offset in zip(GROUPS.items(), theta[1 : free.shape[1]], strict=True)
        },
    )


def _descend(free: Floats, bound: Floats, y: Floats, weight: Floats) -> Floats:
    """Coefficients of the columns, those of ``bound`` ridged and at least zero, by accelerated projected gradients.

    Source: Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sci. 2 (2009).
    """
    design, n = np.concatenate([free, bound], axis=1), free.shape[1]
    lipschitz = 0.25 * float(np.linalg.eigvalsh((design * weight[:, None]).T @ design)[-1]) + 2 * RIDGE
    theta = ahead = np.zeros(design.shape[1])
    momentum = 1.0
    for _ in range(ROUNDS):
        gradient = design.T @ (weight * (1 / (1 + np.exp(-design @ ahead)) - y))
        gradient[n:] += 2 * RIDGE * ahead[n:]
        step = ahead - gradient / lipschitz
        step[n:] = np.maximum(step[n:], 0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = step + (momentum - 1) / following * (step - theta)
        theta, momentum = step, following
    return theta


def calibration_error(p: Floats, right: Floats, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal width (Guo et al., ICML 2017)."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    return sum(
        float(abs(p[which == b].mean() - right[which == b].mean())) * float((which == b).mean())
        for b in range(bins)
        if (which == b).any()
    )


def auroc(p: Floats, right: Floats) -> float:
    """Probability that a right answer is given more confidence than a wrong one; ties count half."""
    good, bad = p[right > 0], p[right == 0]
    if not len(good) or not len(bad):
        return float("nan")
    return float((good[:, None] > bad).mean() + 0.5 * (good[:, None] == bad).mean())


def left_out(samples: Sequence[Sample]) -> Callable[[Sample], float]:
    """The confidence of a sample by the model that was fitted without its set; 0 for one without features."""
    sets = dict.fromkeys(sample["set"] for sample in samples)
    models = {held: fit([s for s in samples if s["set"] != held]) for held in sets}
    return lambda sample: models[sample["set"]](sample["features"]) if sample["features"] else 0.0


def figures(samples: Sequence[Sample], p: Floats) -> dict[str, float]:
    """Number of answers, share of right ones, ECE, AUROC, wrong answers (> 10 %) and share of good ones (< 1 %) at 0.5
    or more."""
    error = np.array([sample["error"] for sample in samples])
    right = (error < RIGHT).astype(np.float64)
    bad, good = error > WRONG, error < GOOD
    return {
        "answers": float(len(samples)),
        "right": float(right.mean()),
        "ece": calibration_error(p, right),
        "auroc": auroc(p, right),
        "bad": float(bad.sum()),
        "bad_trusted": float((p[bad] >= 0.5).sum()),
        "good": float(good.sum()),
        "good_trusted": float((p[good] >= 0.5).mean()) if good.any() else float("nan"),
    }


def report(samples: Sequence[Sample]) -> str:
    """The leave-one-set-out tables of ``docs/confidence.md`` as markdown."""
    answered = [sample for sample in samples if sample["why"] != "no answer"]
    confidence = left_out(answered)
    used = np.array([confidence(sample) for sample in answered])
    lines = [_ruled("what is known", HEADS)]
    for known in (c for n in range(len(GROUPS) + 1) for c in itertools.combinations(GROUPS, n)):
        shown = [only(s, known) for s in answered if not s["features"] or set(known) <= set(known_of(s["features"]))]
        lines.append(_line("+".join(("images", *known)), figures(shown, np.array([confidence(s) for s in shown]))))
    lines.append(_line("all that is known of each", figures(answered, used)))
    for title, key in (("held out", "set"), ("method", "method")):
        lines += ["", _ruled(title, HEADS)]
        names = [str(s[key]).rstrip("012") for s in answered]  # moved0, moved1 and moved2 are one method
        for name in dict.fromkeys(names):
            at = np.array([i for i, other in enumerate(names) if other == name])
            lines.append(_line(name, figures([answered[i] for i in at], used[at])))
    return "\n".join([*lines, "", reliability(answered, used)])


def reliability(samples: Sequence[Sample], p: Floats) -> str:
    """The reliability diagram as a table: by bin of confidence, its mean and the share of right answers."""
    right = np.array([s["error"] < RIGHT for s in samples], np.float64)
    lines = [_ruled("confidence", ("answers", "mean confidence", "right"))]
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    for b in np.unique(which):
        values = {"answers": float((which == b).sum()), "mean confidence": float(p[which == b].mean())}
        values["right"] = float(right[which == b].mean())
        lines.append(_line(f"{b / BINS:.1f} to {(b + 1) / BINS:.1f}", values))
    return "\n".join(lines)


HEADS = ("answers", "right", "ece", "auroc", "bad", "bad_trusted", "good", "good_trusted")


def _ruled(first: str, heads: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(heads) + " |\n|---|" + "---|" * len(heads)


def _line(name: str, values: dict[str, float]) -> str:
    cells = (f"{v:.3f}" if k in SHARES else f"{v:.0f}" for k, v in values.items())
    return f"| {name} | " + " | ".join(cells) + " |"


SHARES = ("right", "ece", "auroc", "good_trusted", "mean confidence")


HEADER = '''"""The constants of the confidence. Frozen.

Made by ``python benchmarks/calibrate_confidence.py fit --samples benchmarks/confidence_samples.jsonl.gz``;
``docs/confidence.md`` has the pairs, the methods and what the model reaches on sets it was not fitted to.
"""

from __future__ import annotations

from regbench.confidence.logistic import Logistic

MODEL = Logistic(
'''


def module(samples: Sequence[Sample]) -> str:
    """The text of ``calibration.py``; weights of zero are left out."""
    model = fit(samples)
    terms = "".join(f'        "{name}": {term},\n' for name, term in model.terms.items() if term[0])
    offsets = "".join(f'        "{group}": {offset},\n' for group, offset in model.offsets.items())
    return (
        f"{HEADER}    bias={model.bias},\n    terms={{\n{terms}    }},\n    offsets={{\n{offsets}    }},\n)"
        '\n"""Weight and range of each feature, and offset of each group that may be known."""'
    )
