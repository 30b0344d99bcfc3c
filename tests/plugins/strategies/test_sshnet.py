"""SSHNet: its stage, what each switch does to the loss, and where gradients go."""

from __future__ import annotations

import itertools

import cv2
import kornia
import numpy as np
import pytest
import torch

from regbench import PairInfo, geometry
from regbench.api.types import Batch, Pair, SelfPair
from regbench.errors import DataError, UsageError
from regbench.ops import random_features
from regbench.plugins.registry import registry
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.settings import build_config
from regbench.testing.parts import planned_stages
from regbench.testing.training import check_changes, snapshot, train_stage
from regbench_strategies.blocks.jitter import jittered
from regbench_strategies.sshnet import SSHNet, SSHNetConfig

SIZE = (64, 64)
ALL = ("pair", "self_source", "self_target")


def context(translator: str = "unet", registrator: str = "mcnet") -> RunContext:
    def chosen(role: str, name: str) -> ConfiguredComponent:
        component = registry().get(role, name)
        preset = {"preset": "tiny"} if "tiny" in component.load().Config.presets else {}
        return ConfiguredComponent(component, build_config(component, preset))

    roles = {"registrator": chosen("registrator", registrator), "translator": chosen("translator", translator)}
    return RunContext(PairInfo(64, 16, 3, 1), torch.device("cpu"), roles, seed=0)


def planned(ctx: RunContext | None = None, **settings) -> SSHNet:
    """A strategy after ``build`` and ``stages``, by default without jitter."""
    made = SSHNet(SSHNetConfig(**(dict(SSHNetConfig.presets["tiny"]) | {"jitter": False} | settings)))
    made.plan = planned_stages(made, ctx or context())
    return made


def batch(seed: int = 0) -> Batch:
    """Two pairs, noise all of them, with views as a stage gets them."""
    generator = torch.Generator().manual_seed(seed)

    def own(image: torch.Tensor) -> SelfPair:
        label = torch.randint(-9, 10, (2, 4, 2), generator=generator).float()
        return SelfPair(image, torch.rand(2, 3, *SIZE, generator=generator), label, torch.ones(2, 1, *SIZE))

    made = Batch(2, 0, generator)
    source, target = (torch.rand(2, 3, *SIZE, generator=generator) for _ in "ab")
    made.views.update({"pair": Pair(source, target), "self_source": own(source), "self_target": own(target)})
    return made


# --- the stage


def test_published_defaults():
    c = SSHNetConfig()
    assert (c.steps, c.batch, c.lr, c.weight_decay, c.clip, c.optimiser) == (120_000, 16, 4e-4, 1e-5, 1.0, "adamw")
    assert (c.reformulate, c.split, c.regulariser, c.jitter, c.corr_updates_registrator) == (True,) * 5
    assert (c.pcp, c.pcp_backend, c.pcp_range, c.corr) == ("lpips", "vgg16", "unit", "corr")


@pytest.mark.parametrize(
    ("settings", "views"),
    [
        ({}, ALL),
        ({"regulariser": False}, ("pair", "self_target")),
        ({"reformulate": False, "split": False}, ("pair",)),
    ],
)
def test_a_stage_asks_for_no_more_views_than_it_uses(settings, views):
    (stage,) = planned(**settings).plan
    assert stage.views == views
    assert stage.updated == ("translator", "registrator")


def test_a_translator_that_cannot_learn_is_not_updated():
    (stage,) = planned(context("identity")).plan
    assert stage.updated == ("registrator",)


def test_impossible_requests_are_refused():
    with pytest.raises(UsageError, match=r"DHN lacks; use --set strategy\.corr=none"):
        planned(context(registrator="dhn"))
    assert planned(context(registrator="dhn"), corr="none").plan
    with pytest.raises(ValueError, match="nothing that trains the registrator"):
        SSHNetConfig(reformulate=False)


def test_missing_weights_are_said_when_training_starts(tmp_path):
    (stage,) = planned(pcp_backend="vgg16", pcp_weights=str(tmp_path)).plan  # a finished run opens without them
    with pytest.raises(DataError, match=r"vgg16-397923af.pth: no such file.*--set strategy.pcp_backend=random"):
        stage.setup()


def test_provenance_names_the_features():
    assert planned().provenance()["perceptual"]["backend"] == "random"
    assert planned(pcp="l1").provenance() == {}


# --- the loss, against a plain form of it


def sequence(found, label) -> float:
    estimates = found.displacements
    return sum(0.8 ** (len(estimates) - 1 - i) * float((e - label).abs().mean()) for i, e in enumerate(estimates))


def plain(made: SSHNet, b: Batch) -> dict[str, float]:
    """Every term as the paper and its code have them, warped by kornia from corner points."""
    t, h = (lambda image: made.translator.translate(image, b.pair.target)), made.registrator
    one, other = b.self_source, b.self_target
    terms = {
        "l_h_source": sequence(h(t(one.warped), t(one.image)), one.displacement),
        "l_h_target": sequence(h(other.warped, other.image), other.displacement),
    }
    translated = t(b.pair.source)
    points = geometry.corners(SIZE).expand(2, 4, 2)
    matrix = kornia.geometry.get_perspective_transform(points, points + h(translated, b.pair.target).displacement)
    moved = kornia.geometry.warp_perspective(translated, matrix, SIZE)
    target = b.pair.target * kornia.geometry.warp_perspective(torch.ones_like(translated), matrix, SIZE)
    terms["lpips"] = float(random_features()(moved, target).mean())
    terms["l1"] = float((moved - target).abs().mean())
    terms["l2"] = float(((moved - target) ** 2).mean())
    first, second = h.features(moved), h.features(target)
    for name, pool in (("corr", 1), ("pool_corr", 2)):
        cosines = []
        for n, y, x in itertools.product(range(2), *(range(0, side, pool) for side in first.shape[-2:])):
            a, c = (f[n, :, y : y + pool, x : x + pool].mean((1, 2)) for f in (first, second))
            cosines.append(float(a @ c / (a.norm() * c.norm())))
        terms[name] = 1 - float(np.mean(cosines))
    return terms


@pytest.mark.parametrize("registrator", ["mcnet", "ihn1"])
@torch.no_grad()
def test_every_term_is_that_of_the_paper(registrator):
    ctx, b = context(registrator=registrator), batch()
    expected = plain(planned(ctx), b)
    found = planned(ctx)._terms(b)[0]
    assert list(found) == ["l_h_source", "l_h_target", "l_pcp", "l_corr"]
    for name in ("l_h_source", "l_h_target"):
        assert float(found[name]) == pytest.approx(expected[name], rel=1e-4)
    for pcp in ("lpips", "l1", "l2"):
        assert float(planned(ctx, pcp=pcp)._terms(b)[0]["l_pcp"]) == pytest.approx(expected[pcp], rel=1e-3)
    for corr in ("corr", "pool_corr"):
        assert float(planned(ctx, corr=corr)._terms(b)[0]["l_corr"]) == pytest.approx(expected[corr], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        ({}, ["l_h_source", "l_h_target", "l_pcp", "l_corr"]),
        ({"regulariser": False}, ["l_h_target", "l_pcp", "l_corr"]),
        ({"corr": "none"}, ["l_h_source", "l_h_target", "l_pcp"]),
        ({"reformulate": False, "split": False, "corr": "none"}, ["l_pcp"]),
    ],
)
@torch.no_grad()
def test_the_loss_is_the_plain_sum_of_what_is_switched_on(settings, terms):
    made, b = planned(**settings), batch()
    logged = made._loss(b, {})
    assert [name for name in logged if name.startswith("l_")] == terms
    torch.testing.assert_close(logged["loss"], torch.stack([logged[name] for name in terms]).sum())


@torch.no_grad()
def test_the_registrators_own_loss_is_an_option():
    ctx, b = context(), batch()
    found = planned(ctx, displacement_loss="own")._terms(b)[0]["l_h_target"]
    own = b.self_target
    torch.testing.assert_close(
        found, ctx.registrator().loss(ctx.registrator()(own.warped, own.image), own.displacement)
    )


# --- gradients


def reached(made: SSHNet, term: str, b: Batch | None = None) -> set[str]:
    """The networks a term's gradient reaches."""
    value = made._terms(b or batch())[0][term]
    found = set()
    for name, module in (("T", made.translator), ("H", made.registrator)):
        parameters = [p for p in module.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        if any(g is not None and g.abs().sum() > 0 for g in gradients):
            found.add(name)
    return found


def test_the_split_is_three_stop_gradients():
    made = planned()
    assert reached(made, "l_h_source") == {"H"}
    assert reached(made, "l_h_target") == {"H"}
    assert reached(made, "l_pcp") == {"T"}
    assert reached(made, "l_corr") == {"T", "H"}


def test_straight_optimisation_lets_every_gradient_pass():
    made = planned(split=False)
    assert reached(made, "l_h_source") == {"T", "H"}
    assert reached(made, "l_h_target") == {"H"}
    assert reached(made, "l_pcp") == {"T", "H"}


def test_the_estimate_is_a_constant_to_the_warp():
    """Without the split, H may lower L_pcp by moving the picture; with it the same value has no such slope."""
    for split in (True, False):
        made = planned(split=split)
        b = batch()
        estimate = made._aligned(b)[3]
        assert estimate.requires_grad is not split


def test_the_correlation_loss_can_be_kept_from_the_registrator():
    ctx, b = context(), batch()
    kept, live = planned(ctx, corr_updates_registrator=False), planned(ctx)
    assert reached(kept, "l_corr") == {"T"}
    torch.testing.assert_close(kept._terms(b)[0]["l_corr"], live._terms(b)[0]["l_corr"])
    slopes = [torch.autograd.grad(m._terms(b)[0]["l_corr"], list(m.translator.parameters())) for m in (kept, live)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("settings", [{}, {"clip_each": True}, {"split": False, "clip_each": True}])
def test_training_changes_both_networks_and_nothing_else(settings):
    ctx = context()
    change = train_stage(planned(ctx, **settings).plan[0], ctx, labels=False)
    check_changes(change)
    assert {name.split("/")[0] for name in change.parameters} == {"translator", "registrator"}


@pytest.mark.parametrize("split", [True, False])
def test_clipping_apart_changes_nothing_but_the_clipping(split):
    after = []
    for apart in (False, True):
        ctx = context()
        train_stage(planned(ctx, clip_each=apart, clip=1e9, split=split).plan[0], ctx, labels=False)
        after.append(snapshot(ctx.modules))
    for key, value in after[0].items():
        torch.testing.assert_close(value, after[1][key], msg=key)


# --- jitter


def test_jitter_is_brightness_then_sharpening_of_each_image():
    images = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    found = jittered(images, torch.Generator().manual_seed(7))
    draws = torch.rand(3, 3, 1, 1, 1, generator=torch.Generator().manual_seed(7)).flatten(1).T.tolist()
    for image, result, (bright, mixed, light) in zip(images, found, draws, strict=True):
        picture = image.permute(1, 2, 0).numpy()
        picture = np.clip(picture + (0.8 * bright - 0.4) * picture.mean(), 0, 1)
        alpha, lightness = 0.2 + 0.3 * mixed, 0.5 + 0.5 * light
        kernel = np.full((3, 3), -alpha)
        kernel[1, 1] = (1 - alpha) + alpha * (8 + lightness)
        expected = np.clip(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101), 0, 1)
        np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_jitter_changes_self_pairs_alone():
    seen = {}
    for jitter in (True, False):
        made, b = planned(jitter=jitter, corr="none"), batch()
        shown = []
        made.registrator.register_forward_pre_hook(lambda m, args, shown=shown: shown.append(args))
        made._terms(b)
        seen[jitter] = shown
    branch_a, branch_b, cross = zip(seen[True], seen[False], strict=True)
    for with_, without in (*zip(*branch_a, strict=True), *zip(*branch_b, strict=True)):
        assert not torch.equal(with_, without)
    assert torch.equal(cross[0][1], cross[1][1])
