"""Two processes over gloo and one alone: the same gradients, losses and buffers, for everything that trains."""

from __future__ import annotations

import pytest
import torch

from regbench.distributed.processes import ALONE
from regbench.plugins.registry import registry
from tests.distributed.cases import CASES, FAST, INTERRUPTED, OPERATORS, RESUMES, SLOW, Training
from tests.distributed.pair import start

CLOSE = 1e-6
"""Of gradients, relative to their length, in double precision: rounding stays below 1e-8, a wrong share above 1e-3."""
LOGGED = 2e-6
"""Of logged values, which are rounded to six digits after the point."""


@pytest.fixture(scope="module")
def operators(tmp_path_factory):
    folder = tmp_path_factory.mktemp("operators")
    INTERRUPTED(ALONE, 4, folder / "ended", until=2)
    return _both(folder, [*OPERATORS, *FAST], [*RESUMES]) | {"folder": folder}


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    return _both(tmp_path_factory.mktemp("trainings"), [*SLOW])


def _both(folder, names, only_together=()):
    """What two processes find, and meanwhile one alone: the processes start once for all cases."""
    started = start(folder, [*names, *only_together])
    alone = {name: CASES[name](ALONE) for name in names}
    started.wait()
    return {name: (alone.get(name), started.found(name)) for name in (*names, *only_together)}


def test_gathered_values_carry_the_gradient_of_all(operators):
    whole = torch.arange(12.0).reshape(6, 2)
    for found in operators["gathered"][1]:
        torch.testing.assert_close(found["values"], whole)
        torch.testing.assert_close(found["gradient"], 3 * whole.square())


def test_a_ratio_is_that_of_the_whole_batch(operators):
    x = torch.tensor([1.0, -3.0, 2.0, 5.0])
    value = x.sum() / x.square().sum()
    for found in operators["ratio"][1]:
        torch.testing.assert_close(found["value"], value)
        torch.testing.assert_close(found["gradient"], (1 - 2 * x * value) / x.square().sum())


def test_samples_may_lie_along_another_dimension(operators):
    for found in operators["along_the_second"][1]:
        assert torch.equal(found["values"], torch.arange(12.0).reshape(3, 4))


def test_batch_norm_and_dropout_see_the_whole_batch(operators):
    alone, both = operators["layers"]
    for found in both:
        assert found.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4, msg=lambda m, key=key: f"{key}: {m}")


def test_the_mean_weight_is_one_over_the_whole_batch(operators):
    for found in operators["doubted"][1]:  # weights are 4/3, 4/3, 0, 4/3
        torch.testing.assert_close(found["gradient"], torch.tensor((1.0 + 2.0 + 5.0) / 3))


@pytest.mark.parametrize("name", FAST)
def test_two_processes_train_as_one(operators, name):
    _compare(*operators[name])


def test_a_run_goes_on_with_another_number_of_processes(operators):
    whole = INTERRUPTED(ALONE, 4)
    fewer = INTERRUPTED(ALONE, 4, operators["folder"] / "begun")
    weights = [key for key in whole if key.startswith("weights")]
    for found in (fewer, *operators["ended"][1]):
        assert sum(key.startswith("gradient") for key in found) == 2  # of the steps that were left
        for key in weights:
            close = {"rtol": CLOSE, "atol": CLOSE, "msg": lambda m, key=key: f"{key}: {m}"}
            torch.testing.assert_close(found[key], whole[key], **close)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_two_processes_train_as_one_whatever_is_trained(trainings, name):
    _compare(*trainings[name])


def _compare(alone, both):
    (first, second), largest = both, 0.0
    assert first.keys() == alone.keys()
    assert [key for key in first if not key.startswith("log") and not torch.equal(first[key], second[key])] == []
    for key, value in alone.items():
        if key.startswith("gradient"):
            assert value.norm() > 0, key
            apart = (first[key] - value).norm() / value.norm()
            largest = max(largest, float(apart))
            assert apart <= CLOSE, f"{key}: {apart:.1e} of its length apart"
        else:
            tolerance = LOGGED if key.startswith("log") else CLOSE
            torch.testing.assert_close(
                first[key], value, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda m, key=key: f"{key}: {m}"
            )
    print(f"gradients differ by {largest:.1e} of their length")


def test_every_strategy_and_every_translator_that_learns_is_a_case():
    cases = [case for case in CASES.values() if isinstance(case, Training)]
    strategies = {c.name for c in registry().all("strategy") if c.distribution == "regbench-strategies"}
    assert strategies == {case.strategy for case in cases}
    learning = {
        c.name
        for c in registry().all("translator")
        if c.distribution == "regbench-translators" and {"unpaired_training", "differentiable"} <= set(c.provides)
    }
    assert learning <= {case.translator for case in cases}
