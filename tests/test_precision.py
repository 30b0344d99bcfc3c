"""Coordinates are never in reduced precision: under autocast, with TF32 allowed, from half precision estimates."""

from __future__ import annotations

import inspect
from contextlib import contextmanager

import pytest
import torch

from regbench import PairInfo, geometry
from regbench_registrators.blocks.composition import in_sequence
from regbench_registrators.blocks.flow import flow_of, warp_by_flow
from regbench_registrators.mhn import MHN, MHNConfig

SIZE = (128, 128)


def displacement(seed: int) -> torch.Tensor:
    """Of two pairs, in quarters of a pixel: exact in bfloat16 up to 32 px."""
    drawn = torch.randint(-124, 125, (2, 4, 2), generator=torch.Generator().manual_seed(seed))
    return drawn / 4


D, E = displacement(0), displacement(1)
H, G = (geometry.homography_from_displacement(d, SIZE) for d in (D, E))
POINTS = geometry.pixel_grid((96, 96))[::7].repeat(2, 1, 1) + 0.25
IMAGE = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))

OPERATORS = {
    "corners": lambda: geometry.corners(SIZE),
    "homography_from_displacement": lambda: geometry.homography_from_displacement(D, SIZE),
    "product": lambda: geometry.product(H, G),
    "transform_points": lambda: geometry.transform_points(H, POINTS),
    "displacement_from_homography": lambda: geometry.displacement_from_homography(H, SIZE),
    "normalise": lambda: geometry.normalise(3 * H),
    "invert": lambda: geometry.invert(H),
    "compose": lambda: geometry.displacement_from_homography(geometry.compose(H, G), SIZE),
    "translation": lambda: geometry.translation(D[:, 0]),
    "resize_matrix": lambda: geometry.resize_matrix(SIZE, (41, 67)),
    "rescale": lambda: geometry.displacement_from_homography(geometry.rescale(H, (SIZE, (41, 67))), (41, 67)),
    "pixel_grid": lambda: geometry.pixel_grid((160, 160)),
    "sampling_grid": lambda: geometry.sampling_grid(H, SIZE, SIZE) * 64,
    "sample": lambda: 64 * geometry.sample(IMAGE, H, SIZE),
    "warp": lambda: 64 * geometry.warp(IMAGE, H, SIZE),
    "inside": lambda: geometry.inside(H, SIZE, SIZE),
    "is_convex": lambda: geometry.is_convex(D, SIZE),
    "is_usable": lambda: geometry.is_usable(D, SIZE),
    "corner_error": lambda: geometry.corner_error(D, E),
}
USES = {
    "flow_of (IHN, RHWF)": lambda: flow_of(D, 4, (32, 32)),
    "warp_by_flow": lambda: warp_by_flow(IMAGE.repeat(1, 1, 4, 4), flow_of(D, 4, (32, 32))),
    "in_sequence (MHN, IHN)": lambda: in_sequence(D / 2, E / 2, SIZE, "compose"),
    "MHN's warp": lambda: mhn().warped(torch.nn.functional.interpolate(IMAGE, scale_factor=2), H, 1),
    "the label CoLReg composes": lambda: geometry.displacement_from_homography(geometry.compose(H, G), SIZE),
    "biHomE's and CUDHN's inverse": lambda: geometry.compose(geometry.invert(H), H) - torch.eye(3),
}


def mhn() -> MHN:
    return MHN(MHNConfig(scaling="exact", widths=(4,)), PairInfo())


@contextmanager
def tf32():
    """``high`` allows TF32 on CUDA. Most CPUs round nothing, so a matrix product fails here."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with NoProducts():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class NoProducts(torch.utils._python_dispatch.TorchDispatchMode):
    """Fails on a matrix product, which TF32 would round on CUDA."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[-1]
        assert name not in ("mm", "bmm", "addmm", "baddbmm", "mv", "dot"), f"{name} of coordinates"
        return func(*args, **(kwargs or {}))


REDUCED = {"autocast": lambda: torch.autocast("cpu", torch.bfloat16), "tf32": tf32}


def test_every_operator_of_geometry_is_here():
    public = {
        name
        for name, function in vars(geometry).items()
        if inspect.isfunction(function) and function.__module__ == geometry.__name__ and not name.startswith("_")
    }
    assert public == set(OPERATORS)


@pytest.mark.parametrize("reduced", REDUCED)
@pytest.mark.parametrize("name", [*OPERATORS, *USES])
def test_coordinates_keep_their_precision(name, reduced):
    operator = (OPERATORS | USES)[name]
    expected = operator()
    with REDUCED[reduced]():
        found = operator()
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-5)


HALF = {
    "homography_from_displacement": lambda d, h: geometry.homography_from_displacement(d, SIZE),
    "transform_points": lambda d, h: geometry.transform_points(h, d),
    "displacement_from_homography": lambda d, h: geometry.displacement_from_homography(h, SIZE),
    "compose": lambda d, h: geometry.compose(h, h),
    "invert": lambda d, h: geometry.invert(h),
    "normalise": lambda d, h: geometry.normalise(h),
    "product": lambda d, h: geometry.product(h, h),
    "rescale": lambda d, h: geometry.rescale(h, (SIZE, (41, 67))),
    "translation": lambda d, h: geometry.translation(d[:, 0]),
    "sampling_grid": lambda d, h: geometry.sampling_grid(h, SIZE, SIZE),
    "is_convex": lambda d, h: geometry.is_convex(d, SIZE),
    "is_usable": lambda d, h: geometry.is_usable(d, SIZE),
    "inside": lambda d, h: geometry.inside(h, SIZE, SIZE),
    "corner_error": lambda d, h: geometry.corner_error(d, torch.zeros_like(d)),
}


@pytest.mark.parametrize("name", HALF)
def test_half_precision_is_promoted(name):
    half = D.bfloat16(), geometry.translation(D[:, 0]).bfloat16()
    found = HALF[name](*half)
    expected = HALF[name](*(x.float() for x in half))
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_a_product_in_reduced_precision_would_be_seen():
    with torch.autocast("cpu", torch.bfloat16):
        moved = POINTS @ H[..., :2, :2].transpose(-1, -2) + H[..., None, :2, 2]
    assert (moved.float() - geometry.transform_points(H, POINTS)).abs().max() > 0.1
    with pytest.raises(AssertionError, match="of coordinates"), tf32():
        H @ G


def test_the_usual_form_stays_what_it_was():
    """Numbers of runs on CPUs do not depend on this: the product there is torch's own."""
    assert torch.equal(geometry.product(H, G), H @ G)
    assert torch.equal(geometry.compose(H, G), geometry.normalise(H @ G))
