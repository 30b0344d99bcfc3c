"""The convolutions that run channels last on CPUs, beside torch's own layers."""

import pytest
import torch
import torch.nn.functional as F

from regbench_registrators._blocks.convolution import Conv2d


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
