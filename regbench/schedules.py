"""Learning rates as pure functions of the step, so that a resume needs no scheduler state."""

from __future__ import annotations

import math
from collections.abc import Callable

LearningRate = Callable[[int], float]


def constant(lr: float) -> LearningRate:
    """The same rate at every step."""
    return lambda step: lr


def one_cycle(max_lr: float, total: int, warm_up: float = 0.05) -> LearningRate:
    """Linear one-cycle schedule of the MCNet family: torch's OneCycleLR with ``anneal_strategy="linear"``.

    Args:
        max_lr: the rate at the peak.
        total: number of steps of the cycle; the published code sets it to the steps trained + 100.
        warm_up: share of the steps in which the rate rises from max_lr / 25 to the peak; in the rest it falls to
            max_lr / 25e4.
    """
    start, end = max_lr / 25, max_lr / 25 / 1e4
    peak, last = warm_up * total - 1, total - 1

    def at(step: int) -> float:
        if step <= peak:
            return start + (max_lr - start) * (step / peak if peak > 0 else 1.0)
        share = min((step - peak) / max(last - peak, 1e-9), 1.0)
        return max_lr + (end - max_lr) * share

    return at


def cosine(lr: float, total: int, end: float = 0.0) -> LearningRate:
    """Half a cosine from ``lr`` to ``end`` in ``total`` steps: torch's CosineAnnealingLR."""
    return lambda step: end + (lr - end) * (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


def step_decay(lr: float, every: int, factor: float = 0.1) -> LearningRate:
    """Multiply by ``factor`` after every ``every`` steps."""
    return lambda step: lr * factor ** (step // max(every, 1))


def constant_then_linear(lr: float, total: int, decay: int) -> LearningRate:
    """The schedule of the CycleGAN family: constant, then linear towards zero.

    The published code lowers the rate once an epoch; this lowers it at each step.

    Args:
        lr: the constant rate.
        total: number of steps.
        decay: number of steps at the end in which the rate falls; the last one has lr / (decay + 1).
    """
    return lambda step: lr * max(min(1.0, (total - step) / (decay + 1)), 0.0)
