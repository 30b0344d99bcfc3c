"""DFMIR's terms against closed forms, what each of them trains, and the published sampler and schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench import PairInfo, Registration
from regbench.api.types import Batch, Pair
from regbench.errors import UsageError
from regbench.ops import PatchSampler, nce_over_layers
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench.testing.parts import context
from regbench_strategies.dfmir import DFMIR, DFMIRConfig, patch_sampler

SIZE = (16, 16)


class Halving(nn.Module):
    """Renders half of what it reads, and reads images at one layer by a learned gain."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def translate(self, source, target, *, generator=None):
        return self.gain * source / 2

    def features(self, image):
        return [self.gain * image]


def strategy(**settings) -> tuple[DFMIR, Batch]:
    """A registrator that moves by three pixels to the right; random images that are nowhere dark."""
    made = DFMIR(DFMIRConfig(**settings))
    torch.manual_seed(0)
    made.registrator, made.translator = Shift(3.0), Halving()
    made.sampler = PatchSampler([3], width=8, patches=64)
    batch = Batch(2, 0, torch.Generator().manual_seed(1))
    batch.views["pair"] = Pair(*(0.2 + 0.8 * torch.rand(2, 3, *SIZE, generator=batch.generator) for _ in range(2)))
    return made, batch


class Shift(nn.Module):
    """Everything has moved by so many pixels in x."""

    def __init__(self, pixels: float) -> None:
        super().__init__()
        self.pixels = nn.Parameter(torch.tensor(pixels))

    def forward(self, source, target):
        move = torch.stack([self.pixels, torch.zeros_like(self.pixels)]).expand(1, len(source), 4, 2)
        return Registration(move, SIZE)


def test_terms_by_hand():
    made, batch = strategy()
    source, target = batch.pair.source, batch.pair.target
    compared = []

    def nce(batch, kept, image):
        compared.append((kept, image))
        return torch.tensor(4.0 ** (len(compared) - 1))

    made._nce = nce
    found = made._loss(batch, {})
    shifted = torch.cat([torch.full((2, 3, 16, 3), 0.5), source[..., :-3]], dim=-1)
    registered = torch.cat([torch.full((2, 3, 16, 3), 0.5), source[..., :-3] / 2], dim=-1)
    for (kept, image), (content, patches) in zip(
        compared, [(source, source / 2), (target, target / 2), (target, shifted)], strict=True
    ):
        assert kept is content
        torch.testing.assert_close(image, patches, atol=1e-5, rtol=0)
    l1, identity = (2 * (registered - other).abs().mean() for other in (target, target / 2))
    assert float(found["l1"].detach()) == pytest.approx(float(l1), rel=1e-4)
    assert float(found["l1_identity"].detach()) == pytest.approx(float(identity), rel=1e-4)
    nce_terms = 0.25 * (0.5 * (1 + 4) + 0.25 * 16)
    assert float(found["loss"].detach()) == pytest.approx(float(l1 + identity) + nce_terms, rel=1e-4)


def test_what_is_not_seen_can_be_left_out():
    made, batch = strategy(outside="ignored")
    found = made._loss(batch, {})
    expected = 2 * (batch.pair.source[..., :-3] / 2 - batch.pair.target[..., 3:]).abs().mean()
    assert float(found["l1"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_common_background_does_not_count():
    made, _ = strategy()
    a, b = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    a[0, 0, 0, 0], b[0, 0, 0, 1], b[0, 0, 1, 1] = 0.5, 0.3, 0.02  # 0.02 is -0.96 in the released range
    everywhere = torch.ones(1, 1, 2, 2)
    assert float(made._l1(a, b, everywhere)) == pytest.approx(2 * (0.5 + 0.3) / 2)
    assert float(made._l1(0 * a, 0 * b, everywhere)) == 0


def test_patches_are_compared_at_the_same_places_and_keys_pass_nothing():
    made, batch = strategy()
    kept, image = (x.clone().requires_grad_() for x in (batch.pair.source, batch.pair.target))
    state = batch.generator.get_state()
    found = made._nce(batch, kept, image)
    batch.generator.set_state(state)
    places = made.sampler.draw([image], batch.generator)
    expected = nce_over_layers(made.sampler([image], places), made.sampler([kept], places))
    torch.testing.assert_close(found, expected)
    found.backward()
    assert kept.grad is None
    assert image.grad.abs().sum() > 0
    assert made.translator.gain.grad is not None
    assert all(p.grad is not None for p in made.sampler.parameters())


TRAINS = {  # registrator, translator, sampler
    "nce": (False, True, True),
    "nce_identity": (False, True, True),
    "nce_local": (True, True, True),
    "l1": (True, True, False),
    "l1_identity": (True, True, False),
}


@pytest.mark.parametrize("term", TRAINS)
def test_what_each_term_trains(term):
    made, batch = strategy()
    loss = made._loss(batch, {})[term]
    reached = []
    for network in (made.registrator, made.translator, made.sampler):
        found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
        reached.append(any(g is not None and bool(g.abs().sum() > 0) for g in found))
    assert tuple(reached) == TRAINS[term]


def test_one_objective_trains_all_three():
    made = DFMIR(DFMIRConfig(**DFMIRConfig.presets["tiny"]))
    ctx = context(registry().get("registrator", "mcnet"), registry().get("translator", "cut"))
    deployed = made.build(ctx)
    (stage,) = made.stages(ctx)
    (objective,) = stage.objectives
    assert objective.updates == ("translator", "sampler", "registrator")
    assert stage.views == ("pair",)
    assert deployed is ctx.modules["registrator"]


def test_published_sampler():
    component = registry().get("translator", "cut")
    info = PairInfo(32, 8, 3, 3)  # the size of the images changes no channels
    cut = component.load()(build_config(component), info)
    before = {key: value.clone() for key, value in cut.state_dict().items()}
    sampler = patch_sampler(cut, info, 256, 256)
    assert sum(p.numel() for p in sampler.parameters()) == 560_384
    assert all(torch.equal(value, before[key]) for key, value in cut.state_dict().items())
    linear = [m for m in sampler.modules() if isinstance(m, nn.Linear)]
    assert not any(m.bias.any() for m in linear)
    assert float(linear[-1].weight.detach().std()) == pytest.approx(0.02 * (2 / 512) ** 0.5, rel=0.03)


def test_published_schedule():
    c = DFMIRConfig()
    assert (c.batch, c.lr, c.decay, c.steps, c.clip) == (1, 2e-4, 0.5, 300 * 1334, None)
    assert (c.lambda_nce, c.lambda_local, c.lambda_l1, c.temperature, c.codes, c.patches) == (
        0.25, 0.25, 1.0, 0.07, 256, 256,
    )  # fmt: skip


def test_a_translator_without_features_is_refused():
    assert registry().get("strategy", "dfmir").requires["translator"] == {"differentiable", "features"}
    with pytest.raises(UsageError, match="offers no features"):
        DFMIR(DFMIRConfig()).build(
            context(registry().get("registrator", "mcnet"), registry().get("translator", "mimgcd"))
        )
