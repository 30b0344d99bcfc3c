"""What every metric promises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from regbench.metrics import PairErrors
from regbench.plugins.registry import Component
from regbench.testing.parts import each


def errors(seed: int = 0, scale: float = 1.0) -> PairErrors:
    """Plausible errors of 40 pairs of 10 images; every tenth pair failed."""
    rng = np.random.default_rng(seed)
    identity = rng.uniform(4, 16, 40)
    return PairErrors(identity * rng.uniform(0, 1.2, 40) * scale, identity, np.arange(40) % 10 > 0, np.arange(40) // 4)


@each("metric")
@pytest.mark.parametrize("seed", range(3))
def test_metric_is_a_finite_number(component: Component, seed: int) -> None:
    """A float, finite, not negative; a percentage where the summary says percent."""
    value = float(component.load()(errors(seed)))
    assert math.isfinite(value)
    assert value >= 0
    if "percent" in component.summary:
        assert value <= 100


@each("metric")
def test_metric_survives_failures(component: Component) -> None:
    """Pairs without an answer, even all of them, still give a number."""
    some = errors()
    failed = replace(some, error=np.full(40, np.nan), ok=np.zeros(40, bool))
    assert math.isfinite(float(component.load()(failed)))


@each("metric")
def test_metric_ignores_the_order_of_pairs(component: Component) -> None:
    """Pairs are a set."""
    metric, some = component.load(), errors()
    assert float(metric(some)) == pytest.approx(float(metric(some.subset(np.arange(40)[::-1]))))


@each("metric")
def test_metric_points_the_way_it_says(component: Component) -> None:
    """Smaller errors are never worse: higher is better only with ``provides=("higher_is_better",)``."""
    metric = component.load()
    good, poor = float(metric(errors(scale=0.1))), float(metric(errors(scale=2.0)))
    assert good >= poor if "higher_is_better" in component.provides else good <= poor


@each("metric")
def test_metric_changes_nothing(component: Component) -> None:
    """The errors are as before."""
    some, same = errors(), errors()
    component.load()(some)
    for name in ("error", "identity", "ok", "image"):
        assert np.array_equal(getattr(some, name), getattr(same, name))
