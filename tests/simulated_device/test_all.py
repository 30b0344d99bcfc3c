"""Every strategy, translator, registrator and matcher on the simulated device."""

from __future__ import annotations

from typing import Any

import pytest

from regbench.plugins.registry import registry
from tests.simulated_device.process import outcomes

PARTNERS = {
    "alto": ("mcnet", None),
    "bihome": ("dhn-resnet34", None),
    "colreg": ("mcnet", "mimgcd"),
    "contrast-randomised": ("mcnet", None),
    "cudhn": ("cudhn-net", None),
    "dfmir": ("mhn", "cut"),
    "nemar": ("dhn", "unet"),
    "scpnet": ("mcnet", None),
    "self-supervised": ("mcnet", None),
    "sshnet": ("ihn-lite", "swin-unet"),
    "sshnet-d": ("mcnet", None),
    "supervised": ("mcnet", None),
    "translate": ("mcnet", "cyclegan"),
}
"""A registrator and a translator for each strategy."""

ABSENT = {"lightglue", "loftr", "superpoint-superglue"}
"""Matchers that need weights which nobody may redistribute."""


def named(role: str) -> list[str]:
    return [component.name for component in registry().all(role) if component.distribution != "regbench-example"]


def trainable(name: str) -> bool:
    return "train" in registry().get("registrator", name).provides


def alone(translator: str) -> bool:
    """Whether it is trained without a registrator; others are trained by strategies."""
    return "unpaired_training" in registry().get("translator", translator).provides


KINDS = ("waits", "copies", "pageable")


@pytest.fixture
def check(counted):
    """Runs a combination and holds that no stage's step waits for the device; what the stages did."""

    def run(**work: Any) -> dict[str, Any]:
        (outcome,) = outcomes(work)
        assert "error" not in outcome, outcome["error"] + outcome.get("stderr", "")
        stages: dict[str, Any] = outcome["stages"]
        named = " ".join(str(value) for key, value in work.items() if key != "batch" and value)
        for name, facts in stages.items():
            counted.append((named, name, *(sum(facts[kind].values()) for kind in KINDS), facts["launches"]))
        for name, facts in stages.items():
            if name != "judged":
                for kind in KINDS:
                    assert not facts[kind], (name, facts[kind])
        return stages

    return run


LAUNCHES = {
    "ihn": 1200,
    "mcnet4": 800,
}
"""Most launches of one supervised step of a published network, with a margin of a few per cent."""


@pytest.mark.slow
@pytest.mark.parametrize("registrator", LAUNCHES)
def test_launches_of_a_published_network(registrator, check):
    facts = check(strategy="supervised", registrator=registrator, published=True, batch=1)["supervised"]
    assert 0 < facts["launches"] <= LAUNCHES[registrator], facts["by_operator"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", named("strategy"))
def test_strategy(strategy, precision, check):
    registrator, translator = PARTNERS[strategy]
    check(strategy=strategy, registrator=registrator, translator=translator, precision=precision)


@pytest.mark.slow
@pytest.mark.parametrize("translator", [name for name in named("translator") if alone(name)])
def test_translator(translator, check):
    check(strategy="translate", registrator="mcnet", translator=translator)


@pytest.mark.slow
@pytest.mark.parametrize("registrator", [name for name in named("registrator") if trainable(name)])
def test_registrator(registrator, check):
    check(strategy="supervised", registrator=registrator)


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [name for name in named("registrator") if not trainable(name)])
def test_matcher_is_evaluated(matcher, check):
    if matcher in ABSENT:
        pytest.skip("its published weights are not here")
    check(registrator=matcher)
