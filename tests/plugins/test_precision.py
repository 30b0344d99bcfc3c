"""``--precision`` reaches every objective of every strategy and translator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regbench.plugins.registry import registry
from regbench.testing.parts import build_strategy, context, planned_stages
from tests.simulated_device.test_all import PARTNERS, alone, named

IN_FLOAT32: dict[str, str] = {}
"""Stages that stay in float32, with the reason."""


def stages(strategy: str, registrator: str, translator: str | None):
    parts = registry().get("registrator", registrator), translator and registry().get("translator", translator)
    ctx = replace(context(*parts), precision="bf16")
    return planned_stages(build_strategy(registry().get("strategy", strategy)), ctx)


@pytest.mark.parametrize(
    ("strategy", "registrator", "translator"),
    [
        *((strategy, *PARTNERS[strategy]) for strategy in named("strategy")),
        *(("translate", "mcnet", name) for name in named("translator") if alone(name)),
    ],
)
def test_every_objective_has_the_precision_of_the_run(strategy, registrator, translator):
    for stage in stages(strategy, registrator, translator):
        for objective in stage.objectives:
            expected = "fp32" if stage.name in IN_FLOAT32 else "bf16"
            assert objective.precision == expected, stage.name
