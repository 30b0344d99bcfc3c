"""What every adversarial translator has to get right in training: its own randomness, its own parameters, a resume."""

from __future__ import annotations

import pytest
import torch

from regbench import PairInfo
from regbench.api.stage import module_named
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.plugins.registry import registry
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.settings import build_config
from regbench.training.config import TrainerConfig
from regbench.training.trainer import Trainer
from tests.plugins.translators.stand_ins import INFO, batch_of, context

NAMES = ["cyclegan", "cut", "fastcut", "unsb", "munit", "ugatit", "ugatit-light"]
PROTOCOL = Protocol(patch=32, rho=8)
each = pytest.mark.parametrize("name", NAMES)


def tiny(name: str, info: PairInfo = INFO, seed: int = 0):
    component = registry().get("translator", name)
    return ConfiguredComponent(component, build_config(component, {"preset": "tiny"})).build(info, seed)


class Killed(BaseException):
    """Stands for SIGKILL."""


def run(name: str, pack, folder, kill_at: int | None = None) -> dict[str, torch.Tensor]:
    """Train three steps of a run, in a folder that may hold the checkpoint of a killed one."""
    folder.mkdir(exist_ok=True)
    component = registry().get("translator", name)
    chosen = ConfiguredComponent(component, build_config(component, {"preset": "tiny"}))
    ctx = RunContext(pair_info(pack, PROTOCOL), torch.device("cpu"), {"translator": chosen}, 0)
    stages = ctx.translator().unpaired_stages(ctx, steps=3)
    sampler = PairSampler(pack, PROTOCOL, seed=0)
    config = TrainerConfig(checkpoint_seconds=1e9 if kill_at is None else 0)
    trainer = Trainer(stages, ctx.modules, sampler, seed=0, folder=folder, config=config)
    step = trainer._step

    def dying(stage, running, number, flag):
        if number == kill_at:
            raise Killed
        return step(stage, running, number, flag)

    trainer._step = dying
    trainer.fit()
    return {key: value.clone() for key, value in ctx.translator().state_dict().items()}


@pytest.mark.parametrize("preset", ["quick", "hour"])
@each
def test_short_budgets_show_every_translator_as_many_images(name, preset):
    """CoLReg's Table 5 compares translators that have seen the same; what UNSB draws a second time is not counted."""

    def images(name: str) -> int:
        config = build_config(registry().get("translator", name), {"preset": preset})
        return config.steps * config.batch

    assert images(name) == images("mimgcd")


@each
def test_a_killed_run_resumes_bit_identically(name, tiny_pack, tmp_path):
    whole = run(name, tiny_pack, tmp_path / "whole")
    with pytest.raises(Killed):
        run(name, tiny_pack, tmp_path / "killed", kill_at=2)
    resumed = run(name, tiny_pack, tmp_path / "killed")
    assert resumed.keys() == whole.keys()
    assert [key for key in whole if not torch.equal(resumed[key], whole[key])] == []


def test_the_history_is_part_of_the_weights(tiny_pack, tmp_path):
    whole = run("cyclegan", tiny_pack, tmp_path)
    assert whole["history.target.images"].shape == (3, 1, 32, 32)
    assert (whole["history.target.images"].flatten(1).std(dim=1) > 0).all()  # full after two steps of two


def losses(network, seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    stage = network.unpaired_stages(context(network))[0]
    made = batch_of(count=stage.batch)
    shared = stage.shared(made)
    return [objective.loss(made, shared)["loss"] for objective in stage.objectives]


@each
def test_a_loss_draws_from_its_batch_alone(name):
    first, second = (losses(tiny(name).eval(), seed) for seed in (1, 2))
    assert first == second


@each
def test_gradients_reach_every_parameter_an_objective_updates(name):
    network = tiny(name)
    ctx = context(network)
    stage = network.unpaired_stages(ctx)[0]
    made = batch_of(count=stage.batch)
    shared = stage.shared(made)
    updated = set()
    for objective in stage.objectives:
        loss = objective.loss(made, shared)["loss"]
        for part in objective.updates:
            named = dict(module_named(ctx.modules, part).named_parameters())
            found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            missing = [key for key, gradient in zip(named, found, strict=True) if gradient is None]
            assert missing == [], f"{part} has weights that its loss does not reach"
            assert all(gradient.isfinite().all() for gradient in found)
            updated |= {f"{part.removeprefix('translator.')}.{key}" for key in named}
    assert updated == {key for key, _ in network.named_parameters()}


@each
def test_a_discriminators_loss_passes_its_generators_nothing(name):
    network = tiny(name)
    ctx = context(network)
    stage = network.unpaired_stages(ctx)[0]
    made = batch_of(count=stage.batch)
    shared = stage.shared(made)
    for objective in stage.objectives:
        if "generator" not in objective.updates[0]:
            loss = objective.loss(made, shared)["loss"]
            generators = [p for key, p in network.named_parameters() if key.startswith("generator")]
            found = torch.autograd.grad(loss, generators, retain_graph=True, allow_unused=True)
            assert all(gradient is None for gradient in found)


@each
@pytest.mark.parametrize("side", [(32, 32), (37, 50)])
def test_saved_weights_translate_identically_at_any_size(name, side):
    if name == "ugatit" and side != (32, 32):
        pytest.skip("the full model is built for one size")
    first, second = tiny(name, seed=0), tiny(name, seed=1)
    source, target = torch.rand(2, 3, *side), torch.rand(2, 3, *side)

    def render(network):
        return network.translate(source, target, generator=torch.Generator().manual_seed(0))

    assert not torch.equal(render(first), render(second))
    second.load_state_dict(first.state_dict())
    found = render(second)
    assert torch.equal(found, render(first))
    assert found.shape == source.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(found[:, 0], found[:, 2])  # the target is grey


@each
@pytest.mark.parametrize(("source", "target"), [(1, 3), (1, 1), (3, 3)])
def test_every_mix_of_grey_and_colour_learns(name, source, target):
    network = tiny(name, PairInfo(32, 8, source, target))
    assert all(loss.isfinite() for loss in losses(network, 0))
    image = torch.rand(1, 3, 32, 32)
    assert network.translate(image, image).shape == image.shape


@each
def test_losses_are_finite_in_half_precision(name):
    network = tiny(name)
    stage = network.unpaired_stages(context(network, "bf16"))[0]
    made = batch_of(count=stage.batch)
    assert {objective.precision for objective in stage.objectives} == {"bf16"}
    with torch.autocast("cpu", torch.bfloat16):
        shared = stage.shared(made)
        assert all(o.loss(made, shared)["loss"].isfinite() for o in stage.objectives)
