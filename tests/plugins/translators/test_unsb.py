from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regbench import PairInfo
from regbench_translators.unsb import UNSB, UNSBConfig
from regbench_translators.unsb.bridge import simulate, time_features, time_grid
from regbench_translators.unsb.networks import BridgeDiscriminator, BridgeGenerator, ConditionalBlock, LatentAffine
from tests.plugins.translators.stand_ins import INFO, batch_of, constant, context


def tiny(**settings) -> UNSB:
    torch.manual_seed(0)
    return UNSB(UNSBConfig(**(dict(UNSBConfig.presets["tiny"]) | settings)), INFO)


def test_the_published_time_grid():
    assert time_grid(5) == pytest.approx([0, 0.5, 0.74, 0.86, 0.94, 1.0])
    assert time_grid(2) == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("steps", [2, 5, 9])
def test_a_walk_to_a_known_end_is_a_brownian_bridge(steps):
    """Whatever the grid, the state at time t has mean (1 - t) x0 + t x1 and variance tau t (1 - t)."""
    times, tau = time_grid(steps), 0.3
    generator = torch.Generator().manual_seed(0)
    start, end = torch.full((200_000, 1), 2.0), -1.0
    for until in range(steps):
        found = simulate(start, until, times, tau, lambda x, number: torch.full_like(x, end),
                         lambda x: torch.randn(x.shape, generator=generator))  # fmt: skip
        t = times[until]
        assert float(found.mean()) == pytest.approx(2 * (1 - t) - t, abs=5e-3)
        assert float(found.var()) == pytest.approx(tau * t * (1 - t), rel=0.02, abs=1e-6)


def test_guesses_are_asked_for_at_the_times_before():
    asked = []

    def guess(x, number):
        asked.append(number)
        return x

    simulate(torch.zeros(1, 1), 3, time_grid(5), 0.01, guess, torch.zeros_like)
    assert asked == [0, 1, 2]


def test_time_features_are_sines_then_cosines():
    found = time_features(torch.tensor([0, 3]), 8)
    rates = [10_000 ** (-i / 3) for i in range(4)]
    for row, step in zip(found.tolist(), (0, 3), strict=True):
        assert row == pytest.approx([math.sin(step * r) for r in rates] + [math.cos(step * r) for r in rates], abs=1e-6)


def test_sizes_are_the_published_ones_without_dead_weights():
    def size(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    with torch.device("meta"):
        intended, released = (BridgeGenerator(3, 3, 64, 9, kind) for kind in ("intended", "released"))
        discriminator, energy = BridgeDiscriminator(3, 64, 3), BridgeDiscriminator(12, 64, 3)
        grey = UNSB(UNSBConfig(), PairInfo(128, 32, 1, 1))
    unused = 9 * (256 * 512 + 512)  # a linear layer in each block that the released code never calls
    assert size(intended) + unused == 14_684_419
    assert size(released) + 7_169_536 == 14_684_419  # those that get no gradient there
    assert (round(size(discriminator) / 1e6, 3), round(size(energy) / 1e6, 3)) == (3.143, 3.152)
    verdicts = discriminator(torch.empty(1, 3, 128, 128, device="meta"), torch.zeros(1, device="meta"))
    assert verdicts.shape == (1, 1, 14, 14)
    assert (round(size(grey.critic) / 1e6, 3), round(size(grey.energy) / 1e6, 3)) == (3.141, 3.144)


def test_codes_matter_in_both_blocks_and_time_in_the_intended_one_alone():
    torch.manual_seed(0)
    image, z = torch.rand(1, 1, 32, 32), torch.randn(1, 16)
    outputs = {}
    for kind in ("intended", "released"):
        network = BridgeGenerator(1, 1, 4, 2, kind)
        outputs[kind] = [network(image, torch.tensor([t]), z) for t in (0, 4)]
        assert not torch.allclose(network(image, torch.tensor([0]), torch.randn(1, 16)), outputs[kind][0], atol=1e-3)
    assert not torch.allclose(*outputs["intended"], atol=1e-3)
    assert torch.equal(*outputs["released"])


def test_a_bias_before_a_norm_does_nothing():
    """Why the time is not where the released code puts it."""
    block = ConditionalBlock(8, "intended").double()
    x, bias = torch.rand(2, 8, 9, 9).double(), torch.randn(2, 8, 1, 1).double()
    torch.testing.assert_close(block.norm(block.first(x + bias)), block.norm(block.first(x)))


def test_every_weight_of_the_released_block_learns():
    network = BridgeGenerator(1, 1, 4, 2, "released")
    network(torch.rand(2, 1, 32, 32), torch.tensor([1, 1]), torch.randn(2, 16)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_latent_codes_start_at_scale_one():
    network = tiny()
    affine = [m for m in network.modules() if isinstance(m, LatentAffine)]
    assert len(affine) == network.config.blocks
    for module in affine:
        scale, shift = module.body.bias.chunk(2)
        assert (scale == 1).all()
        assert (shift == 0).all()


class LastChannel(nn.Module):
    """An energy that can be read off its input."""

    def forward(self, image, step):
        return image[:, -1:]


def joint(seed: int) -> torch.Tensor:
    return torch.randn(2, 6, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("number", [0, 2])
def test_energy_and_bridge_losses_equal_their_formulas(number):
    network = tiny(tau=0.5, nce_identity=False)
    network.energy = LastChannel()
    first, second = joint(0), joint(1)
    own = float(first[:, -1].mean())
    across = math.log(sum(math.exp(v) for v in second[:, -1].flatten().tolist()))
    shared = {"number": number, "source": constant(0.0, 3), "state": constant(0.3, 3), "fake": constant(0.1, 1),
              "joint": (first, second), "identity": None}  # fmt: skip
    energy = network._energy_loss(batch_of(), shared)
    assert float(energy["loss"]) == pytest.approx(-own + across + across**2, rel=1e-4)
    found = network._generator_loss(batch_of(), shared)
    share = (network.config.times - number) / network.config.times
    expected = -share * 0.5 * (own - across) + 0.5 * 0.2**2
    assert float(found["sb"].detach()) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(found["loss"], found["gan"] + found["sb"] + found["nce"])


def test_a_step_sees_two_independent_batches_at_one_time():
    network = tiny(batch=3, flip=False)
    stage = network.unpaired_stages(context(network))[0]
    assert stage.batch == 6
    numbers = set()
    for seed in range(12):
        made = batch_of(count=6, seed=seed)
        shared = network._walk(made)
        numbers.add(shared["number"])
        if shared["number"] == 0:
            states = [part[:, :3] for part in shared["joint"]]
            torch.testing.assert_close(torch.cat(states), 2 * made.unpaired.source - 1)
        assert shared["fake"].shape == (3, 1, 32, 32)
        assert shared["joint"][0].shape == (3, 6, 32, 32)
        assert not shared["state"].requires_grad
        assert shared["fake"].requires_grad
    assert numbers == {0, 1, 2}


@pytest.mark.parametrize(("nfe", "passes"), [(None, 3), (1, 1), (2, 2)])
def test_a_translation_walks_as_far_as_it_is_told(nfe, passes):
    network, seen = tiny(nfe=nfe), []
    network.generator.register_forward_hook(lambda m, args, out: seen.append(args[1].tolist()))
    source = torch.rand(2, 3, 32, 32)
    network.translate(source, source)
    assert seen == [[number] * 2 for number in range(passes)]


def test_more_passes_than_times_are_refused():
    with pytest.raises(ValueError, match="nfe=9"):
        tiny(nfe=9)


def test_features_follow_the_published_numbering():
    network = BridgeGenerator(1, 1, 4, 5, "intended")
    image = torch.rand(1, 1, 32, 32)
    found = network.features(image, torch.tensor([0]), torch.randn(1, 16), (0, 4, 12, 16))
    torch.testing.assert_close(found[0], F.pad(image, (3, 3, 3, 3), mode="reflect"))
    assert [f.shape[1] for f in found] == [network.channels[i] for i in (0, 4, 12, 16)]
    assert isinstance(network.encoder[12], ConditionalBlock)
    assert not isinstance(network.encoder[11], ConditionalBlock)
