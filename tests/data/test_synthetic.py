"""The embedded data set: reproducible, aligned, structured, and as hard as its knob says."""

import hashlib
import itertools
import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from regbench.api.dataset import PairImages
from regbench.data.modality_stats import SCALES, measure_modalities
from regbench.data.synthetic import MODALITIES, RENDERING, Synthetic, SyntheticConfig, fitted
from regbench.errors import DataError

COLOUR = ("optical", "map")
PAIRS = 40


def make(**settings):
    return Synthetic(SyntheticConfig(**settings))


def grey(image):
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def smooth(image, sigma=1.5):
    return cv2.GaussianBlur(grey(image).astype(np.float32) / 255, (0, 0), sigma)


def gradients(image, sigma=1.5):
    image = smooth(image, sigma)
    return cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=0.125)


@pytest.fixture(scope="module")
def default_pairs():
    data = make()
    return [data.read("test", key) for key in data.keys("test")[:PAIRS]]


# --- reproducible ------------------------------------------------------------------------------------------


def test_the_same_settings_give_the_same_bytes():
    for split in ("train", "test"):
        one, two = (make(size=96).read(split, f"{split}-00003") for _ in range(2))
        assert np.array_equal(one.a, two.a)
        assert np.array_equal(one.b, two.b)


def test_order_and_number_of_reads_do_not_matter():
    fresh = make(size=96, train=10).read("train", "train-00007")
    used = make(size=96, train=500)
    for key in ("train-00001", "train-00499"):
        used.read("train", key)
    assert np.array_equal(fresh.b, used.read("train", "train-00007").b)


def test_another_seed_split_or_index_is_another_scene():
    reads = [
        make(size=192, seed=seed).read(split, f"{split}-{index:05d}").a
        for seed, split, index in itertools.product((0, 1), ("train", "test"), (0, 1))
    ]
    for one, two in itertools.combinations(reads, 2):
        assert abs(np.corrcoef(smooth(one).ravel(), smooth(two).ravel())[0, 1]) < 0.3


def test_changing_b_leaves_a_alone():
    views = [make(size=96, b=b).read("train", "train-00000").a for b in MODALITIES]
    assert all(np.array_equal(view, views[0]) for view in views)


def test_the_global_random_state_is_neither_used_nor_touched():
    np.random.seed(1)
    before = make(size=96).read("train", "train-00000").b
    state = np.random.get_state()[1].copy()
    np.random.seed(2)
    assert np.array_equal(make(size=96).read("train", "train-00000").b, before)
    np.random.seed(1)
    assert np.array_equal(np.random.get_state()[1], state)


# --- the contract ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), list(itertools.product(MODALITIES, MODALITIES)))
def test_shapes_and_types(a, b):
    data = make(a=a, b=b, size=64)
    pair = data.read("test", "test-00000")
    assert isinstance(pair, PairImages)
    assert data.modalities == (a, b)
    assert data.size == (64, 64)
    assert pair.homography is None
    for name, image in zip((a, b), pair[:2], strict=True):
        assert image.dtype == np.uint8
        assert image.shape == ((64, 64, 3) if name in COLOUR else (64, 64))
        assert image.flags.c_contiguous
        assert np.ptp(grey(image)) > 60


def test_keys_are_stable_and_disjoint():
    data = make(train=3, test=2)
    assert list(data.keys("train")) == ["train-00000", "train-00001", "train-00002"]
    assert list(data.keys("test")) == ["test-00000", "test-00001"]
    assert len(make().keys("train")) == 256
    assert len(make().keys("test")) == 64


@pytest.mark.parametrize(
    ("split", "key"),
    [
        ("train", "train-00003"),
        ("train", "test-00000"),
        ("train", "train-0"),
        ("train", "train-"),
        ("train", "train--0001"),
        ("test", "x"),
        ("train", "train-٠٠٠٠٠"),
    ],
)
def test_an_unknown_key_is_named(split, key):
    with pytest.raises(DataError, match=r"no pair .* keys are") as caught:
        make(train=3, test=3).read(split, key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"gap": -0.01},
        {"gap": 1.01},
        {"gap": float("nan")},
        {"a": "lidar"},
        {"b": ""},
        {"size": 63},
        {"size": 4096},
        {"train": 0},
        {"test": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"colour": "red"},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValidationError) as caught:
        SyntheticConfig(**bad)
    (error,) = caught.value.errors()
    assert error["loc"] == tuple(bad)


@settings(max_examples=15, deadline=None)
@given(
    gap=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(64, 130),
    a=st.sampled_from(MODALITIES),
    b=st.sampled_from(MODALITIES),
    index=st.integers(0, 99998),
)
def test_any_valid_settings_render(gap, seed, size, a, b, index):
    data = make(gap=gap, seed=seed, size=size, a=a, b=b, train=99999)
    pair = data.read("train", f"train-{index:05d}")
    for image in pair[:2]:
        assert image.shape[:2] == (size, size)
        assert image.std() > 3


# --- aligned -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", MODALITIES[1:])
def test_modalities_are_aligned_to_the_pixel(modality):
    """Edges coincide, whatever their sign: no shift within 6 px correlates orientation better than none."""
    reach, total = 6, 0
    data = make(b=modality, gap=1.0)
    for key in data.keys("test")[:6]:
        pair = data.read("test", key)
        (ax, ay), (bx, by) = gradients(pair.a), gradients(pair.b)
        # Doubled angle: an edge and its reversal are one orientation.
        one = np.stack([ax * ax - ay * ay, 2 * ax * ay]) / (ax * ax + ay * ay + 1e-5)
        two = np.stack([bx * bx - by * by, 2 * bx * by]) / (bx * bx + by * by + 1e-5)
        core = two[:, reach:-reach, reach:-reach]
        side = one.shape[1] - 2 * reach
        total = total + np.array(
            [
                [(one[:, y : y + side, x : x + side] * core).mean() for x in range(2 * reach + 1)]
                for y in range(2 * reach + 1)
            ]
        )
    assert np.unravel_index(total.argmax(), total.shape) == (reach, reach)
    assert total.max() > 1.5 * np.median(total)


# --- the gap -----------------------------------------------------------------------------------------------


def test_the_gap_knob_is_monotone():
    def correlation(gap):
        data = make(gap=gap)
        pairs = [data.read("test", key) for key in data.keys("test")[:4]]
        return np.mean([np.corrcoef(smooth(a).ravel(), smooth(b).ravel())[0, 1] for a, b, *_ in pairs])

    values = [correlation(gap) for gap in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.97
    assert values[-1] < 0.35


def share_of_reversed_edges(pairs):
    """Of the edges clear in both modalities, the share that disagree in sign."""
    reversed_, clear = 0, 0
    for a, b, *_ in pairs[:12]:
        (ax, ay), (bx, by) = gradients(a, 2.0), gradients(b, 2.0)
        one, two = np.hypot(ax, ay), np.hypot(bx, by)
        strong = (one > np.quantile(one, 0.8)) & (two > np.quantile(two, 0.8))
        reversed_ += int((ax * bx + ay * by < 0)[strong].sum())
        clear += int(strong.sum())
    return reversed_ / clear


def test_the_gap_reverses_contrast(default_pairs):
    """No monotone curve explains a pair: of its clear edges, a quarter and more are reversed."""
    assert 0.25 < share_of_reversed_edges(default_pairs) < 0.75


def sift_homography(source, target):
    """What SIFT, the ratio test and MAGSAC make of two patches; None where they give up."""
    sift = cv2.SIFT_create()
    (kp1, d1), (kp2, d2) = (sift.detectAndCompute(image, None) for image in (source, target))
    if d1 is None or d2 is None or len(kp2) < 2:
        return None
    matches = cv2.BFMatcher().knnMatch(d1, d2, k=2)
    good = [m for m, n in matches if m.distance < 0.8 * n.distance]
    if len(good) < 4:
        return None
    one = np.float32([kp1[m.queryIdx].pt for m in good])
    two = np.float32([kp2[m.trainIdx].pt for m in good])
    return cv2.findHomography(one, two, cv2.USAC_MAGSAC, 3)[0]


def sift_failures(pairs, patch=128, rho=32):
    """Share of pairs that SIFT leaves with no homography, or at more than half of identity's error."""
    rng = np.random.default_rng(0)
    last = patch - 1
    corners = np.float32([[0, 0], [last, 0], [0, last], [last, last]])
    failed = 0
    for pair in pairs:
        x, y = rng.integers(rho, pair.a.shape[0] - patch - rho + 1, 2)
        moved = rng.uniform(-rho, rho, (4, 2)).astype(np.float32)
        pick = cv2.getPerspectiveTransform(corners, corners + moved + np.float32([x, y]))
        source = cv2.warpPerspective(grey(pair.a), pick, (patch, patch), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)
        found = sift_homography(source, grey(pair.b)[y : y + patch, x : x + patch])
        identity = np.linalg.norm(moved, axis=1).mean()
        if found is None:
            failed += 1
            continue
        error = np.linalg.norm(cv2.perspectiveTransform(corners[None], found)[0] - corners - moved, axis=1).mean()
        failed += not error <= 0.5 * identity
    return failed / len(pairs)


def test_sift_fails_on_the_default_pair_and_not_without_a_gap(default_pairs):
    easy = make(gap=0.0)
    assert sift_failures([easy.read("test", key) for key in easy.keys("test")[:12]]) <= 0.1
    assert sift_failures(default_pairs) >= 0.5


# --- like real pairs ---------------------------------------------------------------------------------------

# How far a statistic may be off: shares and grey values by a difference, the others by a ratio.
OFF = {"grey": 0.1, "mim": 0.08, "mim_reduced": 0.09, "edges": 0.08, "mean": 0.05, "contrast": 0.025, "slope": 0.35}
RATIO = {"noise": 2.0, "patchiness": 1.7}
RATIO_OF_SAR = {"noise": 1.2, "speckle": 1.25, "patchiness": 1.4}


def statistics(data, side, count=16):
    pairs = [data.read("train", key) for key in data.keys("train")[:count]]
    a, b = (
        torch.from_numpy(np.stack([image if image.ndim == 2 else image.mean(2) for image in images]))[:, None] / 255
        for images in zip(*(pair[:2] for pair in pairs), strict=True)
    )
    at64, reduced = measure_modalities([(a.float(), b.float(), torch.ones_like(a))], scales=SCALES[:2])
    return at64["shared"] | at64[side] | {"mim_reduced": reduced["shared"]["mim"]}


@pytest.mark.parametrize("kind", MODALITIES)
def test_each_pair_has_the_statistics_of_its_real_counterpart(kind):
    """On scenes it was not fitted on."""
    found = statistics(make(b="nir" if kind == "optical" else kind, size=128), "a" if kind == "optical" else "b")
    real = fitted.REAL[kind]
    ratios = RATIO_OF_SAR if kind == "sar" else RATIO
    for name in OFF.keys() & real.keys():
        assert found[name] == pytest.approx(real[name], abs=OFF[name]), name
    for name, ratio in ratios.items():
        assert 1 / ratio < found[name] / real[name] < ratio, name


def test_constants_of_a_rendering_are_frozen():
    """Whoever changes one must raise RENDERING, which keeps old packs and results apart from new ones."""
    names = [name for name in vars(fitted) if name.isupper() and name != "REAL"]
    told = json.dumps({name: getattr(fitted, name) for name in sorted(names)}, sort_keys=True)
    assert (RENDERING, hashlib.sha256(told.encode()).hexdigest()[:16]) == (2, "b8b4d69a09aa6c68")


def test_a_pack_names_its_rendering():
    assert SyntheticConfig().model_dump()["rendering"] == RENDERING
    with pytest.raises(ValidationError):
        SyntheticConfig(rendering=1)


# --- structure ---------------------------------------------------------------------------------------------


def test_nearly_every_window_holds_structure_in_both_modalities(default_pairs):
    """Edges in two directions (the structure tensor's weaker eigenvalue) once a blur removes speckle."""
    for side in (0, 1):
        good, windows = 0, 0
        for pair in default_pairs[:24]:
            dx, dy = gradients(pair[side], 2.5)
            for y, x in itertools.product(range(0, 193, 32), repeat=2):
                gx, gy = dx[y : y + 64, x : x + 64], dy[y : y + 64, x : x + 64]
                xx, yy, xy = (gx * gx).mean(), (gy * gy).mean(), (gx * gy).mean()
                weakest = 0.5 * (xx + yy - np.hypot(xx - yy, 2 * xy))
                # Speckle alone leaves 4e-6 after this blur.
                good += weakest > 5e-5
                windows += 1
        assert good / windows >= 0.95
