"""Learning rates as functions of the step."""

import pytest
import torch

from regbench.schedules import constant, constant_then_linear, cosine, one_cycle, step_decay


@pytest.mark.parametrize("total", [7, 33, 100, 120, 1600])
def test_one_cycle_equals_torch_at_every_step(total):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    torch_lr = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=4e-4, total_steps=total, pct_start=0.05, anneal_strategy="linear", cycle_momentum=False
    )
    ours = one_cycle(4e-4, total)
    for step in range(total):
        assert ours(step) == pytest.approx(torch_lr.get_last_lr()[0], rel=1e-9, abs=1e-18), step
        optimiser.step()
        if step + 1 < total:
            torch_lr.step()


def test_one_cycle_rises_to_its_peak_and_ends_near_zero():
    lr = one_cycle(1.0, 1000)
    rates = [lr(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[49] == pytest.approx(1.0)
    assert rates[:50] == sorted(rates[:50])
    assert rates[49:] == sorted(rates[49:], reverse=True)
    assert lr(999) == lr(5000) == pytest.approx(1 / 25e4)


def test_one_cycle_with_a_warm_up_of_one_step_is_finite():
    lr = one_cycle(1.0, 20)  # where torch divides by zero
    assert lr(0) == 1.0
    assert 0 < lr(19) < 1e-4


def test_cosine_equals_torch_and_stays_at_its_end():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    torch_lr = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50, eta_min=1e-7)
    ours = cosine(1e-3, 50, end=1e-7)
    for step in range(51):
        assert ours(step) == pytest.approx(torch_lr.get_last_lr()[0], rel=1e-9), step
        optimiser.step()
        torch_lr.step()
    assert ours(80) == pytest.approx(1e-7)


def test_step_decay_multiplies_after_every_interval():
    lr = step_decay(0.005, 30)
    assert [lr(s) for s in (0, 29, 30, 59, 60)] == pytest.approx([5e-3, 5e-3, 5e-4, 5e-4, 5e-5])
    assert step_decay(1.0, 10, factor=0.5)(25) == 0.25


def test_constant_is_constant():
    assert {constant(3e-4)(step) for step in (0, 1, 10**6)} == {3e-4}


@pytest.mark.parametrize(("constant_epochs", "decay_epochs"), [(100, 100), (200, 200), (150, 50), (3, 0)])
def test_constant_then_linear_is_the_lambda_rule_of_cyclegan(constant_epochs, decay_epochs):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    rule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda epoch: 1 - max(0, epoch + 1 - constant_epochs) / (decay_epochs + 1)
    )
    ours = constant_then_linear(2e-4, constant_epochs + decay_epochs, decay_epochs)
    for epoch in range(constant_epochs + decay_epochs):
        assert ours(epoch) == pytest.approx(rule.get_last_lr()[0], rel=1e-9), epoch
        optimiser.step()
        rule.step()
    assert ours(10**6) == 0
