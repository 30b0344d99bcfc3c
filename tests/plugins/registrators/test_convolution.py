"""The layers that run channels last on CPUs, beside torch's own."""

import pytest
import torch
import torch.nn.functional as F

from regbench_registrators.blocks.convolution import CACHED, Conv2d
from regbench_registrators.blocks.decoder import Layer
from regbench_registrators.blocks.weight_gradient import PIXELS, weight_gradient


def both(function, expected, inputs):
    """Results and gradients of two functions, to be compared."""
    results = []
    for f in (function, expected):
        out = f()
        weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
        results.append((out.detach(), *torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (7, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_are_those_of_torch(kernel, stride, layout):
    torch.manual_seed(0)
    conv = Conv2d(5, 7, kernel, stride, kernel // 2).double()
    x = torch.randn(2, 5, 12, 10, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    inputs = [x, conv.weight, conv.bias]

    def plain(x):
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)

    both(lambda: conv(x), lambda: plain(x), inputs)
    both(lambda: conv.normalised(x), lambda: F.instance_norm(plain(x)), inputs)
    both(lambda: conv.normalised(x, after_relu=True), lambda: F.instance_norm(plain(x.relu())), inputs)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_end_of_a_residual_block(kernel, stride, layout):
    torch.manual_seed(0)
    conv = Conv2d(5, 7, kernel, stride).double()
    x = torch.randn(2, 5, 12, 10, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    main = torch.randn(2, 7, 12 // stride, 10 // stride, dtype=torch.float64, requires_grad=True)

    def expected():
        shortcut = F.instance_norm(F.conv2d(x, conv.weight, conv.bias, conv.stride))
        return F.relu(F.relu(main) + shortcut)

    both(lambda: conv.residual(main, x), expected, [main, x, conv.weight, conv.bias])


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("projects", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_decoders_layer(halves, projects, layout):
    torch.manual_seed(0)
    project, layer = Conv2d(5, 6, 1).double(), Layer(6, 8, 4, halves).double()
    torch.nn.init.normal_(layer[1].weight)
    x = torch.randn(3, 5 if projects else 6, 12, 10, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    inputs = [x, *layer.parameters(), *(project.parameters() if projects else ())]

    def expected():
        before = F.conv2d(x, project.weight, project.bias) if projects else x
        active = F.group_norm(
            F.conv2d(before, layer[0].weight, layer[0].bias, padding=1), 4, *layer[1].parameters()
        ).relu()
        return F.max_pool2d(active, 2) if halves else active

    both(lambda: layer(x, project if projects else None), expected, inputs)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, project if projects else None), expected(), rtol=0, atol=1e-10)


def test_large_maps_are_worked_through_in_parts():
    """More samples than the cache takes at once, and as many left over."""
    torch.manual_seed(0)
    side = int((CACHED / 2 / 16) ** 0.5) // 2 * 2  # two samples and a bit of 16 channels
    first, second, shortcut = Conv2d(2, 16, 3, 1, 1), Conv2d(16, 16, 3, 1, 1), Conv2d(2, 16, 1)
    layer = Layer(16, 16, 2, halves=True)
    x = torch.randn(5, 2, side, side)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):  # the first takes torch's own operators
        image = x.to(memory_format=layout).requires_grad_()
        out = layer(shortcut.residual(second.normalised(first.normalised(image), after_relu=True), image))
        weights = [p for part in (second, shortcut, layer) for p in part.parameters() if p.dim() > 1]
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
    conv = Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight.abs_()
        x = (torch.rand(1, 3, 64, 64) + 30).contiguous(memory_format=torch.channels_last)
        exact = F.instance_norm(F.conv2d(x.double(), conv.weight.double()))
        torch.testing.assert_close(conv.normalised(x).double(), exact, rtol=0, atol=1e-3)


def test_inputs_are_not_changed():
    x = torch.randn(1, 3, 8, 8)
    before = x.clone()
    Conv2d(3, 4, 3, 1, 1).normalised(x, after_relu=True)
    assert torch.equal(x, before)


def test_autocast_takes_the_plain_path():
    conv, x = Conv2d(3, 4, 3, 1, 1), torch.randn(1, 3, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv.normalised(x)
    out.float().square().sum().backward()
    assert x.grad.isfinite().all()
