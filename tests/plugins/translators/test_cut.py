from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench import PairInfo
from regbench.ops import PatchSampler
from regbench.plugins.registry import registry
from regbench.settings import budget_of, build_config
from regbench_translators.cut import CUT, CUTConfig
from tests.plugins.translators.stand_ins import INFO, Affine, batch_of, constant, context


class Echo(nn.Module):
    """A generator that changes nothing and whose only feature is its input."""

    def forward(self, image):
        return image

    def features(self, image, taps):
        return [image]


def tiny(**settings) -> CUT:
    torch.manual_seed(0)
    return CUT(CUTConfig(**(dict(CUTConfig.presets["tiny"]) | settings)), INFO)


def echoing(**settings) -> CUT:
    network = CUT(CUTConfig(**(dict(CUTConfig.presets["tiny"]) | {"flip": False} | settings)), PairInfo(32, 8, 3, 3))
    network.generator, network.critic = Echo(), Affine(2.0)
    network.sampler = PatchSampler([3], width=16, patches=64)
    return network


def test_published_sizes():
    with torch.device("meta"):
        colour, grey = (CUT(CUTConfig(), PairInfo(128, 32, n, n)) for n in (3, 1))
    sizes = [
        [sum(p.numel() for p in part.parameters()) for part in (n.generator, n.critic, n.sampler)]
        for n in (colour, grey)
    ]
    assert sizes[0] == [11_378_179, 2_764_737, 560_384]
    assert [round(s / 1e6, 3) for s in sizes[1]] == [11.366, 2.763, 0.560]


@pytest.mark.parametrize(
    ("name", "steps", "constant_until", "weight", "identity", "turns"),
    [("cut", 400 * 1334, 200 * 1334, 1.0, True, False), ("fastcut", 200 * 1334, 150 * 1334, 10.0, False, True)],
)
def test_published_settings(name, steps, constant_until, weight, identity, turns):
    config = build_config(registry().get("translator", name))
    assert (config.lambda_nce, config.nce_identity, config.flip_equivariance) == (weight, identity, turns)
    with torch.device("meta"):
        network = CUT(config, INFO)
    stage = network.unpaired_stages(context(network))[0]
    discriminator, generator = stage.objectives
    assert (stage.steps, stage.batch) == (steps, 1)
    assert (discriminator.updates, generator.updates) == (
        ("translator.critic",), ("translator.generator", "translator.sampler")
    )  # fmt: skip
    assert generator.lr(constant_until - 1) == 2e-4 > generator.lr(constant_until + 1)


def test_a_preset_keeps_what_makes_fastcut_fast():
    component = registry().get("translator", "fastcut")
    assert not build_config(component, {"preset": "quick"}).nce_identity
    assert build_config(component, budget=budget_of("0.5")).steps == 133_400


def test_losses_are_the_published_sums():
    shared = {"source": constant(0.2, 3), "target": constant(0.6, 3), "fake": constant(0.3, 3),
              "identity": constant(0.6, 3), "turned": False}  # fmt: skip
    network = echoing(lambda_gan=2.0, lambda_nce=3.0)
    assert float(network._discriminator_loss(batch_of(), shared)["loss"]) == pytest.approx(0.5 * (0.2**2 + 0.6**2))
    found = {name: loss.detach() for name, loss in network._generator_loss(batch_of(), shared).items()}
    assert float(found["gan"]) == pytest.approx(0.4**2)
    # All patches of a constant image are alike: each is found by chance.
    chance = float(torch.tensor(64.0).log())
    assert float(found["nce"]) == pytest.approx(chance, rel=1e-5)
    assert float(found["loss"]) == pytest.approx(2 * 0.4**2 + 3 * chance, rel=1e-5)
    without = echoing(nce_identity=False, lambda_nce=10.0)._generator_loss(batch_of(), shared | {"identity": None})
    assert float(without["loss"].detach()) == pytest.approx(0.4**2 + 10 * chance, rel=1e-5)


def seed_that(turns: bool, network: CUT) -> int:
    return next(s for s in range(50) if network._fakes(batch_of(seed=s))["turned"] is turns)


def test_codes_of_a_mirrored_translation_are_turned_back():
    network = echoing(flip_equivariance=True, nce_identity=False)
    turned, plain = (batch_of(seed=seed_that(turns, network)) for turns in (True, False))
    for made in (turned, plain):
        shared = network._fakes(made)
        expected = shared["source"].flip(-1) if shared["turned"] else shared["source"]
        assert torch.equal(shared["fake"], expected)
        with_turn = network._nce(batch_of(seed=9), shared["source"], shared["fake"], shared["turned"])
        perfect = network._nce(batch_of(seed=9), shared["source"], shared["source"], False)
        torch.testing.assert_close(with_turn, perfect)
    forgotten = network._nce(batch_of(seed=9), expected, expected.flip(-1), False)
    assert float(forgotten.detach()) > float(perfect.detach()) + 0.1


def test_both_modalities_go_through_the_generator_in_one_pass():
    network, seen = tiny(), []
    network.generator.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    shared = network._fakes(batch_of())
    assert [x.shape[0] for x in seen] == [4]
    assert shared["fake"].shape == shared["identity"].shape == (2, 1, 32, 32)
    torch.testing.assert_close(seen[0][2:], shared["target"].expand(-1, 3, -1, -1))


def test_flips_are_drawn_for_each_image_alone():
    network = echoing(flip=True)
    made = batch_of(count=16)
    plain = network.source_in(made.unpaired.source), network.target_in(made.unpaired.target)
    patterns = []
    for image, drawn in zip(plain, network.unpaired_images(made), strict=True):
        turned = [torch.equal(d, i.flip(-1)) for d, i in zip(drawn, image, strict=True)]
        assert all(t or torch.equal(d, i) for t, d, i in zip(turned, drawn, image, strict=True))
        assert 2 < sum(turned) < 14
        patterns.append(turned)
    assert patterns[0] != patterns[1]


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="nce_layers"):
        tiny(nce_layers=(0, 99))
