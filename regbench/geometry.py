"""The one geometric convention. Everything that touches coordinates goes through this file.

* Pixel centres; the corners of a W x H image are (0, 0), (W-1, 0), (0, H-1), (W-1, H-1) = TL, TR, BL, BR; x, then y.
* ``displacement`` (B, 4, 2): pixels at the SOURCE corners. The homography H (B, 3, 3) maps source pixel coordinates
  to target pixel coordinates, and H[2, 2] = 1.
* ``warp(x, H)`` pushes forward, out(p) = x(H^-1 p): ``warp(source, H)`` lies on the target.
  ``sample(x, G)`` is the backward form, out(p) = x(G p) = ``warp(x, G^-1)``.

H is solved in closed form (Heckbert 1989, square to quadrilateral), never with a linear solver: on CUDA a solver
synchronises with the host. OpenCV is the test oracle.

Coordinates are never in reduced precision. What is given in half precision is promoted to float32, and products of
coordinates go through :func:`product`, which neither autocast nor TF32 rounds: eight bits cannot address 128 pixels.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""


def corners(size: Size, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Tensor:
    """The four corners of an image of ``size``, ``(4, 2)`` pixels: TL, TR, BL, BR."""
    h, w = size
    # Computed on the device: a constant copied from the host would synchronise with it at every call.
    i = torch.arange(4, device=device)
    return torch.stack([i % 2 * (w - 1), i // 2 * (h - 1)], dim=-1).to(dtype)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def homography_from_displacement(displacement: Tensor, size: Size) -> Tensor:
    """Closed-form homography of four corner displacements.

    Args:
        displacement: ``(..., 4, 2)`` pixels at the source corners. Half precision is promoted to float32.
        size: ``(height, width)`` of the source image.

    Returns:
        ``(..., 3, 3)``, source pixels to target pixels, H[2,2] = 1. Entries are not finite where three of the
        moved corners are collinear.
    """
    displacement = _at_least_float32(displacement)
    h, w = size
    quad = displacement + corners(size, dtype=displacement.dtype, device=displacement.device)
    tl, tr, bl, br = quad.unbind(-2)  # each (..., 2)
    # Unit square -> quad: (0,0)->tl, (1,0)->tr, (0,1)->bl, (1,1)->br.
    d1, d2, s = tr - br, bl - br, tl - tr + br - bl
    det = d1[..., 0] * d2[..., 1] - d1[..., 1] * d2[..., 0]
    g = (s[..., 0] * d2[..., 1] - s[..., 1] * d2[..., 0]) / det
    k = (d1[..., 0] * s[..., 1] - d1[..., 1] * s[..., 0]) / det
    a = tr - tl + g[..., None] * tr
    b = bl - tl + k[..., None] * bl
    # Fold the scaling of the source rectangle to the unit square into the columns.
    sx, sy = 1.0 / (w - 1), 1.0 / (h - 1)
    one = torch.ones_like(g)
    return torch.stack(
        [
            torch.stack([a[..., 0] * sx, b[..., 0] * sy, tl[..., 0]], dim=-1),
            torch.stack([a[..., 1] * sx, b[..., 1] * sy, tl[..., 1]], dim=-1),
            torch.stack([g * sx, k * sy, one], dim=-1),
        ],
        dim=-2,
    )


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product ``a @ b`` of coordinates, in the precision of its factors.

    ``@`` itself rounds its factors to 8 bits under autocast, and to 11 on CUDA where TF32 is allowed.

    Args:
        a: ``(..., N, K)``, K at most three. Half precision is promoted to float32.
        b: ``(..., K, M)``.

    Returns:
        ``(..., N, M)``.
    """
    a, b = _at_least_float32(a), _at_least_float32(b)
    rounds = torch.is_autocast_enabled(a.device.type) or torch.get_float32_matmul_precision() != "highest"
    if a.device.type == "cpu" and not rounds:
        return a @ b
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(dim=-2)


HORIZON = 1e-6
"""Least denominator of sampling coordinates (H[2,2] = 1: at the origin it is one)."""


def transform_points(homography: Tensor, points: Tensor, *, horizon: float = 0.0) -> Tensor:
    """Map points by a homography.

    Args:
        homography: ``(..., 3, 3)``.
        points: ``(..., N, 2)`` pixels, broadcast against the homography's leading dimensions.
        horizon: least absolute denominator. A point on the horizon of a folded homography goes to infinity, and
            gradients through it are not numbers; networks that look features up there pass a small value.

    Returns:
        ``(..., N, 2)`` pixels.
    """
    homography, points = _at_least_float32(homography), _at_least_float32(points)
    xy = product(points, homography[..., :2, :2].transpose(-1, -2)) + homography[..., None, :2, 2]
    z = product(points, homography[..., 2, :2, None]) + homography[..., None, 2, 2:]
    if horizon:
        z = torch.where(z.abs() < horizon, torch.full_like(z, horizon), z)
    return xy / z


def displacement_from_homography(homography: Tensor, size: Size) -> Tensor:
    """Corner displacements ``(..., 4, 2)`` in pixels of a homography ``(..., 3, 3)`` at the corners of ``size``."""
    homography = _at_least_float32(homography)
    c = corners(size, dtype=homography.dtype, device=homography.device)
    return transform_points(homography, c) - c


def normalise(homography: Tensor) -> Tensor:
    """Scale so that H[2,2] = 1."""
    homography = _at_least_float32(homography)
    return homography / homography[..., 2:, 2:]


def invert(homography: Tensor) -> Tensor:
    """Inverse by the adjugate, scaled to H[2,2] = 1; no solver, no synchronisation."""
    r0, r1, r2 = _at_least_float32(homography).unbind(-2)
    adjugate = torch.stack([torch.linalg.cross(r1, r2), torch.linalg.cross(r2, r0), torch.linalg.cross(r0, r1)], dim=-1)
    return normalise(adjugate)


def compose(second: Tensor, first: Tensor) -> Tensor:
    """The homography that applies ``first``, then ``second``, scaled to H[2,2] = 1."""
    return normalise(product(second, first))


def translation(offset: Tensor) -> Tensor:
    """Homographies ``(..., 3, 3)`` that add ``offset`` ``(..., 2)`` pixels."""
    offset = _at_least_float32(offset)
    eye = torch.eye(3, dtype=offset.dtype, device=offset.device).expand(*offset.shape[:-1], 3, 3).clone()
    eye[..., :2, 2] = offset
    return eye


def resize_matrix(
    before: Size, after: Size, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> Tensor:
    """``(3, 3)`` map of pixel coordinates when an image is resized, pixel centres: x' = (x + 1/2) s - 1/2."""
    sy, sx = after[0] / before[0], after[1] / before[1]
    rows = [[sx, 0.0, (sx - 1) / 2], [0.0, sy, (sy - 1) / 2], [0.0, 0.0, 1.0]]
    # Filled on the device: a constant copied from the host would synchronise with it at every call.
    full = partial(torch.full, (), dtype=dtype, device=device)
    return torch.stack([torch.stack([full(value) for value in row]) for row in rows])


def rescale(homography: Tensor, source: tuple[Size, Size], target: tuple[Size, Size] | None = None) -> Tensor:
    """Re-express a homography after source and target images were resized.

    Args:
        homography: ``(..., 3, 3)`` between images of the sizes ``source[0]`` and ``target[0]``.
        source: (size before, size after) of the source image.
        target: the same for the target image; defaults to ``source``.

    Returns:
        ``(..., 3, 3)`` between images of the sizes ``source[1]`` and ``target[1]``.
    """
    homography = _at_least_float32(homography)
    make = partial(resize_matrix, dtype=homography.dtype, device=homography.device)
    return normalise(product(product(make(*(target or source)), homography), make(source[1], source[0])))


def pixel_grid(
    size: Size,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Pixel coordinates ``(H*W, 2)`` in row-major order, x then y.

    Args:
        size: (height, width) in pixels.
        dtype: of the coordinates.
        device: where they lie.
        like: a tensor whose dtype and device they take instead.
    """
    if like is not None:
        dtype, device = like.dtype, like.device
    h, w = size
    y, x = torch.meshgrid(
        torch.arange(h, dtype=dtype, device=device), torch.arange(w, dtype=dtype, device=device), indexing="ij"
    )
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def sampling_grid(homography: Tensor, out_size: Size, in_size: Size, *, folds: bool = True) -> Tensor:
    """The ``grid_sample`` grid ``(B, H, W, 2)`` of ``sample(x, homography)`` for ``align_corners=True``.

    Args:
        homography: ``(B, 3, 3)``, output pixels to input pixels. Half precision is promoted to float32.
        out_size: (height, width) of the output.
        in_size: (height, width) of the input.
        folds: False if no point of the output lies on the horizon, which is then not looked for.
    """
    homography = _at_least_float32(homography)
    kind, device = homography.dtype, homography.device
    # Rows of the homography that give unit coordinates straight away: -1 and 1 are the centres of the outer pixels.
    x, y, z = homography.unbind(-2)
    unit = torch.stack([x * (2.0 / (in_size[1] - 1)) - z, y * (2.0 / (in_size[0] - 1)) - z, z], dim=-2)
    along = unit[..., 0, None] * torch.arange(out_size[1], dtype=kind, device=device)  # (B, 3, W)
    down = unit[..., 1, None] * torch.arange(out_size[0], dtype=kind, device=device) + unit[..., 2, None]
    wide, high, depth = (along[:, i, None, :] + down[:, i, :, None] for i in range(3))
    if folds:
        depth = torch.where(depth.abs() < HORIZON, HORIZON, depth)
    inverse = depth.reciprocal()
    return torch.stack([wide * inverse, high * inverse], dim=-1)


def sample(
    image: Tensor,
    homography: Tensor,
    size: Size | None = None,
    *,
    mode: str = "bilinear",
    padding: str = "zeros",
    folds: bool = True,
) -> Tensor:
    """Backward warp, out(p) = image(G p).

    Args:
        image: ``(B, C, H, W)``.
        homography: G ``(B, 3, 3)``, output pixels to input pixels.
        size: (height, width) of the output; defaults to the input's.
        mode: ``bilinear`` or ``nearest``.
        padding: ``zeros``, ``border`` or ``reflection``.
        folds: as for :func:`sampling_grid`.

    Returns:
        ``(B, C, *size)`` in the image's dtype.
    """
    in_size = (image.shape[-2], image.shape[-1])
    grid = sampling_grid(homography, size or in_size, in_size, folds=folds)
    # Coordinates need float32 even where the image is bf16: eight bits cannot address 128 pixels.
    sampled = F.grid_sample(image.to(grid.dtype), grid, mode=mode, padding_mode=padding, align_corners=True)
    return sampled.to(image.dtype)


def warp(
    image: Tensor, homography: Tensor, size: Size | None = None, *, mode: str = "bilinear", padding: str = "zeros"
) -> Tensor:
    """Forward warp, out(p) = image(H^-1 p): ``warp(source, H)`` lies on the target. Arguments as :func:`sample`."""
    return sample(image, invert(_at_least_float32(homography)), size, mode=mode, padding=padding)


def inside(homography: Tensor, out_size: Size, in_size: Size) -> Tensor:
    """Where ``sample`` finds its pixel inside the input: ``(B, 1, *out_size)`` float, 1 inside, 0 outside."""
    grid = sampling_grid(homography, out_size, in_size)
    return (grid.abs() <= 1.0 + 1e-6).all(dim=-1, keepdim=False).unsqueeze(1).to(torch.float32)


def is_convex(displacement: Tensor, size: Size) -> Tensor:
    """``(...,)`` bool: the moved corners form a strictly convex quadrilateral with the source's orientation."""
    displacement = _at_least_float32(displacement)
    quad = displacement + corners(size, dtype=displacement.dtype, device=displacement.device)
    top_left, top_right, bottom_left, bottom_right = quad.unbind(-2)
    ring = torch.stack([top_left, top_right, bottom_right, bottom_left], dim=-2)  # clockwise on screen
    edge = ring.roll(-1, dims=-2) - ring
    following = edge.roll(-1, dims=-2)
    turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
    return (turn > 0).all(dim=-1)


def is_usable(displacement: Tensor, size: Size) -> Tensor:
    """``(...,)`` bool: displacements that are finite and whose homographies are not singular, folded or mirrored."""
    # Double, because products of large corners overflow.
    return displacement.isfinite().all(dim=-1).all(dim=-1) & is_convex(displacement.double(), size)


def corner_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """Average corner error per pair, ``(B,)`` pixels: mean Euclidean distance over the four corners."""
    difference = _at_least_float32(estimate) - _at_least_float32(truth)
    return torch.linalg.vector_norm(difference, dim=-1).mean(dim=-1)
