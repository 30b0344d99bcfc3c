from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench import PairInfo
from regbench_translators.munit import MUNIT, MUNITConfig
from regbench_translators.munit.networks import MultiScaleDiscriminator, StyledBlock, adain
from tests.plugins.translators.stand_ins import INFO, Affine, batch_of, constant, context


def tiny(**settings) -> MUNIT:
    torch.manual_seed(0)
    return MUNIT(MUNITConfig(**(dict(MUNITConfig.presets["tiny"]) | settings)), INFO)


def size(network: nn.Module) -> float:
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 3)


def test_published_sizes():
    with torch.device("meta"):
        colour, grey = (MUNIT(MUNITConfig(), PairInfo(128, 32, n, n)) for n in (3, 1))
    modality = colour.generators["source"]
    decoder = modality.decoder
    assert size(modality) == 15.026
    assert (size(modality.content), size(modality.style), size(decoder.perceptron)) == (5.386, 2.765, 1.121)
    assert size(nn.ModuleList([decoder.blocks, decoder.up])) == 5.755
    assert decoder.perceptron[-1].out_features == 4096
    assert (size(colour.critics["target"]), size(grey.critics["target"])) == (8.271, 8.265)
    assert size(grey.generators["source"]) == 15.007


def test_verdicts_at_three_scales():
    with torch.device("meta"):
        found = MultiScaleDiscriminator(3, 64, 3)(torch.empty(1, 3, 128, 128, device="meta"))
    assert [tuple(v.shape) for v in found] == [(1, 1, 8, 8), (1, 1, 4, 4), (1, 1, 2, 2)]


def test_scales_are_judged_by_halved_images():
    discriminator = MultiScaleDiscriminator(1, 4, 2)
    discriminator.scales = nn.ModuleList([Affine(), Affine()])
    image = torch.rand(1, 1, 8, 8)
    whole, half = discriminator(image)
    assert torch.equal(whole, image)
    assert float(half[0, 0, 1, 1]) == pytest.approx(float(image[0, 0, 1:4, 1:4].mean()))
    assert float(half[0, 0, 0, 0]) == pytest.approx(float(image[0, 0, :2, :2].mean()))  # the rim is not counted


def test_adain_gives_an_image_the_moments_of_the_style():
    x = 3 + 2 * torch.randn(2, 5, 16, 16)
    bias, weight = torch.randn(2, 5), torch.rand(2, 5) + 0.5
    found = adain(x, bias, weight)
    torch.testing.assert_close(found.mean(dim=(2, 3)), bias, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.std(dim=(2, 3), correction=0), weight, atol=1e-4, rtol=1e-4)


def test_a_styled_block_takes_bias_then_weight_of_each_norm():
    torch.manual_seed(0)
    block, x = StyledBlock(3), torch.rand(2, 3, 8, 8)
    bias = torch.tensor([0.5, -1.0, 2.0])
    dead = torch.zeros(3)
    style = torch.cat([dead, dead, bias, dead]).expand(2, -1)  # the second norm's weight is 0: its bias remains
    torch.testing.assert_close(block(x, style), x + bias.view(1, 3, 1, 1))


def test_the_style_of_a_translation_is_the_exemplars_or_drawn():
    source = torch.rand(1, 3, 32, 32)
    bright, dark = torch.full((1, 3, 32, 32), 0.9), torch.full((1, 3, 32, 32), 0.1)

    def render(network, target, seed):
        return network.translate(source, target, generator=torch.Generator().manual_seed(seed))

    exemplar, random = tiny(), tiny(style="random")
    assert not torch.equal(render(exemplar, bright, 0), render(exemplar, dark, 0))
    assert torch.equal(render(exemplar, bright, 0), render(exemplar, bright, 1))
    assert torch.equal(render(random, bright, 0), render(random, dark, 0))
    assert not torch.equal(render(random, bright, 0), render(random, bright, 1))


class Halves(nn.Module):
    """Content is the image, style is nothing; decoding halves the content."""

    content = staticmethod(lambda image: image)

    def forward(self, image):
        return image, torch.zeros(len(image), 8)

    def decode(self, content, style):
        return 0.5 * content


class Verdicts(nn.Module):
    def forward(self, image):
        return [image, 2 * image]


def test_losses_are_the_published_sums(monkeypatch):
    network = MUNIT(MUNITConfig(**(dict(MUNITConfig.presets["tiny"]))), PairInfo(32, 8, 1, 1))
    network.generators = nn.ModuleDict({"source": Halves(), "target": Halves()})
    network.critics = nn.ModuleDict({"source": Verdicts(), "target": Verdicts()})
    monkeypatch.setattr(network, "_style", lambda batch, like: torch.full((2, 8), 0.7))
    a, b = 0.4, 0.8
    shared = {"source": constant(a, 1), "target": constant(b, 1)}
    found = {name: float(value) for name, value in network._generator_loss(batch_of(), shared).items()}
    assert found["image"] == pytest.approx((a + b) / 2)
    assert found["content"] == pytest.approx((a + b) / 2)
    assert found["style"] == pytest.approx(2 * 0.7)
    assert found["cycle"] == pytest.approx(0.75 * (a + b))
    assert found["gan"] == pytest.approx(sum((x / 2 - 1) ** 2 + (x - 1) ** 2 for x in (a, b)))
    total = found["gan"] + 10 * found["image"] + found["content"] + found["style"] + 10 * found["cycle"]
    assert found["loss"] == pytest.approx(total)
    discriminator = float(network._discriminator_loss(batch_of(), shared)["loss"])
    real = sum((x - 1) ** 2 + (2 * x - 1) ** 2 for x in (a, b))
    assert discriminator == pytest.approx(real + sum((x / 2) ** 2 + x**2 for x in (a, b)))


def test_published_schedule():
    network = tiny(steps=MUNITConfig().steps, halve_every=MUNITConfig().halve_every, batch=1, lr=MUNITConfig().lr)
    stage = network.unpaired_stages(context(network))[0]
    discriminators, generators = stage.objectives
    assert (discriminators.updates, generators.updates) == (("translator.critics",), ("translator.generators",))
    assert (stage.steps, stage.batch) == (1_000_000, 1)
    assert [generators.lr(s) for s in (0, 99_999, 100_000, 250_000)] == pytest.approx([1e-4, 1e-4, 5e-5, 2.5e-5])
    settings = discriminators.optimiser([nn.Parameter(torch.zeros(1))]).defaults
    assert (settings["betas"], settings["weight_decay"]) == ((0.5, 0.999), 1e-4)


@pytest.mark.parametrize("scales", [2, 3])
def test_small_patches_need_fewer_scales(scales):
    least = 2 ** (scales + 3)
    config = MUNITConfig(**(dict(MUNITConfig.presets["tiny"]) | {"scales": scales}))
    network = MUNIT(config, PairInfo(least, 4, 1, 1))
    image = torch.rand(1, 1, least, least)
    assert all(v.isfinite().all() for v in network.critics["source"](image))
    with pytest.raises(ValueError, match="scales"):
        MUNIT(config, PairInfo(least // 2, 4, 1, 1))
