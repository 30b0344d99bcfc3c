from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from regbench import PairInfo, Registration, geometry
from regbench.api.types import Batch, Pair, SelfPair
from regbench.errors import UsageError
from regbench.plugins.registry import registry
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.settings import build_config
from regbench.testing.parts import planned_stages
from regbench_strategies.blocks.probes import fidelity
from regbench_strategies.colreg import CoLReg, CoLRegConfig


def context(translator: str = "mimgcd") -> RunContext:
    def chosen(role: str, name: str) -> ConfiguredComponent:
        component = registry().get(role, name)
        presets = component.load().Config.presets
        return ConfiguredComponent(component, build_config(component, {"preset": "tiny"} if "tiny" in presets else {}))

    roles = {"registrator": chosen("registrator", "mcnet"), "translator": chosen("translator", translator)}
    return RunContext(PairInfo(64, 16, 3, 1), torch.device("cpu"), roles, seed=0)


def strategy(**settings) -> CoLReg:
    return CoLReg(CoLRegConfig(**(dict(CoLRegConfig.presets["tiny"]) | settings)))


def test_stages_are_those_of_algorithm_1():
    stages = planned_stages(strategy(rounds=3, warm_up=0), context())
    refine = ["target-encoder-{0}", "mimgcd-{0}", "source-encoder-{0}", "r-self-{0}", "r-{0}"]
    expected = ["mimgcd", "r-self-0", "r-0", *(s.format(i) for i in (1, 2) for s in refine)]
    assert [s.name for s in stages] == expected
    updated = {s.name: s.updated for s in stages}
    assert updated["mimgcd-1"] == ("translator.unet",)
    assert updated["target-encoder-2"] == ("translator.target_encoder",)
    assert updated["source-encoder-2"] == ("translator.source_encoder",)
    assert updated["r-self-1"] == ("r_self",)
    assert updated["r-1"] == ("r",)
    assert all(s.deploys for s in stages if s.name.startswith("r-"))


def test_the_warm_up_trains_r_s_before_round_0():
    stages = planned_stages(strategy(rounds=2, warm_up=3), context())
    assert [s.name for s in stages][:3] == ["mimgcd", "r-warm-up", "r-self-0"]
    assert stages[1].updated == ("r_self",)
    assert stages[1].views == ("self_source",)
    assert [s.name for s in stages].count("r-warm-up") == 1


def test_the_fourth_configuration_of_figure_10_has_no_r():
    made = strategy(rounds=2, refine_r=False)
    ctx = context()
    assert made.build(ctx) is made.r_self
    stages = made.stages(ctx)
    assert not any(s.name in ("r-0", "r-1") for s in stages)
    # R_s is what aligns pairs for the translator of round 1.
    told, asked = torch.full((2, 4, 2), 3.0), []
    made.r_self.forward = lambda source, target: asked.append(source) or Registration(told[None], (64, 64))
    found = made._estimate(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert len(asked) == 1
    torch.testing.assert_close(found, geometry.translation(told[:, 0]), atol=1e-5, rtol=1e-5)


def test_published_schedule():
    c = CoLRegConfig()
    assert (c.self_steps, c.student_steps, c.refine_steps, c.batch, c.lr) == (300_000, 10_000, 60_000, 16, 4e-4)
    assert c.warm_up == 0


def test_the_student_of_the_paper_is_the_default_and_short_presets_augment():
    assert CoLRegConfig().student == "literal"
    assert {name: preset["student"] for name, preset in CoLRegConfig.presets.items()} == dict.fromkeys(
        ("hour", "quick", "smoke", "tiny"), "augmented"
    )


@pytest.mark.parametrize(
    ("student", "views"),
    [("literal", ("pair",)), ("exposed", ("pair",)), ("augmented", ("pair", "self_source"))],
)
def test_only_the_augmented_student_needs_another_warp(student, views):
    stages = planned_stages(strategy(rounds=1, student=student), context("copy-target"))
    assert stages[-1].name == "r-0"
    assert stages[-1].views == views


def test_a_translator_without_aligned_stages_is_refused_for_more_rounds(monkeypatch):
    from regbench import Translator
    from regbench_translators.mimgcd import MIMGCD

    monkeypatch.setattr(MIMGCD, "aligned_stages", Translator.aligned_stages)
    with pytest.raises(UsageError, match=r"--set strategy\.rounds=1"):
        planned_stages(strategy(rounds=2), context())
    assert planned_stages(strategy(rounds=1), context())


def test_a_translator_that_cannot_refine_is_for_one_round():
    with pytest.raises(UsageError, match=r"aligned pairs; use --set strategy\.rounds=1"):
        planned_stages(strategy(rounds=2), context("copy-target"))


def test_a_translator_that_learns_nothing_has_no_stage():
    stages = planned_stages(strategy(rounds=1, warm_up=0), context("copy-target"))
    assert [s.name for s in stages] == ["r-self-0", "r-0"]


@pytest.mark.parametrize(("reference", "shown"), [("paired", [0, 1]), ("random", [1, 0])])
def test_the_reference_is_the_pairs_own_target_or_another(reference, shown):
    made = strategy(reference=reference)
    batch, seen = unaligned(torch.zeros(2, 4, 2)), []

    class Spy:
        def translate(self, source, target, *, generator):
            seen.append(target)
            return source

    made.translator, made.r_self = Spy(), Student(torch.zeros(2, 4, 2))
    made.r_self.loss, made._fidelity = lambda found, label: label.sum(), {}
    logged = made._self_loss(batch, {})
    assert logged["follows_source"] > logged["follows_target"]  # the spy's translation is the source
    assert torch.equal(seen[0], batch.pair.target[shown])


def test_translations_of_the_pool_are_kept_until_the_stage_begins_again():
    made, told = strategy(pool=2, rounds=1), torch.zeros(2, 4, 2)
    stages = {stage.name: stage for stage in planned_stages(made, context("copy-target"))}
    asked = []

    class Spy:
        def translate(self, source, target, *, generator):
            asked.append(generator.initial_seed())
            return source + torch.rand(source.shape, generator=generator)

    made.translator, made.r_self = Spy(), Student(told)
    made.r_self.loss = lambda found, label: label.sum()

    def seen(step):
        batch = unaligned(told)
        again = {"pair_step": step % 2, "pair_generator": torch.Generator().manual_seed(step % 2)}
        made._self_loss(replace(batch, **again), {})
        return made.r_self.seen[1]

    first = [seen(step) for step in range(6)]
    assert asked == [0, 1]
    assert all(found is first[step % 2] for step, found in enumerate(first))
    assert stages["r-self-0"].repeat_pairs == 2
    assert stages["r-0"].repeat_pairs is None
    stages["r-self-0"].setup()  # as after a resume
    assert seen(3) is seen(3)
    assert asked == [0, 1, 1]


def test_without_a_pool_the_run_is_recorded_as_before_there_was_one():
    assert "pool" not in CoLRegConfig().model_dump(mode="json")
    assert CoLRegConfig(pool=3).model_dump(mode="json")["pool"] == 3


class Teacher:
    """Says what it is told to."""

    def __init__(self, displacement, ok=None):
        self.displacement, self.ok = displacement, ok

    def __call__(self, source, target):
        return Registration(self.displacement[None], (64, 64), self.ok)


class Student(Teacher):
    def __call__(self, source, target):
        self.seen = (source, target)
        return super().__call__(source, target)

    def loss(self, found, label, weight):
        self.label, self.weight = label, weight
        return (found.displacement - label).abs().mean()


def unaligned(self_displacement) -> Batch:
    batch = Batch(2, 0, torch.Generator().manual_seed(0))
    image = torch.rand(2, 3, 64, 64)
    batch.views["pair"] = Pair(image, torch.rand(2, 3, 64, 64))
    batch.views["self_source"] = SelfPair(image, torch.rand(2, 3, 64, 64), self_displacement, torch.ones(2, 1, 64, 64))
    return batch


@pytest.mark.parametrize("filter", [True, False])
def test_a_pair_the_teacher_gave_up_is_not_learned_from(filter):
    made = strategy(filter=filter)
    made.r_self, made.r = Teacher(torch.zeros(2, 4, 2), torch.tensor([False, True])), Student(torch.zeros(2, 4, 2))
    made._student_loss(unaligned(torch.zeros(2, 4, 2)), {})
    assert made.r.weight.tolist() == [0, 2]


def test_the_augmented_student_learns_the_composed_label():
    own, told = (torch.randint(-9, 10, (2, 4, 2)).float() for _ in range(2))
    made = strategy()
    made.r_self, made.r = Teacher(told), Student(torch.zeros(2, 4, 2))
    made._student_loss(unaligned(own), {})
    corners = geometry.corners((64, 64))
    h = geometry.homography_from_displacement(told, (64, 64))
    expected = geometry.transform_points(h, corners + own) - corners  # warped -> source -> target
    torch.testing.assert_close(made.r.label, expected, atol=1e-3, rtol=1e-4)


def test_folded_labels_have_no_weight():
    told = torch.zeros(2, 4, 2)
    told[1, 0] = 70.0  # the top left corner beyond the bottom right
    made = strategy(student="literal")
    made.r_self, made.r = Teacher(told), Student(torch.zeros(2, 4, 2))
    found = made._student_loss(unaligned(told), {})
    assert made.r.weight.tolist() == [2.0, 0.0]
    assert float(found["valid"]) == 0.5


def test_the_literal_student_sees_the_pair_itself():
    made = strategy(student="literal")
    made.r_self, made.r = Teacher(torch.ones(2, 4, 2)), Student(torch.zeros(2, 4, 2))
    batch = unaligned(torch.zeros(2, 4, 2))
    made._student_loss(batch, {})
    assert made.r.seen[0] is batch.pair.source
    assert made.r.seen[1] is batch.pair.target


def test_the_exposed_student_sees_the_pair_in_another_exposure_with_the_teachers_label():
    made, told = strategy(student="exposed"), torch.randint(-9, 10, (2, 4, 2)).float()
    made.r_self, made.r = Teacher(told), Student(torch.zeros(2, 4, 2))
    batch = unaligned(torch.full((2, 4, 2), 5.0))
    pair = batch.pair
    del batch.views["self_source"]
    made._student_loss(batch, {})
    torch.testing.assert_close(made.r.label, told)
    for seen, image in zip(made.r.seen, (pair.source, pair.target), strict=True):
        assert not torch.allclose(seen, image, atol=0.01)
        for one, before in zip(seen, image, strict=True):  # in place: brighter pixels stay brighter
            assert torch.corrcoef(torch.stack([one.flatten(), before.flatten()]))[0, 1] > 0.95


def test_fidelity_tells_whose_geometry_a_translation_has():
    source, target = (
        torch.nn.functional.interpolate(torch.rand(2, 3, 12, 12), (64, 64), mode="bicubic").clamp(0, 1) for _ in "ab"
    )
    faithful, leaking = fidelity(source, target, 1 - source), fidelity(source, target, target)
    assert faithful[0] > 0.9 > faithful[1]
    assert leaking[1] > 0.9 > leaking[0]


def test_a_warning_before_learning_from_unfaithful_translations(caplog):
    made = strategy()
    source, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    made._probe(source, target, target)
    assert "target's geometry" in caplog.text
