"""Estimates that cannot be right are recognised without labels, logged, and warned of once."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

from regbench import ComponentConfig, PairInfo, Registration, Registrator, Stage
from regbench.api.types import Batch, Pair
from regbench.training.health import Health, every, measures, state_of
from tests.training import toy_run as toy

SIZE = (64, 64)
OK = torch.ones(40, dtype=torch.bool)


def uniform(rho: float = 16) -> torch.Tensor:
    return (2 * torch.rand(40, 4, 2, generator=torch.Generator().manual_seed(0)) - 1) * rho


def judged(displacement: torch.Tensor) -> str:
    return state_of(measures(displacement, OK[: len(displacement)], SIZE), 64)


def test_offsets_of_the_protocol_are_healthy():
    found = measures(uniform(), OK, SIZE)
    assert found["valid"] == 1.0
    assert found["magnitude"] == pytest.approx(16 * 0.7652, rel=0.1)  # mean distance of a square's points to its centre
    assert found["spread"] == pytest.approx(16 / 3**0.5, rel=0.1)
    assert 0.6 < found["overlap"] < 1.0
    assert judged(uniform()) == "ok"


def test_overlap_is_the_area_the_source_covers():
    half = torch.zeros(3, 4, 2)
    half[..., 0] = 32.0
    assert measures(half, OK[:3], SIZE)["overlap"] == pytest.approx(0.5, abs=0.01)
    assert measures(torch.zeros(3, 4, 2), OK[:3], SIZE)["overlap"] == 1.0


def folded() -> torch.Tensor:
    made = torch.zeros(40, 4, 2)
    made[:, 0] = 70.0
    return made


@pytest.mark.parametrize(
    ("displacement", "state"),
    [
        (torch.zeros(40, 4, 2), "collapsed"),
        (uniform(0.1), "collapsed"),
        (uniform()[:1].expand(40, 4, 2), "collapsed"),  # the same answer for every pair
        (folded(), "diverged"),
        (torch.full((40, 4, 2), float("nan")), "diverged"),
        (uniform() + torch.tensor([30.0, 30.0]), "diverged"),
        (uniform(4) + torch.tensor([0.0, -10.0]), "ok"),
    ],
    ids=["zero", "small", "constant", "folded", "nan", "far", "shifted"],
)
def test_what_estimates_look_like(displacement, state):
    assert judged(displacement) == state


def test_a_small_magnitude_may_still_be_out_of_view():
    found = {"valid": 1.0, "magnitude": 19.0, "spread": 5.0, "overlap": 0.3}
    assert state_of(found, 64) == "out of view"


def test_what_is_not_found_counts_as_invalid():
    found = measures(uniform(), torch.arange(40) < 10, SIZE)
    assert found["valid"] == 0.25
    assert measures(uniform(), torch.zeros(40, dtype=torch.bool), SIZE)["valid"] == 0.0


class Says(Registrator):
    """Estimates what it is told to."""

    def __init__(self, displacement: torch.Tensor) -> None:
        super().__init__(ComponentConfig(), PairInfo(patch=64, rho=16))
        self.displacement, self.modes = displacement, []

    def forward(self, source, target):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return Registration(self.displacement[None, : len(source)], SIZE)


class Images:
    """Stands in for the sampler; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked = []

    def batch(self, stage, step, size, views):
        self.asked.append((stage, step, size, views))
        batch = Batch(size, step, torch.Generator())
        batch.views["pair"] = Pair(torch.rand(size, 3, *SIZE), torch.rand(size, 3, *SIZE))
        return batch


def stage(steps: int = 1000, **deploys: nn.Module) -> Stage:
    return Stage("s", steps, 1, ("pair",), (), {}, deploys=deploys)


def test_checks_are_logged_and_the_end_of_each_stage_summarised(tmp_path, caplog):
    images, module = Images(), Says(uniform()).train()
    health = Health(tmp_path, images)
    for step in (500, 1000, 1000):  # the last once more, after a resume
        health(module, "r", stage(), step)
    lines = [json.loads(line) for line in (tmp_path / "health.jsonl").read_text().splitlines()]
    assert [(e["step"], e["state"]) for e in lines] == [(500, "ok"), (1000, "ok"), (1000, "ok")]
    (entry,) = health.summary([stage()])
    assert (entry["stage"], entry["module"], entry["step"]) == ("s", "r", 1000)
    assert len(set(images.asked)) == 1, "every check sees the same pairs"
    assert images.asked[0][3] == ("pair",)
    assert set(module.modes) == {(False, False)}
    assert module.training
    assert not caplog.records


def test_one_warning_for_one_reason(tmp_path, caplog):
    health = Health(tmp_path, Images())
    for step in (300, 600, 1000):
        health(Says(folded()), "r", stage(), step)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "r of stage s looks diverged at step 300" in caplog.text
    assert len(caplog.records[0].getMessage().splitlines()) == 1


def test_estimates_may_start_near_zero_but_not_end_there(tmp_path, caplog):
    health, module = Health(tmp_path, Images()), Says(torch.zeros(40, 4, 2))
    health(module, "r", stage(), 300)
    assert not caplog.records
    health(module, "r", stage(), 1000)
    assert "collapsed" in caplog.text


def test_ten_checks_a_stage_none_closer_than_a_hundred_steps():
    assert [every(stage(steps)) for steps in (20, 600, 1500, 120_000)] == [100, 100, 150, 12_000]


def test_the_trainer_watches_without_changing_training(tmp_path):
    seen: list[tuple[str, str, int]] = []

    def watch(module: nn.Module, name: str, stage: Stage, step: int) -> None:
        torch.rand(3)
        module.eval()
        seen.append((stage.name, name, step))

    def trained(folder, watch) -> torch.Tensor:
        folder.mkdir()
        m = toy.modules()
        stages = [dataclasses.replace(s, deploys={"b": m["b"]}) for s in toy.stages(m, 110)]
        toy.trainer(folder, m, stages=stages, watch=watch, seconds=1e9, log_every=1000).fit()
        return m["a"][0].weight.detach().clone()

    plain, watched = trained(tmp_path / "plain", None), trained(tmp_path / "watched", watch)
    assert seen == [(s, "b", step) for s in ("first", "second") for step in (100, 110)]
    assert torch.equal(plain, watched)


def test_averaged_weights_are_what_is_watched(tmp_path):
    m = toy.modules()
    first = dataclasses.replace(toy.stages(m, 110)[0], deploys={"a": m["a"]})
    seen: list[torch.Tensor] = []
    toy.trainer(
        tmp_path, m, stages=[first], seconds=1e9, log_every=1000,
        watch=lambda module, *_: seen.append(module[0].weight.detach().clone()),
    ).fit()  # fmt: skip
    # At the end the average has replaced the weights; halfway it is used for the check alone.
    assert torch.equal(seen[-1], m["a"][0].weight)
    assert not torch.equal(seen[0], seen[-1])
