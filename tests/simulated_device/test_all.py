"""Every strategy, translator, registrator and matcher on the simulated device."""

from __future__ import annotations

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


def check(outcome: dict) -> None:
    assert "error" not in outcome, outcome["error"] + outcome.get("stderr", "")
    for name, facts in outcome["stages"].items():
        if name != "judged":
            assert not facts["waits"], (name, facts["waits"])
            assert not facts["copies"], (name, facts["copies"])
            assert not facts["pageable"], (name, facts["pageable"])


LAUNCHES = {
    "ihn": 1200,
    "mcnet4": 800,
}
"""Most launches of one supervised step of a published network, with a margin of a few per cent."""


@pytest.mark.slow
@pytest.mark.parametrize("registrator", LAUNCHES)
def test_launches_of_a_published_network(registrator):
    (outcome,) = outcomes({"strategy": "supervised", "registrator": registrator, "published": True, "batch": 1})
    check(outcome)
    facts = outcome["stages"]["supervised"]
    assert 0 < facts["launches"] <= LAUNCHES[registrator], facts["by_operator"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", named("strategy"))
def test_strategy(strategy, precision):
    registrator, translator = PARTNERS[strategy]
    (outcome,) = outcomes(
        {"strategy": strategy, "registrator": registrator, "translator": translator, "precision": precision}
    )
    check(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("translator", [name for name in named("translator") if alone(name)])
def test_translator(translator):
    (outcome,) = outcomes({"strategy": "translate", "registrator": "mcnet", "translator": translator})
    check(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("registrator", [name for name in named("registrator") if trainable(name)])
def test_registrator(registrator):
    (outcome,) = outcomes({"strategy": "supervised", "registrator": registrator})
    check(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [name for name in named("registrator") if not trainable(name)])
def test_matcher_is_evaluated(matcher):
    if matcher in ABSENT:
        pytest.skip("its published weights are not here")
    (outcome,) = outcomes({"registrator": matcher})
    check(outcome)
