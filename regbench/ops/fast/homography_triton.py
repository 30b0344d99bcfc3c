"""Sampling coordinates of a homography on CUDA, one Triton kernel each way: see :mod:`regbench.ops.homography_grid`.

The map of the unit square to the moved corners takes (u, v) to (X / Z, Y / Z), with X = a_x u + b_x v + c_x, Y alike,
and Z = g u + k v + 1 (Heckbert 1989). A program of the forward kernel takes a block of pixels; one of the backward
kernel takes a sample, sums the gradients of the eight numbers over its pixels, and goes back through the closed form to
the corners.
"""

# Kernels are no Python that a type checker could follow.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,index,attr-defined,operator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from regbench import geometry
from regbench.ops.fast.kernels import launched_beside

BLOCK = 1024
"""Pixels of a block."""


@triton.jit
def _quad(displacement, b, h, w, scale):
    """The moved corners TL, TR, BL, BR, x and y."""
    at = displacement + b * 8
    right, bottom = (w - 1) * 1.0, (h - 1) * 1.0
    tlx, tly = tl.load(at) * scale, tl.load(at + 1) * scale
    trx, try_ = tl.load(at + 2) * scale + right, tl.load(at + 3) * scale
    blx, bly = tl.load(at + 4) * scale, tl.load(at + 5) * scale + bottom
    brx, bry = tl.load(at + 6) * scale + right, tl.load(at + 7) * scale + bottom
    return tlx, tly, trx, try_, blx, bly, brx, bry


@triton.jit
def _projective(tlx, tly, trx, try_, blx, bly, brx, bry):
    """The numbers g and k, the factors of their numerators, and their denominator."""
    d1x, d1y, d2x, d2y = trx - brx, try_ - bry, blx - brx, bly - bry
    sx, sy = tlx - trx + brx - blx, tly - try_ + bry - bly
    det = d1x * d2y - d1y * d2x
    return (sx * d2y - sy * d2x) / det, (d1x * sy - d1y * sx) / det, d1x, d1y, d2x, d2y, sx, sy, det


@triton.jit
def _at(u, v, g, k, tlx, tly, trx, try_, blx, bly, HORIZON: tl.constexpr):
    """Where points of the unit square lead: x, y, the reciprocal of Z, and whether Z is what it says."""
    z = g * u + k * v + 1.0
    ahead = tl.abs(z) >= HORIZON
    rate = 1.0 / tl.where(ahead, z, HORIZON)
    x = ((trx - tlx + g * trx) * u + (blx - tlx + k * blx) * v + tlx) * rate
    y = ((try_ - tly + g * try_) * u + (bly - tly + k * bly) * v + tly) * rate
    return x, y, rate, ahead


@triton.jit
def _forward(
    displacement, out, h, w, scale, FLOW: tl.constexpr, HORIZON: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    b, pixel = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, col, row = pixel < h * w, pixel % w, pixel // w
    tlx, tly, trx, try_, blx, bly, brx, bry = _quad(displacement, b, h, w, scale)
    g, k, _, _, _, _, _, _, _ = _projective(tlx, tly, trx, try_, blx, bly, brx, bry)
    u, v = col / (w - 1.0), row / (h - 1.0)
    x, y, _, _ = _at(u, v, g, k, tlx, tly, trx, try_, blx, bly, HORIZON)
    if FLOW:
        tl.store(out + b * 2 * h * w + pixel, x - col, mask=inside)
        tl.store(out + (b * 2 + 1) * h * w + pixel, y - row, mask=inside)
    else:
        tl.store(out + (b * h * w + pixel) * 2, x * (2.0 / (w - 1)) - 1.0, mask=inside)
        tl.store(out + (b * h * w + pixel) * 2 + 1, y * (2.0 / (h - 1)) - 1.0, mask=inside)


@triton.jit
def _backward(
    displacement, grad, out, h, w, scale, FLOW: tl.constexpr, HORIZON: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    b = tl.program_id(0)
    tlx, tly, trx, try_, blx, bly, brx, bry = _quad(displacement, b, h, w, scale)
    g, k, d1x, d1y, d2x, d2y, sx, sy, det = _projective(tlx, tly, trx, try_, blx, bly, brx, bry)
    zero = tl.zeros((BLOCK,), tl.float32)
    ax, bx, cx, ay, by, cy, dg, dk = zero, zero, zero, zero, zero, zero, zero, zero
    for start in range(0, h * w, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside, col, row = pixel < h * w, pixel % w, pixel // w
        u, v = col / (w - 1.0), row / (h - 1.0)
        x, y, rate, ahead = _at(u, v, g, k, tlx, tly, trx, try_, blx, bly, HORIZON)
        if FLOW:
            gx = tl.load(grad + b * 2 * h * w + pixel, mask=inside, other=0.0)
            gy = tl.load(grad + (b * 2 + 1) * h * w + pixel, mask=inside, other=0.0)
        else:
            gx = tl.load(grad + (b * h * w + pixel) * 2, mask=inside, other=0.0) * (2.0 / (w - 1))
            gy = tl.load(grad + (b * h * w + pixel) * 2 + 1, mask=inside, other=0.0) * (2.0 / (h - 1))
        dx, dy = gx * rate, gy * rate
        dz = tl.where(ahead & inside, -(dx * x + dy * y), 0.0)
        ax += dx * u
        bx += dx * v
        cx += dx
        ay += dy * u
        by += dy * v
        cy += dy
        dg += dz * u
        dk += dz * v
    dax, dbx, dcx, day, dby, dcy = tl.sum(ax), tl.sum(bx), tl.sum(cx), tl.sum(ay), tl.sum(by), tl.sum(cy)
    d_g = tl.sum(dg) + dax * trx + day * try_
    d_k = tl.sum(dk) + dbx * blx + dby * bly
    # g = (sx d2y - sy d2x) / det, k = (d1x sy - d1y sx) / det, det = d1x d2y - d1y d2x
    n_g, n_k = d_g / det, d_k / det
    d_det = -(n_g * g + n_k * k)
    d_sx, d_sy = n_g * d2y - n_k * d1y, n_k * d1x - n_g * d2x
    d_d1x, d_d1y = n_k * sy + d_det * d2y, -n_k * sx - d_det * d2x
    d_d2x, d_d2y = -n_g * sy - d_det * d1y, n_g * sx + d_det * d1x
    to = out + b * 8
    tl.store(to, scale * (dcx - dax - dbx + d_sx))
    tl.store(to + 1, scale * (dcy - day - dby + d_sy))
    tl.store(to + 2, scale * (dax * (1.0 + g) + d_d1x - d_sx))
    tl.store(to + 3, scale * (day * (1.0 + g) + d_d1y - d_sy))
    tl.store(to + 4, scale * (dbx * (1.0 + k) + d_d2x - d_sx))
    tl.store(to + 5, scale * (dby * (1.0 + k) + d_d2y - d_sy))
    tl.store(to + 6, scale * (d_sx - d_d1x - d_d2x))
    tl.store(to + 7, scale * (d_sy - d_d1y - d_d2y))


class HomographyGrid(torch.autograd.Function):
    """``homography_grid`` or, with ``flow``, ``homography_flow``, in float32."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, size: tuple[int, int], stride: float, flow: bool) -> Tensor:
        """Arguments as of the operators; ``(B, h, w, 2)``, or ``(B, 2, h, w)``."""
        corners = displacement.float().contiguous()
        b = len(corners)
        out = corners.new_empty((b, 2, *size) if flow else (b, *size, 2))
        ctx.save_for_backward(corners)
        ctx.size, ctx.stride, ctx.flow, ctx.dtype = size, stride, flow, displacement.dtype
        _launch(_forward, (corners, out), size, stride, flow)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of the displacement, summed over the pixels in float32."""
        (corners,) = ctx.saved_tensors
        out = torch.empty_like(corners)
        _launch(_backward, (corners, grads[0].float().contiguous(), out), ctx.size, ctx.stride, ctx.flow)
        return out.to(ctx.dtype), None, None, None


def _launch(kernel: Any, tensors: tuple[Tensor, ...], size: tuple[int, int], stride: float, flow: bool) -> None:
    with launched_beside(tensors[0]):
        _run(kernel, tensors, size, stride, flow)


def _run(kernel: Any, tensors: tuple[Tensor, ...], size: tuple[int, int], stride: float, flow: bool) -> None:
    b = len(tensors[0])
    blocks = (b,) if kernel is _backward else (triton.cdiv(size[0] * size[1], BLOCK), b)
    kernel[blocks](*tensors, *size, 1.0 / stride, FLOW=flow, HORIZON=geometry.HORIZON, BLOCK=BLOCK)
