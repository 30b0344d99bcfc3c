"""The bridge: its time grid, and its step from one time to the next."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor


def time_grid(steps: int) -> list[float]:
    """The times 0 = t_0 < t_1 = 1/2 < ... < t_steps = 1 (``steps`` + 1 of them).

    Increments after the first half are 1, 1/2, 1/3, ... scaled to sum to 1/2.
    """
    sums = list(accumulate([0.0] + [1 / i for i in range(1, steps)]))
    return [0.0] + [0.5 + 0.5 * s / sums[-1] for s in sums]


def bridge_step(x: Tensor, clean: Tensor, noise: Tensor, times: list[float], number: int, tau: float) -> Tensor:
    """One step of the bridge: towards the network's guess of its end, with noise.

    Args:
        x: ``(B, C, H, W)`` at time ``number - 1``.
        clean: the guess of the image at time 1, made from ``x``.
        noise: standard normal, of the shape of ``x``.
        times: of :func:`time_grid`.
        number: of the time to reach, at least 1.
        tau: the bridge's temperature; the noise has variance tau * delta * (1 - a).

    Returns:
        ``(B, C, H, W)`` at time ``number``.
    """
    delta = times[number] - times[number - 1]
    a = delta / (times[-1] - times[number - 1])
    return (1 - a) * x + a * clean + math.sqrt(tau * delta * (1 - a)) * noise


def simulate(
    x: Tensor,
    until: int,
    times: list[float],
    tau: float,
    guess: Callable[[Tensor, int], Tensor],
    noise: Callable[[Tensor], Tensor],
) -> Tensor:
    """Walk the bridge from ``x`` at time 0 to the time ``until``.

    Args:
        x: ``(B, C, H, W)``, the source.
        until: number of the time to reach; 0 gives ``x``.
        times: of :func:`time_grid`.
        tau: the bridge's temperature.
        guess: (image at a time, number of that time) to the image at time 1.
        noise: makes standard normal noise of the shape of its argument.
    """
    for number in range(1, until + 1):
        x = bridge_step(x, guess(x, number - 1), noise(x), times, number, tau)
    return x


def time_features(step: Tensor, size: int) -> Tensor:
    """DDPM's sinusoidal features ``(B, size)`` of step numbers ``(B,)``: sines, then cosines, rates 1 to 1/10000."""
    half = size // 2
    rates = torch.exp(torch.arange(half, device=step.device) * (-math.log(10_000) / max(half - 1, 1)))
    angles = step[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
