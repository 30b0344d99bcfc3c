"""What every translator promises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.data.sampler import pair_info
from regbench.plugins.registry import Component
from regbench.runs.context import RunContext
from regbench.testing.compare import assert_equal, assert_same_weights
from regbench.testing.images import textured
from regbench.testing.parts import PROTOCOL, build_translator, context, each
from regbench.testing.training import check_changes, check_host_reads, snapshot, tiny_pack, train_stage

NATIVE = (PROTOCOL.patch, PROTOCOL.patch)
SOURCE, TARGET = partial(textured, 2, NATIVE), partial(textured, 2, NATIVE, seed=1)
StageMaker = Callable[[Translator, RunContext], tuple[Stage, ...]]


def render(network: Translator, source: Tensor, target: Tensor, seed: int | None = 0) -> Tensor:
    """Translate as a strategy does after training; without a seed, without a generator."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return network.translate(source, target, generator=generator)


@each("translator")
def test_translator_returns_images(component: Component) -> None:
    """Shape and dtype of the source, finite, in [0, 1]; with and without a generator."""
    network, source = build_translator(component), SOURCE()
    for seed in (0, None):
        rendered = render(network, source, TARGET(), seed)
        assert rendered.shape == source.shape
        assert rendered.dtype == source.dtype
        assert rendered.isfinite().all()
        assert rendered.min() >= 0
        assert rendered.max() <= 1


@each("translator")
def test_translator_changes_nothing(component: Component) -> None:
    """A call modifies neither its inputs nor its own weights and modes."""
    network, source, target = build_translator(component), SOURCE(), TARGET()
    weights, modes = snapshot({"": network}), [m.training for m in network.modules()]
    render(network, source, target)
    assert_equal(source, SOURCE(), "source")
    assert_equal(target, TARGET(), "target")
    assert [m.training for m in network.modules()] == modes
    assert_same_weights(snapshot({"": network}), weights)


@each("translator")
def test_translator_draws_from_its_generator_alone(component: Component) -> None:
    """The generator decides the result; torch's global one does not. Evaluations and resumes rely on it."""
    network = build_translator(component)
    torch.manual_seed(1)
    first = render(network, SOURCE(), TARGET(), seed=7)
    torch.manual_seed(2)
    assert_equal(render(network, SOURCE(), TARGET(), seed=7), first)


@each("translator", provides="differentiable")
def test_translator_passes_gradients(component: Component) -> None:
    """``differentiable`` means that gradients reach the source, finite and not all zero."""
    source = SOURCE().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    network = build_translator(component)
    with torch.no_grad():  # heads that start at zero pass nothing until they have learned something
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    rendered = network.translate(source, TARGET(), generator=generator)
    rendered.square().sum().backward()  # type: ignore[no-untyped-call]
    assert source.grad is not None
    assert source.grad.isfinite().all()
    assert source.grad.abs().sum() > 0


@each("translator", provides="features")
def test_translator_offers_features(component: Component) -> None:
    """Finite maps ``(B, C, h, w)`` of an image of either modality, repeatable; their gradient reaches the image."""
    network, image = build_translator(component), SOURCE().requires_grad_()
    first, second = network.features(image), network.features(image)
    assert first
    for features, again in zip(first, second, strict=True):
        assert features.ndim == 4
        assert features.shape[0] == image.shape[0]
        assert features.isfinite().all()
        assert_equal(again, features, "features of the same image")
    (gradient,) = torch.autograd.grad(first[-1].square().sum(), image)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    with torch.no_grad():
        other = network.features(TARGET())
    assert [f.shape for f in other] == [f.shape for f in first], "maps of source and target differ in shape"


@each("translator", provides="unpaired_training")
def test_translator_learns_from_unpaired_images(component: Component) -> None:
    """Its unpaired stages train: exactly what they name changes, and the translator is part of it."""
    _trains(component, _unpaired)


@each("translator", provides="aligned_training")
def test_translator_learns_from_aligned_images(component: Component) -> None:
    """Its aligned stages train on an estimate, for the first round and later ones."""

    for number in (1, 2):
        _trains(component, partial(_aligned, number))


def _unpaired(network: Translator, ctx: RunContext) -> tuple[Stage, ...]:
    return network.unpaired_stages(ctx)


def _aligned(number: int, network: Translator, ctx: RunContext) -> tuple[Stage, ...]:
    return network.aligned_stages(ctx, number, _unmoved)


def _unmoved(source: Tensor, target: Tensor) -> Tensor:
    return torch.eye(3, device=source.device, dtype=source.dtype).expand(source.shape[0], 3, 3)


def _trains(component: Component, stages_of: StageMaker) -> None:
    ctx = context(None, component, pair_info(tiny_pack(), PROTOCOL))
    network = ctx.translator()
    before = snapshot({"": network})
    stages = stages_of(network, ctx)
    if not any(p.requires_grad for p in network.parameters()):
        assert stages == (), "a translator without parameters has nothing to train"
        return
    assert stages
    assert all(isinstance(stage, Stage) for stage in stages)
    assert_same_weights(snapshot({"": network}), before)  # planning trains nothing
    changes = [train_stage(stage, ctx, labels=False) for stage in stages]
    for change in changes:
        check_changes(change)
        check_host_reads(change)
    assert any(not torch.equal(v, before[k]) for k, v in snapshot({"": network}).items()), "the translator is as before"
