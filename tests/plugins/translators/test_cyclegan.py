from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench import PairInfo
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench_translators.cyclegan import CycleGAN, CycleGANConfig
from tests.plugins.translators.stand_ins import INFO, Affine, batch_of, constant, context

A, B = 0.4, -0.3  # the images, constant
TO_TARGET, TO_SOURCE = Affine(0.5), Affine(1.0, 0.1)


def tiny(**settings) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(CycleGANConfig(**(dict(CycleGANConfig.presets["tiny"]) | settings)), INFO)


def stubbed(**settings) -> CycleGAN:
    network = CycleGAN(CycleGANConfig(**(dict(CycleGANConfig.presets["tiny"]) | settings)), PairInfo(32, 8, 1, 1))
    network.generators = nn.ModuleDict({"to_target": TO_TARGET, "to_source": TO_SOURCE})
    network.critics = nn.ModuleDict({"source": Affine(2.0), "target": Affine(3.0)})
    return network


def shared() -> dict[str, torch.Tensor]:
    source, target = constant(A, 1), constant(B, 1)
    return {"source": source, "target": target, "fake_source": TO_SOURCE(target), "fake_target": TO_TARGET(source)}


def test_generators_minimise_the_published_sum():
    found = stubbed()._generator_loss(batch_of(), shared())
    gan = (3 * 0.5 * A - 1) ** 2 + (2 * (B + 0.1) - 1) ** 2
    cycle = abs(0.5 * A + 0.1 - A) + abs(0.5 * (B + 0.1) - B)
    identity = abs(0.5 * B - B) + abs(0.1)
    assert float(found["gan"]) == pytest.approx(gan, rel=1e-5)
    assert float(found["cycle"]) == pytest.approx(cycle, rel=1e-5)
    assert float(found["identity"]) == pytest.approx(identity, rel=1e-5)
    assert float(found["loss"]) == pytest.approx(gan + 10 * cycle + 5 * identity, rel=1e-5)


def test_discriminators_minimise_half_of_both_errors():
    found = stubbed(pool=0)._discriminator_loss(batch_of(), shared())
    target = 0.5 * ((3 * B - 1) ** 2 + (3 * 0.5 * A) ** 2)
    source = 0.5 * ((2 * A - 1) ** 2 + (2 * (B + 0.1)) ** 2)
    assert float(found["loss"]) == pytest.approx(target + source, rel=1e-5)


def test_fakes_of_discriminators_come_from_the_history():
    network = stubbed(pool=2)
    network._discriminator_loss(batch_of(step=0), shared())  # fills it
    stored = network.history["target"].images.clone()
    torch.testing.assert_close(stored, constant(0.5 * A, 1))
    later = {**shared(), "fake_target": constant(9.0, 1)}
    for step in range(1, 9):
        network._discriminator_loss(batch_of(step=step, seed=step), later)
    assert network.history["target"].images.eq(9.0).any()


def test_published_sizes_and_schedule():
    config = build_config(registry().get("translator", "cyclegan"))
    with torch.device("meta"):
        network = CycleGAN(config, PairInfo(128, 32, 3, 3))
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert sizes == {"generators": 2 * 11_378_179, "critics": 2 * 2_764_737, "history": 0}
    stage = network.unpaired_stages(context(network))[0]
    assert (stage.steps, stage.batch, stage.views) == (200 * 1334, 1, ("unpaired",))
    assert [o.updates for o in stage.objectives] == [("translator.generators",), ("translator.critics",)]
    rate = stage.objectives[0].lr
    assert rate(0) == rate(100 * 1334 - 1) == 2e-4
    assert rate(150 * 1334) == pytest.approx(1e-4, rel=1e-4)
    assert rate(stage.steps - 1) < 1e-8
    assert stage.objectives[0].optimiser([nn.Parameter(torch.zeros(1))]).defaults["betas"] == (0.5, 0.999)


def test_identity_is_there_for_modalities_of_different_channels():
    network = tiny()
    made = batch_of()
    found = network._generator_loss(made, network._fakes(made))
    assert found["identity"].isfinite()
    assert network.generators["to_source"].channels[0] == 3  # a grey target is replicated
    with pytest.raises(ValueError, match="multiple of 4"):
        CycleGAN(CycleGANConfig(), PairInfo(66, 16))
