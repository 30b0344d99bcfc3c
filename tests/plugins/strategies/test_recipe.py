"""The training recipe strategies share: which optimiser, which rate."""

import pytest
import torch
from torch import nn

from regbench_strategies.blocks.recipe import RegistratorRecipe


class Context:
    precision = "fp32"


@pytest.mark.parametrize(
    ("settings", "kind", "rates"),
    [
        ({}, torch.optim.AdamW, (4e-4 / 25, None)),
        ({"optimiser": "adam", "schedule": "cosine", "lr": 1e-3}, torch.optim.Adam, (1e-3, 1e-7)),
        ({"optimiser": "sgd", "schedule": "constant", "lr": 5e-3}, torch.optim.SGD, (5e-3, 5e-3)),
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
