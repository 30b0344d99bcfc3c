"""The training recipe strategies share: which optimiser, which rate."""

import pytest
import torch
from torch import nn

from regbench.errors import UsageError
from regbench.plugins.registry import registry
from regbench.settings import budget_of, build_config, parse_sets
from regbench_strategies.blocks.recipe import RegistratorRecipe


class Context:
    precision = "fp32"


@pytest.mark.parametrize(
    ("settings", "kind", "rates"),
    [
        ({}, torch.optim.AdamW, (4e-4 / 25, None)),
        ({"optimiser": "adam", "schedule": "cosine", "lr": 1e-3}, torch.optim.Adam, (1e-3, 1e-7)),
        ({"optimiser": "sgd", "schedule": "constant", "lr": 5e-3}, torch.optim.SGD, (5e-3, 5e-3)),
        ({"optimiser": "sgd", "schedule": "step", "lr": 5e-3, "decay_steps": 100}, torch.optim.SGD, (5e-3, 5e-5)),
    ],
)
def test_optimiser_and_rate_are_those_asked_for(settings, kind, rates):
    recipe = RegistratorRecipe(steps=200, weight_decay=5e-4, **settings)
    objective = recipe.objective(Context(), lambda batch, shared: {})
    optimiser = objective.optimiser([nn.Parameter(torch.zeros(2))])
    assert type(optimiser) is kind
    assert optimiser.defaults["weight_decay"] == 5e-4
    assert objective.lr(0) == pytest.approx(rates[0])
    if rates[1] is not None:
        assert objective.lr(200) == pytest.approx(rates[1])


def built(settings, budget="full"):
    component = registry().get("strategy", "supervised")
    return build_config(component, parse_sets(f"strategy.{s}" for s in settings.split())["strategy"], budget_of(budget))


def test_the_published_training_of_dhn_is_settings():
    recipe = built(
        "optimiser=sgd schedule=step lr=0.005 decay_steps=30000 steps=90000 batch=64 weight_decay=0 clip=null"
    )
    objective = recipe.objective(Context(), lambda batch, shared: {})
    optimiser = objective.optimiser([nn.Parameter(torch.zeros(2))])
    assert type(optimiser) is torch.optim.SGD
    assert (optimiser.defaults["momentum"], optimiser.defaults["weight_decay"]) == (0.9, 0)
    assert (objective.clip, recipe.batch, recipe.steps) == (None, 64, 90_000)
    expected = {0: 5e-3, 29_999: 5e-3, 30_000: 5e-4, 59_999: 5e-4, 60_000: 5e-5, 89_999: 5e-5}
    assert {step: objective.lr(step) for step in expected} == pytest.approx(expected)


def test_the_published_training_of_redfeat_is_settings():
    steps = 25 * 8_750  # 50 epochs of GoogleEarth's pairs, two a step
    recipe = built(f"optimiser=adam schedule=cosine lr=1e-3 weight_decay=5e-4 clip=5 batch=2 steps={steps}")
    objective = recipe.objective(Context(), lambda batch, shared: {})
    parameter = nn.Parameter(torch.zeros(2))
    optimiser = objective.optimiser([parameter])
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.Adam([parameter], lr=1e-3), 50, eta_min=1e-7)
    rates = []
    for _ in range(50):  # the published rate falls at the end of each epoch
        rates.append(oracle.get_last_lr()[0])
        oracle.optimizer.step()
        oracle.step()
    assert type(optimiser) is torch.optim.Adam
    assert optimiser.defaults["weight_decay"] == 5e-4
    assert (objective.clip, recipe.batch) == (5, 2)
    assert [objective.lr(epoch * steps // 50) for epoch in range(50)] == pytest.approx(rates)
    assert objective.lr(steps) == pytest.approx(1e-7)


def test_the_step_schedule_falls_at_every_budget_or_is_refused():
    for budget in ("smoke", "quick", "hour", "short", "full"):
        recipe = built("schedule=step", budget)
        rate = recipe.objective(Context(), lambda batch, shared: {}).lr
        assert rate(recipe.steps - 1) < rate(0)
    with pytest.raises(UsageError, match="decay_steps=500 is not less than steps=400"):
        built("schedule=step steps=400", "quick")
