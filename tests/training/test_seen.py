"""What stages show to the networks they train, counted."""

from __future__ import annotations

import pytest

from regbench.api.registrator import Registrator
from regbench.api.translator import Translator
from regbench.data.sampler import PairSampler
from regbench.plugins.registry import registry
from regbench.runs.context import RunContext
from regbench.settings import build_config
from regbench.testing import parts, training
from regbench.training.checkpoint import TrainingState
from regbench.training.seen import images_seen, stage_record, trained
from regbench.training.trainer import Trainer


def planned(strategy: str, translator: str | None = None, **settings) -> tuple[tuple, RunContext]:
    get = registry().get
    component = get("strategy", strategy)
    config = build_config(component, parts.small_config(component).model_dump() | settings)
    ctx = parts.context(get("registrator", "mcnet"), translator and get("translator", translator))
    return parts.planned_stages(component.load()(config), ctx), ctx


def recorded(folder, stages, ctx) -> dict[str, tuple[int | None, int]]:
    """Pairs and images of each stage, after the trainer has run all of them."""
    trainer = Trainer(stages, ctx.modules, PairSampler(training.tiny_pack(), parts.PROTOCOL, seed=0), seed=0,
                      folder=folder)  # fmt: skip
    state = trainer.fit()
    records = [stage_record(stage, ctx.modules, state) for stage in stages]
    return {record["name"]: (record["pairs_seen"], record["images_seen"]) for record in records}


def test_a_batch_of_two_views_is_counted_as_it_is_registered(tmp_path):
    stages, ctx = planned("self-supervised", steps=3, batch=4)
    assert recorded(tmp_path, stages, ctx) == {"self-supervised": (3 * 4, 0)}


def test_the_stages_of_colreg(tmp_path):
    settings = {"rounds": 1, "warm_up": 2, "self_steps": 3, "student_steps": 2, "batch": 2, "student": "augmented"}
    stages, ctx = planned("colreg", "mimgcd", **settings)
    translation = next(stage for stage in stages if stage.name == "mimgcd")
    found = recorded(tmp_path, stages, ctx)
    assert found.pop("mimgcd") == (0, translation.steps * translation.batch)  # it learns from targets alone
    # R_s's labels for R come without a gradient and are not counted.
    assert found == {"r-warm-up": (4, 0), "r-self-0": (6, 0), "r-0": (4, 0)}


def test_the_joint_stage_of_sshnet_shows_each_image_once_to_the_translator(tmp_path):
    stages, ctx = planned("sshnet", "unet", steps=2, batch=2)
    pairs, images = recorded(tmp_path, stages, ctx)["sshnet"]
    assert images == 2 * 2 * 2  # self-pairs are of the images of the pair
    assert pairs == 2 * 2 * 2  # the two self-pairs: the estimate that aligns the real pair has no gradient


def test_an_unpaired_sample_is_two_images():
    stages, ctx = planned("translate", "cut")
    assert images_seen(stages[0], ctx.modules) == 2 * stages[0].steps * stages[0].batch
    assert images_seen(stages[1], ctx.modules) == 0, "the registrator's stage"


def test_a_stage_of_translators_alone_is_known_without_training():
    stages, ctx = planned("colreg", "mimgcd", rounds=1)
    first = stages[0]
    assert (trained(first, ctx.modules, Registrator), len(trained(first, ctx.modules, Translator))) == ([], 1)
    record = stage_record(first, ctx.modules, TrainingState())
    assert (record["pairs_seen"], record["images_seen"]) == (0, images_seen(first, ctx.modules))


def test_a_stage_trained_before_pairs_were_counted_is_unknown():
    (stage,), ctx = planned("self-supervised")
    assert stage_record(stage, ctx.modules, TrainingState())["pairs_seen"] is None


@pytest.mark.parametrize("strategy", ["supervised", "contrast-randomised", "scpnet"])
def test_networks_are_left_without_a_hook(tmp_path, strategy):
    stages, ctx = planned(strategy, steps=1, batch=2)
    sampler = PairSampler(training.tiny_pack(), parts.PROTOCOL, seed=0, labels=strategy == "supervised")
    Trainer(stages, ctx.modules, sampler, seed=0, folder=tmp_path).fit()
    assert not [m for module in ctx.modules.values() for m in module.modules() if m._forward_hooks]


@pytest.mark.parametrize("name", ["self-supervised", "contrast-randomised", "colreg", "sshnet", "alto", "scpnet"])
def test_the_budget_hour_shows_every_registrator_as_many_pairs(name, tmp_path):
    """Boards of that budget compare strategies that have learned from the same number of pairs."""
    translator = {"colreg": "copy-target", "sshnet": "unet"}.get(name)
    few = {"rounds": 1, "warm_up": 1, "self_steps": 1, "student_steps": 1} if name == "colreg" else {"steps": 1}
    stages, ctx = planned(name, translator, **few, batch=2)
    a_step = {kind: pairs / 2 for kind, (pairs, _) in recorded(tmp_path, stages, ctx).items()}  # in units of the batch
    hour = build_config(registry().get("strategy", name), {"preset": "hour"})
    if name == "colreg":
        later = (hour.rounds - 1) * hour.refine_steps, hour.rounds * hour.student_steps
        assert set(a_step.values()) == {1.0}
        pairs = hour.batch * (hour.warm_up + hour.self_steps + sum(later))
    else:
        pairs = hour.steps * hour.batch * sum(a_step.values())
    assert pairs == pytest.approx(64_000, rel=1e-3)
