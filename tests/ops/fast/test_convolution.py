"""Layers that run with channels last on CPUs, beside torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regbench.ops import fast
from regbench.ops.fast import memory
from regbench.ops.fast.memory import CACHED
from regbench.ops.fast.residual import residual_sum
from regbench.ops.fast.weight_gradient import PIXELS, weight_gradient

FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.fixture(params=["small", "large"], autouse=True)
def form(request, monkeypatch):
    """Every map is taken for a small one, then for a large one."""
    if request.param == "large":
        monkeypatch.setattr(memory, "SMALL", 0)


def both(function, expected, inputs):
    """Compare results and gradients of two functions."""
    results = []
    for f in (function, expected):
        out = f()
        weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
        results.append((out.detach(), *torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)


def layer(inputs, outputs, groups, halves):
    pool = [nn.MaxPool2d(2)] if halves else []
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), nn.GroupNorm(groups, outputs), nn.ReLU(), *pool)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (7, 1)])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_convolution_with_instance_norm(kernel, stride, memory_format):
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 7, kernel, stride, kernel // 2).double()
    x = torch.randn(2, 5, 12, 10, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    inputs = [x, conv.weight, conv.bias]
    both(lambda: fast.normalised_convolution(x, conv), lambda: F.instance_norm(conv(x)), inputs)
    after_relu = lambda: fast.normalised_convolution(x, conv, after_relu=True)  # noqa: E731
    both(after_relu, lambda: F.instance_norm(conv(x.relu())), inputs)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2)])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_end_of_a_residual_block(kernel, stride, memory_format):
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 7, kernel, stride).double()
    x = torch.randn(2, 5, 12, 10, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    main = torch.randn(2, 7, 12 // stride, 10 // stride, dtype=torch.float64, requires_grad=True)
    expected = lambda: F.relu(F.relu(main) + F.instance_norm(conv(x)))  # noqa: E731
    both(lambda: residual_sum(main, x, conv), expected, [main, x, conv.weight, conv.bias])


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("projects", [False, True])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_a_decoders_layer(halves, projects, memory_format):
    torch.manual_seed(0)
    project, one = nn.Conv2d(5, 6, 1).double(), layer(6, 8, 4, halves).double()
    nn.init.normal_(one[1].weight)
    x = torch.randn(3, 5 if projects else 6, 12, 10, dtype=torch.float64)
    x = x.to(memory_format=memory_format).requires_grad_()
    inputs = [x, *one.parameters(), *(project.parameters() if projects else ())]

    def expected():
        return one(project(x) if projects else x)

    def found():
        return fast.decoder_layers(x, [one], project if projects else None)

    both(found, expected, inputs)
    with torch.no_grad():
        torch.testing.assert_close(found(), expected(), rtol=0, atol=1e-10)


def test_large_maps_are_worked_on_in_parts():
    """More samples than the cache takes at once, and as many left over."""
    torch.manual_seed(0)
    side = int((CACHED / 2 / 16) ** 0.5) // 2 * 2  # two samples and a bit of 16 channels
    first, second, shortcut = nn.Conv2d(2, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(2, 16, 1)
    one = layer(16, 16, 2, halves=True)
    image = torch.randn(5, 2, side, side).requires_grad_()

    def plain():
        main = F.instance_norm(second(F.instance_norm(first(image)).relu()))
        return one(F.relu(main.relu() + F.instance_norm(shortcut(image))))

    results = []
    for form in (plain, lambda: fast.decoder_layers(fast.residual_block(image, first, second, shortcut), [one])):
        out = form()
        weights = [p for part in (second, shortcut, one) for p in part.parameters() if p.dim() > 1]
        results.append((out.detach(), *torch.autograd.grad(out.square().mean(), [image, *weights])))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (2, 4, 16, 12), (3, 2, 9, 300), (2, 1, 3, PIXELS + 1), (1, 2, 1, 1)])
@pytest.mark.parametrize("after_relu", [False, True])
def test_the_weights_gradient(shape, after_relu):
    torch.manual_seed(0)
    x, weight = torch.randn(shape, dtype=torch.float64), torch.randn(5, shape[1], 3, 3, dtype=torch.float64)
    out = F.conv2d(x.relu() if after_relu else x, weight.requires_grad_(), padding=1)
    grad = torch.randn_like(out)
    expected = torch.autograd.grad(out, weight, grad)[0]
    torch.testing.assert_close(weight_gradient(grad, x, after_relu), expected, rtol=0, atol=1e-10)


def test_the_norm_keeps_its_digits_beside_a_large_mean():
    conv = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight.abs_()
        x = (torch.rand(1, 3, 64, 64) + 30).contiguous(memory_format=torch.channels_last)
        exact = F.instance_norm(F.conv2d(x.double(), conv.weight.double()))
        torch.testing.assert_close(fast.normalised_convolution(x, conv).double(), exact, rtol=0, atol=1e-3)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_inputs_are_not_changed(memory_format):
    x = torch.randn(1, 3, 8, 8).to(memory_format=memory_format)
    before = x.clone()
    fast.normalised_convolution(x, nn.Conv2d(3, 4, 3, 1, 1), after_relu=True)
    fast.residual_block(x, nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(3, 4, 1))
    assert torch.equal(x, before)
