"""What every registrator promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench import geometry
from regbench.api.registrator import Registrator
from regbench.api.types import Registration
from regbench.plugins.registry import Component
from regbench.testing.compare import assert_close, assert_equal, assert_same_weights
from regbench.testing.images import labelled_pair, shifted_pair, textured
from regbench.testing.parts import PROTOCOL, build_registrator, each
from regbench.testing.training import snapshot
from regbench.weights.files import load_modules, module_tensors, read_tensors, write_tensors

SIDE = PROTOCOL.patch
NATIVE = (SIDE, SIDE)


def estimate(network: Registrator, source: Tensor, target: Tensor) -> Registration:
    """Register as the evaluator does: without gradients, with torch's generator seeded."""
    torch.manual_seed(0)
    with torch.inference_mode():
        return network.register(source, target)


@each("registrator")
def test_registrator_returns_a_registration(component: Component) -> None:
    """``forward`` gives finite displacements ``(K, B, 4, 2)`` that refer to the source's size."""
    source, target = textured(2, NATIVE), textured(2, NATIVE, seed=1)
    with torch.inference_mode():
        registration = build_registrator(component)(source, target)
    assert isinstance(registration, Registration)
    assert registration.displacements.shape[1:] == (2, 4, 2)
    assert registration.displacements.shape[0] >= 1
    assert registration.size == NATIVE
    assert registration.displacements.is_floating_point()
    assert registration.displacements.isfinite().all()


@each("registrator")
@pytest.mark.parametrize("kind", ["textured", "black"])
def test_registrator_answers_equal_images(component: Component, kind: str) -> None:
    """Equal images, even without any content, give a finite answer or a failed one, never an exception."""
    image = textured(1, NATIVE) if kind == "textured" else torch.zeros(1, 3, *NATIVE)
    registration = estimate(build_registrator(component), image, image.clone())
    assert registration.ok is not None
    assert (registration.displacement.isfinite().all(dim=-1).all(dim=-1) | ~registration.ok).all()


@each("registrator")
def test_registrator_treats_pairs_independently(component: Component) -> None:
    """In eval mode a pair's answer is the same alone and in a batch."""
    network = build_registrator(component)
    source, target, _ = labelled_pair(3, PROTOCOL)
    together = estimate(network, source, target)
    for i in range(3):
        alone = estimate(network, source[i : i + 1], target[i : i + 1])
        assert_close(together.displacement[i : i + 1], alone.displacement)
        assert together.ok is not None
        assert alone.ok is not None
        assert together.ok[i] == alone.ok[0]


@each("registrator")
def test_registrator_is_deterministic(component: Component) -> None:
    """The same call twice gives the same bits: nothing is remembered from pair to pair."""
    network = build_registrator(component)
    source, target, _ = labelled_pair(2, PROTOCOL)
    first = estimate(network, source, target)
    estimate(network, target, source)
    assert_equal(estimate(network, source, target).displacements, first.displacements)


@each("registrator")
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_registrator_changes_nothing(component: Component, training: bool) -> None:
    """A call modifies neither its inputs nor the mode of any layer, nor, in eval mode, a weight."""
    network = build_registrator(component).train(training)
    source, target, _ = labelled_pair(2, PROTOCOL)
    inputs, modes, weights = (source.clone(), target.clone()), _modes(network), snapshot({"": network})
    network(source, target)
    assert_equal(source, inputs[0], "source")
    assert_equal(target, inputs[1], "target")
    assert _modes(network) == modes
    if not training:
        assert_same_weights(snapshot({"": network}), weights)


@each("registrator")
def test_registrator_accepts_any_memory_layout(component: Component) -> None:
    """Strided views and channels-last images give what contiguous copies of them give."""
    network = build_registrator(component)
    large = textured(1, (2 * SIDE, 2 * SIDE))
    strided = large[..., ::2, ::2]
    last = large[..., :SIDE, :SIDE].contiguous(memory_format=torch.channels_last)
    expected = estimate(network, strided.contiguous(), last.contiguous())
    assert_close(estimate(network, strided, last).displacement, expected.displacement)


@each("registrator")
def test_registrator_accepts_grey_images(component: Component) -> None:
    """One channel gives what that channel replicated gives."""
    network = build_registrator(component)
    source, target = textured(1, NATIVE)[:, :1], textured(1, NATIVE, seed=1)[:, :1]
    expected = estimate(network, source.repeat(1, 3, 1, 1), target.repeat(1, 3, 1, 1))
    assert_close(estimate(network, source, target).displacement, expected.displacement)


@each("registrator")
def test_registrator_accepts_any_size(component: Component) -> None:
    """``register`` takes images of any two sizes; networks of a fixed patch are rescaled exactly."""
    network = build_registrator(component)
    sizes = (96, 80), (72, 100)
    source, target = textured(1, sizes[0]), textured(1, sizes[1], seed=1)
    registration = estimate(network, source, target)
    assert registration.size == sizes[0]
    assert registration.displacement.shape == (1, 4, 2)
    if network.any_size:
        return
    resized = [F.interpolate(x, NATIVE, mode="bilinear", antialias=True) for x in (source, target)]
    inner = estimate(network, *resized).homography
    into, out_of = _resize(sizes[0], NATIVE), _resize(NATIVE, sizes[1])
    corners = geometry.corners(sizes[0], dtype=torch.float64)
    expected = out_of(geometry.transform_points(inner, into(corners))) - corners
    assert_close(registration.displacement.double(), expected)


@each("registrator")
def test_registrator_survives_safetensors(component: Component, tmp_path: Path) -> None:
    """Weights written and read rebuild the same function in a network initialised otherwise."""
    first, second = build_registrator(component, seed=0), build_registrator(component, seed=1)
    path = tmp_path / "weights.safetensors"
    write_tensors(path, module_tensors({"registrator": first}), {"format": "suite"})
    load_modules({"registrator": second}, read_tensors(path)[0], path)
    source, target, _ = labelled_pair(1, PROTOCOL)
    assert_equal(estimate(second, source, target).displacements, estimate(first, source, target).displacements)


@each("registrator", lacks="train")
@pytest.mark.parametrize("shift", [(5, -3), (-4, 7)], ids=["right-up", "left-down"])
def test_matcher_knows_directions(component: Component, shift: tuple[int, int]) -> None:
    """A known translation is estimated within 1 px, source to target, x then y; none by the control ``identity``."""
    network = build_registrator(component)
    side = 192 if network.any_size else SIDE
    registration = estimate(network, *shifted_pair(1, side, shift))
    assert registration.ok is not None
    assert registration.ok.all()
    expected = torch.tensor((0, 0) if component.control == "identity" else shift, dtype=torch.float32)
    error = (registration.displacement.cpu() - expected).norm(dim=-1).max()
    assert error < 1, f"shift {shift} estimated as {registration.displacement[0].tolist()}"


@each("registrator", provides="train")
def test_registrator_has_a_loss_with_gradients(component: Component) -> None:
    """``loss`` is a finite scalar whose gradients are finite and reach the parameters."""
    network = build_registrator(component).train()
    source, target, label = labelled_pair(2, PROTOCOL)
    loss = network.loss(network(source, target), label)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert any(g.abs().sum() > 0 for g in gradients.values()), "no gradient reaches any parameter"
    assert not [name for name, g in gradients.items() if not g.isfinite().all()]


@each("registrator", provides="train")
def test_registrator_trains_in_mixed_precision(component: Component) -> None:
    """Under bf16 autocast estimates stay float32 and near those without; loss and gradients are finite, the loss near.

    Eight bits address 64 px to half a pixel: coordinates, homographies and angles need float32 whatever the features.
    """
    source, target, label = labelled_pair(1, PROTOCOL)  # one: bf16 is slow on CPUs
    network = build_registrator(component).train()

    def step(bf16: bool) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)  # the same dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            registration = network(source, target)
            return registration.displacements, network.loss(registration, label)

    with torch.no_grad():
        expected, expected_loss = step(bf16=False)
    estimates, loss = step(bf16=True)
    assert estimates.dtype == loss.dtype == torch.float32
    off = (estimates - expected).norm(dim=-1).mean()
    assert off < 0.5, f"estimates are {float(off):.2f} px off in bf16"
    assert (loss - expected_loss).abs() < 0.02 * expected_loss.abs(), f"{float(loss)} is not {float(expected_loss)}"
    loss.backward()  # type: ignore[no-untyped-call]
    broken = [k for k, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert not broken, f"gradients that are not finite in bf16: {broken[:5]}"


@each("registrator", provides="train")
def test_registrator_weighs_samples(component: Component) -> None:
    """Weights of one leave the loss as it is; a sample of weight zero has no say."""
    network = build_registrator(component)
    source, target, label = labelled_pair(2, PROTOCOL)
    with torch.no_grad():
        registration = network(source, target)
        other = label.clone()
        other[1] += 3
        assert_close(network.loss(registration, label, torch.ones(2)), network.loss(registration, label))
        one = torch.tensor([2.0, 0.0])
        assert_close(network.loss(registration, label, one), network.loss(registration, other, one))


@each("registrator", provides="train")
def test_registrator_learns(component: Component) -> None:
    """A few steps of AdamW on one batch lower its loss."""
    network = build_registrator(component).train()
    source, target, label = labelled_pair(4, PROTOCOL)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(10):
        torch.manual_seed(0)  # the same dropout at each step
        loss = network.loss(network(source, target), label)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    assert min(losses[5:]) < losses[0], f"losses {losses}"


@each("registrator", provides="features")
def test_registrator_offers_features(component: Component) -> None:
    """``features`` gives finite maps ``(B, C, h, w)``."""
    with torch.inference_mode():
        features = build_registrator(component).features(textured(2, NATIVE))
    assert features.ndim == 4
    assert features.shape[0] == 2
    assert features.isfinite().all()


def _modes(network: Registrator) -> dict[str, bool]:
    return {name: module.training for name, module in network.named_modules()}


def _resize(before: geometry.Size, after: geometry.Size) -> Callable[[Tensor], Tensor]:
    """Pixel coordinates (x, y) of an image before to after it is resized."""
    scale = torch.tensor([after[1] / before[1], after[0] / before[0]], dtype=torch.float64)
    return lambda points: (points + 0.5) * scale - 0.5
