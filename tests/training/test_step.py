"""How a step updates parameters."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from regbench import Objective, Stage
from regbench.training.step import ObjectiveState


def state(optimiser, parameters: nn.Module) -> ObjectiveState:
    objective = Objective(("a",), lambda batch, shared: {}, optimiser, lambda step: 0.1)
    return ObjectiveState(objective, Stage("s", 1, 1, (), (objective,), {"a": parameters}))


@pytest.mark.parametrize(
    "optimiser",
    [
        partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1),
        partial(torch.optim.Adam, lr=0.1, betas=(0.5, 0.999)),
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    ],
)
def test_one_kernel_updates_parameters_on_a_cpu_as_torch_does_one_by_one(optimiser):
    ends = []
    for fused in (None, False):
        torch.manual_seed(0)
        layer = nn.Linear(7, 5)
        made = state(partial(optimiser, fused=fused), layer).optimiser
        assert made.param_groups[0]["fused"] == (fused is None)
        for step in range(20):
            for parameter in layer.parameters():
                parameter.grad = torch.sin(parameter.detach() * (step + 1))
            made.step()
        ends.append([p.detach() for p in layer.parameters()])
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "optimiser", [partial(torch.optim.AdamW, foreach=True), partial(torch.optim.Adam, differentiable=True)]
)
def test_an_optimiser_that_was_told_how_to_compute_is_left_as_it_is(optimiser):
    assert not state(partial(optimiser, lr=0.1), nn.Linear(2, 2)).optimiser.param_groups[0]["fused"]


def test_an_optimiser_without_such_a_kernel_is_left_as_it_is():
    made = state(partial(torch.optim.RMSprop, lr=0.1), nn.Linear(2, 2)).optimiser
    assert "fused" not in made.param_groups[0]
