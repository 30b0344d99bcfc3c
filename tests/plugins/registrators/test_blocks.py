"""Blocks the registrators share, each against a naive form."""

import cv2
import numpy as np
import pytest
import torch

from regbench import geometry
from regbench.ops.fast import AllPairs as FastAllPairs
from regbench.ops.fast.near_pairs import REACH, Boxes
from regbench_registrators.blocks.all_pairs import AllPairs, all_pairs
from regbench_registrators.blocks.composition import in_sequence
from regbench_registrators.blocks.decoder import HalvingDecoder, ProjectingDecoder, poolings
from regbench_registrators.blocks.encoder import ResidualEncoder
from regbench_registrators.blocks.flow import flow_of, warp_by_flow
from regbench_registrators.blocks.local_attention import global_attention, local_attention


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def displacements(batch, size, seed=0):
    return (torch.rand(batch, 4, 2, generator=torch.Generator().manual_seed(seed)) - 0.5) * size / 2


# --- all-pairs correlation


def bilinear(image, x, y):
    """image[y, x] between pixels, zero outside; float64, one point."""
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for yi, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for xi, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if 0 <= yi < image.shape[0] and 0 <= xi < image.shape[1]:
                total += wy * wx * image[yi, xi]
    return total


@pytest.mark.parametrize("lookup", [AllPairs, FastAllPairs])
def test_lookup_equals_a_loop_over_every_pixel_and_offset(lookup):
    side, radius = 6, 2
    source, target = random(1, 3, side, side), random(1, 3, side, side, seed=1)
    flow = 3 * random(1, 2, side, side, seed=2)
    found = lookup(source, target, radius)(flow)
    assert found.shape == (1, 2 * 25, side, side)
    for py in range(side):
        for px in range(side):
            volume = torch.einsum("c,chw->hw", source[0, :, py, px], target[0]).clamp(min=0).double().numpy()
            pooled = volume.reshape(side // 2, 2, side // 2, 2).mean((1, 3))
            x, y = px + float(flow[0, 0, py, px]), py + float(flow[0, 1, py, px])
            expected = [
                bilinear(level, x / shrink + i - radius, y / shrink + j - radius)
                for level, shrink in ((volume, 1), (pooled, 2))
                for i in range(5)  # the first index moves x
                for j in range(5)
            ]
            assert found[0, :, py, px].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shift", [(2, -1), (-3, 2)])
def test_lookup_knows_the_direction_of_a_shift(shift):
    side, radius = 16, 4
    source = torch.nn.functional.normalize(random(1, 32, side, side), dim=1)
    target = source.roll((shift[1], shift[0]), (2, 3))  # target(p + shift) = source(p)
    pairs = all_pairs(source, target, radius)
    inner = (slice(None), slice(None), slice(5, 11), slice(5, 11))
    still = pairs(torch.zeros(1, 2, side, side))[:, :81][inner]
    assert (still.argmax(1) == (shift[0] + radius) * 9 + shift[1] + radius).all()
    led = pairs(torch.tensor(shift).float().reshape(1, 2, 1, 1).expand(1, 2, side, side))[:, :81][inner]
    assert (led.argmax(1) == 40).all()
    torch.testing.assert_close(led.amax(1), torch.ones(1, 6, 6))


@pytest.mark.parametrize("lookup", [AllPairs, FastAllPairs])
def test_lookup_passes_gradients_to_maps_and_coordinates(lookup):
    source, target, flow = random(2, 4, 8, 8), random(2, 4, 8, 8, seed=1), random(2, 2, 8, 8, seed=2)
    for x in (source, target, flow):
        x.requires_grad_()
    lookup(source, target, 2)(flow).square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in (source, target, flow))


def lookups(flows, near, side=64, radius=4):
    """Windows along flows, and the gradients of maps and flows, from part of the volume or from all of it."""
    maps = [random(2, 3, side, side, seed=seed).double().requires_grad_() for seed in (0, 1)]
    flows = [flow.clone().requires_grad_() for flow in flows]
    pairs = (FastAllPairs if near else AllPairs)(*(x.float() for x in maps), radius)
    assert not near or pairs.boxes is not None
    found = torch.stack([pairs(flow) for flow in flows])
    weight = random(*found.shape, seed=2)
    grads = torch.autograd.grad((found * weight).sum(), [*maps, *flows])
    return pairs, (found.detach(), *(g.float() for g in grads))


def test_what_lies_near_is_the_same_part_of_all_pairs():
    """Flows up to the reach, in the middle and at the borders; between pixels, where the gradient is one thing."""
    generator = torch.Generator().manual_seed(3)
    uniform = 2 * torch.rand(2, 2, 64, 64, generator=generator) - 1
    flows = [uniform, REACH * uniform, *(torch.full((2, 2, 64, 64), f) for f in (0.3, REACH - 0.3, 0.3 - REACH))]
    (near, part), (_, whole) = (lookups(flows, near) for near in (True, False))
    assert near.boxes is not None
    for found, expected in zip(part, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("value", [REACH + 0.1, -30.0, float("nan")])
def test_a_flow_beyond_the_reach_sees_all_pairs(value):
    far = torch.full((2, 2, 64, 64), 0.3)
    far[1, 0, 10, 20] = value
    (near, part), (_, whole) = (lookups([far.new_full(far.shape, 0.3), far], near) for near in (True, False))
    assert near.boxes is None
    torch.testing.assert_close(part[0].nan_to_num(), whole[0].nan_to_num(), rtol=0, atol=1e-4)
    if value == value:
        for found, expected in zip(part, whole, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_small_maps_and_maps_not_of_tiles_are_correlated_whole():
    assert Boxes.of_maps((64, 64), 4) is not None
    assert Boxes.of_maps((32, 32), 4) is None
    assert Boxes.of_maps((68, 64), 4) is None


# --- flow


def test_flow_moves_the_grid_as_opencv_does():
    displacement, stride, size = displacements(2, 64), 4, (16, 16)
    found = flow_of(displacement, stride, size)
    grid = geometry.pixel_grid(size).numpy()
    corners = geometry.corners(size).numpy()
    for i in range(2):
        h = cv2.getPerspectiveTransform(corners, corners + displacement[i].numpy() / stride)
        expected = cv2.perspectiveTransform(grid[None].astype(np.float64), h)[0] - grid
        np.testing.assert_allclose(found[i].flatten(1).mT.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("shift", [(3, 0), (0, -5), (-2, 4)])
def test_warp_by_a_constant_flow_reads_that_far_away(shift):
    image = random(1, 3, 32, 32)
    flow = torch.tensor(shift).float().reshape(1, 2, 1, 1).expand(1, 2, 8, 8) / 4
    found = warp_by_flow(image, flow)
    h = geometry.translation(torch.tensor([shift]).float())
    torch.testing.assert_close(found, geometry.sample(image, h), atol=1e-4, rtol=0)


def test_warp_drops_what_mixes_with_the_outside():
    image = torch.ones(1, 1, 8, 8)
    inside = [float(warp_by_flow(image, torch.full((1, 2, 8, 8), shift))[0, 0, 4, 7]) for shift in (0.0, 0.0005, 0.01)]
    assert inside == pytest.approx([1, 0.9995, 0], abs=1e-5)


def test_warp_enlarges_the_flow_corner_on_corner():
    flow = 0.2 * random(1, 2, 4, 4)
    ramp = geometry.pixel_grid((16, 16)).mT.reshape(1, 2, 16, 16)  # its value is its place
    moved = warp_by_flow(ramp, flow) - ramp
    for y, x in ((4, 5), (8, 11), (7, 6)):
        expected = [4 * bilinear(flow[0, i].double().numpy(), x * 3 / 15, y * 3 / 15) for i in range(2)]
        assert moved[0, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


# --- attention


def attend(query, key, value, radius):
    """Every pixel by itself; what lies outside has logit 0 and value 0."""
    c, h, w = query.shape
    out = torch.zeros(c, h, w)
    for y in range(h):
        for x in range(w):
            keys, values = [], []
            for v in range(y - radius, y + radius + 1):
                for u in range(x - radius, x + radius + 1):
                    inside = 0 <= v < h and 0 <= u < w
                    keys.append(key[:, v, u] if inside else torch.zeros(c))
                    values.append(value[:, v, u] if inside else torch.zeros(c))
            weight = (torch.stack(keys) @ query[:, y, x] / c**0.5).softmax(0)
            out[:, y, x] = weight @ torch.stack(values)
    return out


@pytest.mark.parametrize(("size", "radius"), [((8, 8), 1), ((16, 16), 2), ((9, 12), 4), ((4, 4), 1)])
def test_local_attention_equals_a_loop_over_pixels(size, radius):
    query, key, value = (2 * random(1, 5, *size, seed=s) for s in range(3))
    found = local_attention(query, key, value, radius)
    torch.testing.assert_close(found[0], attend(query[0], key[0], value[0], radius), atol=1e-5, rtol=1e-5)


def test_local_attention_has_the_gradients_of_the_loop():
    grads = []
    for form in (lambda q, k, v: local_attention(q, k, v, 1)[0], lambda q, k, v: attend(q[0], k[0], v[0], 1)):
        inputs = [random(1, 3, 8, 8, seed=s).requires_grad_() for s in range(3)]
        (form(*inputs) * random(3, 8, 8, seed=9)).sum().backward()
        grads.append([x.grad for x in inputs])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_global_attention_is_softmax_over_all_positions():
    query, key, value = (random(2, 5, 4, 6, seed=s) for s in range(3))
    weight = torch.einsum("bcp,bcq->bpq", query.flatten(2), key.flatten(2)).div(5**0.5).softmax(-1)
    expected = torch.einsum("bpq,bcq->bcp", weight, value.flatten(2)).reshape(query.shape)
    torch.testing.assert_close(global_attention(query, key, value), expected, atol=1e-5, rtol=1e-5)


# --- encoder and decoders


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(("stem_stride", "levels"), [(1, (1, 2, 4)), (1, (2, 4)), (2, (2, 4, 8))])
def test_encoder_gives_what_is_asked_for_at_its_stride(pool, stem_stride, levels):
    widths = dict(zip(levels, (4, 6, 8), strict=False))
    net = ResidualEncoder(stem=4, kernel=7, stem_stride=stem_stride, levels=widths, heads=levels[-2:], dim=5, pool=pool)
    image = torch.rand(2, 3, 32, 32)
    found = net(image)
    assert {s: tuple(f.shape) for s, f in found.items()} == {s: (2, 5, 32 // s, 32 // s) for s in levels[-2:]}
    fine = net(image, levels[-2:-1])
    assert list(fine) == [levels[-2]]
    torch.testing.assert_close(fine[levels[-2]], found[levels[-2]])


def test_decoders_end_at_the_four_corners():
    x = torch.rand(3, 10, 16, 16)
    for decoder in (HalvingDecoder(10, 16, 3), ProjectingDecoder(10, 16, 3, groups=2, before=2)):
        assert decoder(x).shape == (3, 4, 2)


def test_depth_follows_the_patch():
    assert poolings("X", 128, (4, 2)) == [4, 5]
    assert poolings("X", 64, (8, 4)) == [2, 3]
    for patch in (96, 8, 120):
        with pytest.raises(ValueError, match=f"X with strides .4, 2. needs .* at least 16 px; got {patch}"):
            poolings("X", patch, (4, 2))


# --- sequences


def test_composed_displacements_multiply_the_homographies():
    size = (64, 64)
    first, second = displacements(3, 30).double(), displacements(3, 30, seed=1).double()
    found = in_sequence(first, second, size, "compose")
    corners = geometry.corners(size).double()
    once = geometry.transform_points(geometry.homography_from_displacement(first, size), corners)
    twice = geometry.transform_points(geometry.homography_from_displacement(second, size), once)
    torch.testing.assert_close(found, twice - corners)
    assert (in_sequence(first, second, size, "add") - found).norm(dim=-1).max() > 1


def test_composing_two_shifts_adds_them():
    a, b = (torch.tensor(v).expand(1, 4, 2) for v in ([3.0, 1.0], [-5.0, 2.0]))
    for composition in ("add", "compose"):
        torch.testing.assert_close(in_sequence(a, b, (64, 64), composition), a + b)
