"""Features of the translators that compare patches: whose they are, of which layers, at any size and modality."""

from __future__ import annotations

import pytest
import torch

from regbench.errors import UsageError
from regbench.plugins.registry import registry
from regbench.runs.context import ConfiguredComponent
from regbench.settings import build_config
from regbench_translators.blocks.resnet import ResNetGenerator, comparable
from tests.plugins.translators.stand_ins import INFO

each = pytest.mark.parametrize("name", ["cut", "fastcut", "cyclegan", "unsb"])


def tiny(name: str):
    component = registry().get("translator", name)
    return ConfiguredComponent(component, build_config(component, {"preset": "tiny"})).build(INFO, 0)


@pytest.mark.parametrize(
    ("antialias", "blocks", "layers"),
    [(True, 9, (0, 4, 8, 12, 16)), (False, 9, (0, 4, 7, 10, 14)), (False, 2, (0, 4, 7, 10, 11)),
     (True, 1, (0, 4, 8, 12))],
)  # fmt: skip
def test_compared_layers_are_found_by_what_they_are(antialias, blocks, layers):
    with torch.device("meta"):
        generator = ResNetGenerator(3, 3, 4, blocks, antialias)
    assert comparable(list(generator.encoder)) == layers


@each
def test_only_the_encoder_that_renders_is_read(name):
    network = tiny(name)
    total = sum(f.square().sum() for f in network.features(torch.rand(1, 3, 32, 32)))
    named = dict(network.named_parameters())
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    reached = {key for key, gradient in zip(named, found, strict=True) if gradient is not None}
    encoder = "generators.to_target." if name == "cyclegan" else "generator."
    assert {key for key in reached if ".encoder." in key}
    assert all(key.startswith(encoder) and ".decoder." not in key for key in reached)


@each
def test_each_image_of_a_batch_is_read_alone(name):
    network = tiny(name)
    grey = torch.rand(2, 1, 32, 32).expand(-1, 3, -1, -1)
    first = network.features(grey)
    with torch.no_grad():
        together = network.features(torch.cat([grey, torch.rand(1, 3, 32, 32)]))
    for alone, found in zip(first, together, strict=True):
        torch.testing.assert_close(found[:2], alone)
        assert not torch.allclose(found[:1], found[2:])


@each
def test_sides_that_do_not_fit_are_reflected(name):
    found = tiny(name).features(torch.rand(1, 3, 37, 50))
    assert tuple(found[0].shape[-2:]) == (40 + 6, 52 + 6)  # the padded image itself


def test_cut_compares_what_it_trains_with():
    network = tiny("cut")
    image = torch.rand(2, 3, 32, 32)
    expected = network.generator.features(2 * image - 1, network.config.nce_layers)
    for one, other in zip(network.features(image), expected, strict=True):
        assert torch.equal(one, other)


def test_a_translator_without_features_says_so():
    with pytest.raises(UsageError, match="offers no features"):
        tiny("munit").features(torch.rand(1, 3, 32, 32))
