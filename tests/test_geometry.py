"""The geometric convention, against OpenCV and kornia."""

import cv2
import kornia
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from regbench import geometry

SIZES = [(128, 128), (96, 160), (201, 64)]
quick = settings(max_examples=40, deadline=None)


def displacements(count, size, seed=0, share=0.24, dtype=torch.float64):
    """Displacements in eighths of a pixel (exact in float32), up to a share of the sides: always convex."""
    limit = int(min(size) * share * 8)
    drawn = torch.randint(-limit, limit + 1, (count, 4, 2), generator=torch.Generator().manual_seed(seed))
    return (drawn / 8).to(dtype)


def smooth_image(size, seed=0, sigma=4.0, channels=1):
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.standard_normal((*size, channels)).astype(np.float32), (0, 0), sigma)
    image = (image - image.min()) / (image.max() - image.min())
    return torch.from_numpy(image.reshape(*size, channels)).permute(2, 0, 1)[None].contiguous()


def interior(homography, out_size, in_size, margin=2):
    """Where a backward warp needs pixels at least ``margin`` inside the input only."""
    points = geometry.transform_points(homography, geometry.pixel_grid(out_size, dtype=homography.dtype))
    low, high = margin, torch.tensor([in_size[1] - 1 - margin, in_size[0] - 1 - margin])
    return ((points >= low) & (points <= high)).all(-1).reshape(-1, 1, *out_size)


@st.composite
def quads(draw):
    """A size and a displacement of its corners that keeps the quadrilateral convex."""
    size = (draw(st.integers(16, 300)), draw(st.integers(16, 300)))
    return size, displacements(3, size, draw(st.integers(0, 2**31)))


# --- 4 points <-> 3 x 3


@pytest.mark.parametrize("size", SIZES)
def test_homography_from_displacement_agrees_with_opencv(size):
    moved = displacements(20, size, 1)
    found = geometry.homography_from_displacement(moved, size)
    before = geometry.corners(size)
    for d, h in zip(moved, found, strict=True):
        oracle = cv2.getPerspectiveTransform(before.numpy(), (before + d.float()).numpy())
        np.testing.assert_allclose(h.numpy(), oracle, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_homography_from_displacement_agrees_with_kornia(size):
    moved = displacements(20, size, 2)
    before = geometry.corners(size, dtype=torch.float64).expand(20, 4, 2)
    oracle = kornia.geometry.get_perspective_transform(before, before + moved)
    torch.testing.assert_close(geometry.homography_from_displacement(moved, size), oracle, rtol=1e-7, atol=1e-9)


def test_homography_in_float32_keeps_corners_within_a_thousandth_of_a_pixel():
    moved = displacements(500, (128, 128), 3, dtype=torch.float32)
    h = geometry.homography_from_displacement(moved, (128, 128))
    assert h.dtype == torch.float32
    back = geometry.displacement_from_homography(h, (128, 128))
    assert (back - moved).abs().max() < 1e-3


def test_homography_of_half_precision_is_float32():
    moved = displacements(5, (128, 128), 4).round()
    for dtype in (torch.bfloat16, torch.float16):
        found = geometry.homography_from_displacement(moved.to(dtype), (128, 128))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, geometry.homography_from_displacement(moved.float(), (128, 128)))


def test_corners_are_pixel_centres_tl_tr_bl_br():
    assert geometry.corners((3, 5)).tolist() == [[0, 0], [4, 0], [0, 2], [4, 2]]


def test_homography_of_a_shift_is_a_translation():
    moved = torch.tensor([3.0, -2.0]).expand(1, 4, 2)
    found = geometry.homography_from_displacement(moved, (40, 60))
    torch.testing.assert_close(found, geometry.translation(torch.tensor([[3.0, -2.0]])))


@quick
@given(quads())
def test_displacement_survives_the_round_trip(quad):
    size, moved = quad
    h = geometry.homography_from_displacement(moved, size)
    assert (h[:, 2, 2] == 1).all()
    torch.testing.assert_close(geometry.displacement_from_homography(h, size), moved, rtol=0, atol=1e-8)


@quick
@given(quads())
def test_inverse_composes_to_the_identity_both_ways(quad):
    size, moved = quad
    h = geometry.homography_from_displacement(moved, size)
    back = geometry.invert(h)
    assert (back[:, 2, 2] == 1).all()
    eye = torch.eye(3, dtype=h.dtype).expand_as(h)
    torch.testing.assert_close(geometry.compose(h, back), eye, rtol=0, atol=1e-7)
    torch.testing.assert_close(geometry.compose(back, h), eye, rtol=0, atol=1e-7)
    numpy = np.linalg.inv(h.numpy())
    np.testing.assert_allclose(back.numpy(), numpy / numpy[:, 2:, 2:], rtol=1e-6, atol=1e-9)


@quick
@given(quads())
def test_compose_is_associative_and_applies_its_second_argument_first(quad):
    size, moved = quad
    h = geometry.homography_from_displacement(moved * 0.3, size)
    a, b, c = h
    left, right = geometry.compose(geometry.compose(a, b), c), geometry.compose(a, geometry.compose(b, c))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)
    points = geometry.corners(size, dtype=torch.float64)
    one_by_one = geometry.transform_points(a, geometry.transform_points(b, points))
    torch.testing.assert_close(geometry.transform_points(geometry.compose(a, b), points), one_by_one)


def test_transform_points_agrees_with_opencv_and_broadcasts():
    h = geometry.homography_from_displacement(displacements(6, (96, 160), 5), (96, 160))
    points = torch.rand(6, 11, 2, dtype=torch.float64) * 90
    found = geometry.transform_points(h, points)
    for one, p, f in zip(h, points, found, strict=True):
        np.testing.assert_allclose(f.numpy(), cv2.perspectiveTransform(p.numpy()[None], one.numpy())[0], rtol=1e-9)
    shared = geometry.transform_points(h, points[0])
    assert shared.shape == (6, 11, 2)
    torch.testing.assert_close(shared[3], geometry.transform_points(h[3], points[0]))


# --- sizes


@quick
@given(quads(), st.integers(8, 400), st.integers(8, 400), st.integers(8, 400), st.integers(8, 400))
def test_rescale_moves_pixel_centres_as_resizing_does(quad, h1, w1, h2, w2):
    size, moved = quad
    before = geometry.homography_from_displacement(moved, size)
    source, target = (size, (h1, w1)), (size, (h2, w2))
    after = geometry.rescale(before, source, target)
    points = geometry.corners(size, dtype=torch.float64)
    scale_s = torch.tensor([w1 / size[1], h1 / size[0]], dtype=torch.float64)
    scale_t = torch.tensor([w2 / size[1], h2 / size[0]], dtype=torch.float64)
    found = geometry.transform_points(after, (points + 0.5) * scale_s - 0.5)
    expected = (geometry.transform_points(before, points) + 0.5) * scale_t - 0.5
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-7)
    back = geometry.rescale(after, source[::-1], target[::-1])
    torch.testing.assert_close(back, before, rtol=1e-8, atol=1e-8)


def test_rescale_without_a_target_resizes_both_images():
    h = geometry.homography_from_displacement(displacements(2, (64, 64), 6), (64, 64))
    pair = ((64, 64), (192, 128))
    assert torch.equal(geometry.rescale(h, pair), geometry.rescale(h, pair, pair))


# --- convexity


@quick
@given(st.integers(0, 2**31))
def test_is_convex_agrees_with_opencv_and_rejects_flips(seed):
    size = (64, 64)
    generator = torch.Generator().manual_seed(seed)
    moved = torch.rand(50, 4, 2, generator=generator) * 128 - 64
    found = geometry.is_convex(moved, size)
    for d, convex in zip(moved, found, strict=True):
        ring = (d + geometry.corners(size))[[0, 1, 3, 2]].numpy()
        clockwise = cv2.contourArea(ring, oriented=True) > 0
        assert bool(convex) == (cv2.isContourConvex(ring) and clockwise)


def test_is_convex_rejects_mirrored_folded_and_collinear_corners():
    size, c = (64, 64), geometry.corners((64, 64))
    mirrored = c[[1, 0, 3, 2]] - c
    folded = torch.tensor([[0.0, 0], [0, 0], [0, 0], [-50, -50]])
    collinear = torch.tensor([[0.0, 0], [0, 0], [0, 0], [-31.5, -31.5]])
    found = geometry.is_convex(torch.stack([torch.zeros(4, 2), mirrored, folded, collinear]), size)
    assert found.tolist() == [True, False, False, False]


# --- sampling


@pytest.mark.parametrize(("in_size", "out_size"), [((96, 160), (96, 160)), ((128, 100), (70, 90))])
def test_warp_and_sample_agree_with_opencv(in_size, out_size):
    image = smooth_image(in_size, 7)
    h = geometry.homography_from_displacement(displacements(4, in_size, 7, share=0.15), in_size)
    for one in h:
        found = geometry.warp(image, one[None], out_size)
        dsize = (out_size[1], out_size[0])
        oracle = cv2.warpPerspective(image[0, 0].numpy(), one.numpy(), dsize, flags=cv2.INTER_LINEAR)
        where = interior(geometry.invert(one[None]), out_size, in_size)
        assert where.float().mean() > 0.3
        # OpenCV rounds coordinates to 1/32 px; the image changes by up to 0.1 a pixel.
        assert (found[0, 0] - torch.from_numpy(oracle)).abs()[where[0, 0]].max() < 4e-3
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        oracle = cv2.warpPerspective(image[0, 0].numpy(), one.numpy(), dsize, flags=flags)
        found = geometry.sample(image, one[None], out_size)
        where = interior(one[None], out_size, in_size)
        assert (found[0, 0] - torch.from_numpy(oracle)).abs()[where[0, 0]].max() < 4e-3


def test_warp_agrees_with_kornia():
    size = (96, 160)
    image = smooth_image(size, 8, channels=3).expand(4, -1, -1, -1)
    h = geometry.homography_from_displacement(displacements(4, size, 8, share=0.15), size).float()
    oracle = kornia.geometry.warp_perspective(image, h, size, align_corners=True)
    where = interior(geometry.invert(h), size, size).expand(-1, 3, -1, -1)
    torch.testing.assert_close(geometry.warp(image, h)[where], oracle[where], rtol=0, atol=2e-4)


def test_sample_by_whole_pixels_copies_them():
    image = torch.rand(1, 2, 40, 50)
    found = geometry.sample(image, geometry.translation(torch.tensor([[7.0, 5.0]])), (30, 40))
    torch.testing.assert_close(found, image[..., 5:35, 7:47], rtol=0, atol=1e-5)


def test_sample_pads_with_zeros_unless_told_otherwise():
    image = torch.ones(1, 1, 16, 16)
    far = geometry.translation(torch.tensor([[8.0, 0.0]]))
    assert geometry.sample(image, far)[..., 9:].abs().max() == 0
    assert geometry.sample(image, far, padding="border").min() == 1


def test_warp_pushes_a_source_point_to_where_the_homography_says():
    size = (64, 80)
    h = geometry.homography_from_displacement(displacements(5, size, 9, share=0.15), size)
    point = torch.tensor([[33.0, 28.0]], dtype=torch.float64)
    x, y = geometry.pixel_grid(size, dtype=torch.float64).T.reshape(2, *size)
    blob = torch.exp(-((x - point[0, 0]) ** 2 + (y - point[0, 1]) ** 2) / 8)[None, None].expand(5, -1, -1, -1)
    out = geometry.warp(blob, h)
    mass = out.sum(dim=(1, 2, 3))
    centre = torch.stack([(out[:, 0] * x).sum((1, 2)) / mass, (out[:, 0] * y).sum((1, 2)) / mass], -1)
    expected = geometry.transform_points(h, point)[:, 0]
    assert ((expected - point).norm(dim=-1) > 2).any()
    assert (centre - expected).norm(dim=-1).max() < 0.5


def test_warped_source_lies_on_the_target():
    size = (96, 96)
    target = smooth_image(size, 10)
    h = geometry.homography_from_displacement(displacements(1, size, 10, share=0.2), size).float()
    source = geometry.sample(target, h)  # what stands at H p in the target stands at p in the source
    where = interior(geometry.invert(h), size, size) & interior(h, size, size)
    assert (geometry.warp(source, h) - target)[where].abs().max() < 0.02
    assert (source - target)[where].abs().max() > 0.1
    # A self-pair whose label is H: S' = warp(S, H^-1), which H maps back onto S.
    made = geometry.warp(target, geometry.invert(h))
    torch.testing.assert_close(made, source, rtol=0, atol=1e-3)


def test_bf16_images_are_sampled_at_float32_coordinates():
    image = smooth_image((20, 300), 11).bfloat16()
    g = geometry.translation(torch.tensor([[129.4, 0.3]]))
    found = geometry.sample(image, g, (16, 128))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, geometry.sample(image.float(), g, (16, 128)).bfloat16())
    assert geometry.sampling_grid(g.bfloat16(), (16, 128), (20, 300)).dtype == torch.float32


def test_inside_marks_pixels_whose_origin_is_in_the_image():
    in_size, out_size = (50, 70), (40, 60)
    h = geometry.homography_from_displacement(displacements(4, out_size, 12), out_size)
    found = geometry.inside(h, out_size, in_size)
    assert found.shape == (4, 1, *out_size)
    points = geometry.transform_points(h, geometry.pixel_grid(out_size, dtype=torch.float64))
    edge = torch.tensor([in_size[1] - 1, in_size[0] - 1])
    expected = ((points >= -1e-4) & (points <= edge + 1e-4)).all(-1).reshape(found.shape)
    assert torch.equal(found.bool(), expected)
    assert 0 < found.mean() < 1
    assert geometry.inside(torch.eye(3)[None], in_size, in_size).min() == 1


# --- gradients and the hot path


def test_gradient_of_homography_from_displacement():
    moved = displacements(2, (20, 30), 13).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: geometry.homography_from_displacement(d, (20, 30)), moved)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_gradient_of_sample(padding):
    generator = torch.Generator().manual_seed(14)
    image = torch.rand(1, 2, 7, 8, dtype=torch.float64, generator=generator).requires_grad_()
    moved = (torch.rand(1, 4, 2, dtype=torch.float64, generator=generator) * 2 - 1).requires_grad_()

    def sampled(image, moved):
        return geometry.sample(image, geometry.homography_from_displacement(moved, (7, 8)), padding=padding)

    assert torch.autograd.gradcheck(sampled, (image, moved))


class Recorder(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))

    def solvers(self):
        return [n for n in self.names if any(w in n for w in ("solve", "linalg_inv", "inverse", "lu_", "linalg_lu"))]


def test_no_linear_solver_runs_forward_or_backward():
    moved = displacements(2, (16, 16), 15, dtype=torch.float32).requires_grad_()
    image = torch.rand(2, 1, 16, 16)
    with Recorder() as seen:
        h = geometry.homography_from_displacement(moved, (16, 16))
        out = geometry.warp(image, geometry.compose(geometry.rescale(h, ((16, 16), (24, 24))), geometry.invert(h)))
        (out.sum() + geometry.displacement_from_homography(h, (16, 16)).sum()).backward()
    assert len(seen.names) > 50
    assert not seen.solvers()
    with Recorder() as seen:
        torch.linalg.inv(torch.eye(3))
    assert seen.solvers()


def test_corner_error_is_the_mean_distance_of_the_corners():
    truth = torch.zeros(2, 4, 2)
    estimate = torch.zeros(2, 4, 2)
    estimate[1] = torch.tensor([[3.0, 4.0], [0, 0], [0, 1], [0, 0]])
    assert geometry.corner_error(estimate, truth).tolist() == [0.0, 1.5]


def test_pixels_on_the_horizon_of_a_folded_homography_have_finite_values_and_gradients():
    h = torch.eye(3).repeat(1, 1, 1)
    h[0, 2, 0] = -1 / 16  # the denominator is zero on the whole column x = 16
    h.requires_grad_()
    out = geometry.sample(torch.rand(1, 1, 32, 32), h, padding="border")
    (gradient,) = torch.autograd.grad(out.sum(), h)
    assert out.isfinite().all()
    assert gradient.isfinite().all()
    assert not geometry.transform_points(h, torch.tensor([[16.0, 3.0]])).isfinite().all()  # but a metric must see it
