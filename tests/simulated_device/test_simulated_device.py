"""A part of what the simulated device runs that is small enough for every day, and faults planted on it."""

from __future__ import annotations

import pytest

from tests.simulated_device.process import outcomes

MCNET = {"registrator": "mcnet", "strategy": "supervised", "batch": 2}
WORKS = {
    "plain": MCNET,
    "second device": MCNET | {"device": "cuda:1", "judged": False},
    "bf16": MCNET | {"precision": "bf16", "judged": False},
    "mixed": MCNET | {"plant": "mixed", "judged": False},
    "item": MCNET | {"plant": "item", "judged": False},
    "copy": MCNET | {"plant": "copy", "judged": False},
    "generator": MCNET | {"plant": "generator", "judged": False},
    "list": MCNET | {"plant": "list", "judged": False},
}
LAUNCHES = 1050
"""Of one training step of MCNet at its smallest size, with a margin of a few per cent."""


@pytest.fixture(scope="module")
def found():
    """Outcome of each of the works above."""
    return dict(zip(WORKS, outcomes(*WORKS.values()), strict=True))


@pytest.mark.parametrize("name", ["plain", "second device", "bf16"])
def test_steps_checkpoint_and_resume_keep_devices_apart_and_never_wait(found, name):
    outcome = found[name]
    assert "error" not in outcome, outcome
    (stage,) = (facts for key, facts in outcome["stages"].items() if key != "judged")
    assert not stage["waits"] | stage["copies"] | stage["pageable"]
    assert 0 < stage["launches"] <= LAUNCHES, stage["by_operator"]


def test_the_numbers_are_those_of_a_cpu(found):
    from tests.simulated_device.work import Work, run

    there = run(Work(**MCNET | {"device": "cpu", "judged": False}))["stages"]["supervised"]["logged"]
    here = found["plain"]["stages"]["supervised"]["logged"]
    assert here == pytest.approx(there, rel=1e-3)


def test_judging_waits_for_its_results_alone(found):
    waits = found["plain"]["stages"]["judged"]["waits"]
    assert waits
    assert all("estimates" in place and "cpu()" in place for place in waits), waits


@pytest.mark.parametrize(
    ("name", "message"), [("mixed", "same device"), ("generator", "a generator of the CPU cannot draw on the device")]
)
def test_what_cuda_refuses_is_refused(found, name, message):
    assert message in found[name]["error"]


@pytest.mark.parametrize(("name", "kind"), [("item", "waits"), ("copy", "copies"), ("list", "copies")])
def test_what_stops_the_host_is_counted_with_its_line(found, name, kind):
    facts = found[name]["stages"]["supervised"]
    assert len(facts[kind]) == 1
    assert "step.py" in next(iter(facts[kind]))  # the nearest line outside of this folder
