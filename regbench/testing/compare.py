"""Comparisons whose failures can be read: a number instead of two printed tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def assert_equal(actual: Tensor, expected: Tensor, what: str = "values") -> None:
    """The same shape and the same bits."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)} is not {tuple(expected.shape)}"
    assert torch.equal(actual, expected), f"{what}: differ by up to {_largest(actual, expected):g}"


def assert_close(actual: Tensor, expected: Tensor, what: str = "displacements, px") -> None:
    """Equal up to the rounding of another order of operations."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)} is not {tuple(expected.shape)}"
    near = torch.allclose(actual, expected, rtol=1e-3, atol=1e-2)
    assert near, f"{what}: differ by up to {_largest(actual, expected):g}"


def assert_same_weights(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Two snapshots with the same keys and bits."""
    assert actual.keys() == expected.keys()
    changed = [key for key, value in actual.items() if not torch.equal(value, expected[key])]
    assert not changed, f"weights that differ: {changed[:5]}"


def _largest(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
