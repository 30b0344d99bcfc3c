from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regbench import PairInfo
from regbench.errors import UsageError
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench_translators.ugatit import UGATIT, UGATITConfig
from regbench_translators.ugatit.networks import Attention, Discriminator, Generator, LayerInstanceNorm, least_side
from tests.plugins.translators.stand_ins import INFO, batch_of, constant, context


def tiny(**settings) -> UGATIT:
    torch.manual_seed(0)
    return UGATIT(UGATITConfig(**(dict(UGATITConfig.presets["tiny"]) | settings)), INFO)


def size(network: nn.Module) -> float:
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 3)


@pytest.mark.parametrize(("side", "millions"), [(None, 10.590), (128, 77.633), (256, 278.960)])
def test_generators_have_the_published_size(side, millions):
    with torch.device("meta"):
        assert size(Generator(3, 3, 64, 4, side)) == millions


@pytest.mark.parametrize(("layers", "millions", "verdicts"), [(7, 53.130, 2), (5, 3.291, 14)])
def test_discriminators_have_the_published_size_and_map(layers, millions, verdicts):
    with torch.device("meta"):
        discriminator = Discriminator(3, 64, layers).eval()
        found, logits = discriminator(torch.empty(1, 3, 128, 128, device="meta"))
    assert size(discriminator) == millions
    assert found.shape == (1, 1, verdicts, verdicts)
    assert logits.shape == (1, 2)


@pytest.mark.parametrize("layers", [4, 5, 6])
def test_the_smallest_patch_works_and_less_is_refused(layers):
    side = 4 * math.ceil(least_side(layers) / 4)
    settings = dict(UGATITConfig.presets["tiny"]) | {"local_layers": 3, "global_layers": layers, "light": True}
    network = UGATIT(UGATITConfig(**settings), PairInfo(side, 4, 1, 1))
    assert network.critics["source_global"](torch.rand(1, 1, side, side))[0].isfinite().all()
    with pytest.raises(ValueError, match="global_layers"):
        UGATIT(UGATITConfig(**settings), PairInfo(side - 4, 2, 1, 1))


@pytest.mark.parametrize("rho", [0.0, 0.25, 1.0])
def test_the_norm_mixes_instance_and_layer_norm(rho):
    x = torch.randn(2, 3, 5, 4) * 2 + 1
    gamma, beta = torch.rand(2, 3) + 0.5, torch.randn(2, 3)
    found = LayerInstanceNorm(3, rho, affine=False)(x, gamma, beta)
    for b in range(2):
        layer = (x[b] - x[b].mean()) / (x[b].var() + 1e-5).sqrt()
        for c in range(3):
            instance = (x[b, c] - x[b, c].mean()) / (x[b, c].var() + 1e-5).sqrt()
            expected = gamma[b, c] * (rho * instance + (1 - rho) * layer[c]) + beta[b, c]
            torch.testing.assert_close(found[b, c].detach(), expected, atol=1e-5, rtol=1e-4)


def test_rho_starts_as_published_and_is_put_back_after_each_step():
    network = tiny()
    norms = [m for m in network.generators.modules() if isinstance(m, LayerInstanceNorm)]
    assert sorted({round(float(m.rho.detach()[0, 0, 0, 0]), 4) for m in norms}) == [0.0, 0.9]
    with torch.no_grad():
        for sign, norm in zip((-1, 1) * len(norms), norms, strict=False):
            norm.rho.fill_(3.0 * sign)
    discriminators, generators = network.unpaired_stages(context(network))[0].objectives
    assert discriminators.after is None
    generators.after()
    assert [float(m.rho.detach().mean()) for m in norms] == [
        max(s, 0) for s, _ in zip((-1, 1) * 99, norms, strict=False)
    ]


@pytest.mark.parametrize("normalised", [True, False])
def test_attention_weighs_features_as_its_classifiers_do(normalised):
    torch.manual_seed(0)
    attention = Attention(4, normalised).eval()
    x = torch.randn(2, 4, 3, 3)
    raw = [
        h.parametrizations.weight.original if normalised else h.weight for h in (attention.average, attention.maximum)
    ]
    weighted = torch.cat([x * raw[0].view(1, 4, 1, 1), x * raw[1].view(1, 4, 1, 1)], dim=1)
    found, logits = attention(x)
    torch.testing.assert_close(found, F.conv2d(weighted, attention.merge.weight, attention.merge.bias))
    norms = [w.norm() if normalised else 1.0 for w in raw]
    expected = [F.adaptive_avg_pool2d(x, 1).flatten(1) @ raw[0].T / norms[0],
                F.adaptive_max_pool2d(x, 1).flatten(1) @ raw[1].T / norms[1]]  # fmt: skip
    torch.testing.assert_close(logits, torch.cat(expected, dim=1), atol=1e-5, rtol=1e-4)


def test_discriminators_are_spectrally_normalised():
    torch.manual_seed(0)
    discriminator = Discriminator(1, 4, 4)
    for _ in range(30):
        discriminator(torch.rand(1, 1, 32, 32))  # each pass improves the estimate
    layers = [
        m
        for m in discriminator.modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and m is not discriminator.attention.merge
    ]
    assert len(layers) == 6
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.03)


class Half(nn.Module):
    """Halves the image; its classifier says the same number always."""

    def forward(self, image):
        return 0.5 * image, torch.full((len(image), 2), 0.3)


class Verdict(nn.Module):
    def forward(self, image):
        return image, torch.full((len(image), 2), 0.25)


def test_losses_are_the_published_sums():
    network = UGATIT(UGATITConfig(**(dict(UGATITConfig.presets["tiny"]))), PairInfo(32, 8, 1, 1))
    network.generators = nn.ModuleDict({"to_source": Half(), "to_target": Half()})
    network.critics = nn.ModuleDict({f"{s}_{r}": Verdict() for s in ("source", "target") for r in ("global", "local")})
    network.config = network.config.model_copy(update={"flip": False})
    a, b = 0.4, 0.8
    shared = {"source": constant(a, 1), "target": constant(b, 1)}
    shared |= {"to_target": Half()(shared["source"]), "to_source": Half()(shared["target"])}
    found = {name: float(value) for name, value in network._generator_loss(batch_of(), shared).items()}
    sigmoid = 1 / (1 + math.exp(-0.3))
    cam = 2 * (-math.log(sigmoid) - math.log(1 - sigmoid))
    gan = sum(2 * ((x / 2 - 1) ** 2 + (0.25 - 1) ** 2) for x in (a, b))
    assert found["gan"] == pytest.approx(gan)
    assert found["cycle"] == pytest.approx(0.75 * (a + b))
    assert found["identity"] == pytest.approx(0.5 * (a + b))
    assert found["cam"] == pytest.approx(cam)
    assert found["loss"] == pytest.approx(gan + 10 * 0.75 * (a + b) + 10 * 0.5 * (a + b) + 1000 * cam)
    discriminator = float(network._discriminator_loss(batch_of(), shared)["loss"])
    of_logits = 0.75**2 + 0.25**2
    assert discriminator == pytest.approx(
        sum(2 * ((x - 1) ** 2 + (y / 2) ** 2 + of_logits) for x, y in ((a, b), (b, a)))
    )


def test_the_full_model_is_built_for_one_size_and_the_light_one_for_any():
    image = torch.rand(1, 3, 40, 36)
    with pytest.raises(UsageError, match="32 x 32 px, got 36 x 40"):
        tiny().translate(image, image)
    assert tiny(light=True).translate(image, image).shape == image.shape


def test_published_schedule():
    full, light = (build_config(registry().get("translator", name)) for name in ("ugatit", "ugatit-light"))
    assert (full.light, light.light) == (False, True)
    network = tiny(steps=light.steps, batch=light.batch)
    stage = network.unpaired_stages(context(network))[0]
    discriminators, generators = stage.objectives
    assert (discriminators.updates, generators.updates) == (("translator.critics",), ("translator.generators",))
    assert (stage.steps, stage.batch) == (1_000_000, 1)
    assert generators.lr(499_999) == 1e-4
    assert generators.lr(750_000) == pytest.approx(5e-5, rel=1e-4)
    assert generators.lr(999_999) < 1e-9
    assert generators.optimiser([nn.Parameter(torch.zeros(1))]).defaults["weight_decay"] == 1e-4
