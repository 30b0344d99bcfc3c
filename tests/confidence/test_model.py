"""What a confidence must and must not depend on."""

import itertools
import time

import cv2
import numpy as np
import pytest

from regbench.api.types import Matches
from regbench.confidence.calibration import MODEL
from regbench.confidence.features import GROUPS, IMAGES, measure
from regbench.confidence.fitting import NAMES
from regbench.confidence.logistic import known_of
from regbench.confidence.model import assess
from tests.confidence.scenes import SIZE, embedded, homography, shifted, unaligned

DIAGONAL = np.hypot(SIZE, SIZE)
MODALITIES = ("nir", "thermal", "sar", "map", "depth")


def matched(truth, count=60, wrong=0, noise=0.5, seed=0):
    """Matches along a homography, some of them anywhere."""
    rng = np.random.default_rng(seed)
    source = rng.uniform(10, SIZE - 10, (count + wrong, 2))
    target = cv2.perspectiveTransform(source[None], truth)[0] + noise * rng.standard_normal(source.shape)
    target[count:] = rng.uniform(0, SIZE, (wrong, 2))
    return Matches(source, target, np.arange(count + wrong) < count)


@pytest.mark.parametrize("b", MODALITIES)
def test_the_truth_is_trusted_and_wrong_answers_are_not(b):
    source, target, truth = unaligned(b)
    assert assess(source, target, truth).value > 0.5
    for angle in np.arange(0, 2 * np.pi, np.pi / 3):
        off = 0.12 * DIAGONAL
        wrong = shifted(truth, off * np.cos(angle), off * np.sin(angle))
        assert assess(source, target, wrong).value < 0.5
        # A network that always answers the same goes there and back.
        assert assess(source, target, wrong, reverse=np.linalg.inv(wrong)).value < 0.5


@pytest.mark.parametrize("b", MODALITIES)
def test_unrelated_images_are_not_trusted(b):
    source, _, truth = unaligned(b)
    _, target, other = unaligned(b, seed=11)
    for answer in (truth, other, np.eye(3), homography(np.random.default_rng(0).uniform(-30, 30, (4, 2)))):
        assert assess(source, target, answer).value < 0.5
        assert assess(source, target, answer, reverse=np.linalg.inv(answer), other=answer).value < 0.5


def test_more_error_never_gains_much():
    """Along a line of growing errors confidence falls from high to low."""
    source, target, truth = unaligned("nir")
    steps = [assess(source, target, shifted(truth, s * DIAGONAL, 0)).value for s in (0, 0.005, 0.05, 0.1)]
    assert steps[0] > 0.8
    assert steps[1] > 0.5
    assert max(steps[2:]) < 0.3


@pytest.mark.parametrize("flat", ["source", "target", "both", "nearly"])
def test_flat_images_have_none(flat):
    source, target, truth = unaligned("nir")
    grey = np.full((SIZE, SIZE), 0.4, np.float32)
    if flat == "nearly":
        target = grey + 0.002 * np.random.default_rng(0).standard_normal(grey.shape).astype(np.float32)
    else:
        source = grey if flat in ("source", "both") else source
        target = grey if flat in ("target", "both") else target
    found = assess(source, target, truth, reverse=np.linalg.inv(truth), other=truth, matches=matched(truth))
    assert found.value == 0
    assert found.parts == {"flat": 1.0}


def test_noise_is_not_trusted():
    rng = np.random.default_rng(0)
    source, target = (rng.random((SIZE, SIZE), np.float32) for _ in range(2))
    assert assess(source, target, np.eye(3), reverse=np.eye(3), other=np.eye(3)).value < 0.5


@pytest.mark.parametrize(
    "answer",
    [
        None,
        np.full((3, 3), np.nan),
        np.zeros((3, 3)),
        np.diag([-1.0, 1, 1]),
        np.diag([1e-3, 1e-3, 1]),
        shifted(np.eye(3), 3 * SIZE, 0),
        homography([[0, 0], [0, 0], [-SIZE, -SIZE + 20], [0, 0]]),
        np.array([[1.0, 0, 0], [0, 1, 0], [-2 / SIZE, 0, 1]]),
    ],
    ids=["none", "nan", "zero", "mirrored", "a point", "out of sight", "folded", "beyond the horizon"],
)
def test_implausible_answers_have_none(answer):
    source, target, _ = unaligned("nir")
    found = assess(source, target, answer)
    assert found.value == 0
    assert set(found.parts) <= {"no answer", "implausible"}


@pytest.mark.parametrize("b", ["nir", "sar"])
def test_contrast_does_not_matter(b):
    """Neither its sign nor its strength, on either side: the features of edges and information are the same."""
    source, target, truth = unaligned(b)
    plain, _ = measure(source, target, truth)
    for changed in (measure(source, 1 - target, truth), measure(0.3 + 0.4 * source, target, truth)):
        assert changed[0] == pytest.approx(plain, abs=0.1)


def test_resolution_hardly_matters():
    """The same scene at six times the size, either side, and the homography in its pixels."""
    source, target, truth = unaligned("nir")
    large = cv2.resize(target, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    onto = np.array([[6.0, 0, 2.5], [0, 6, 2.5], [0, 0, 1]])
    assert assess(source, large, onto @ truth).value > 0.5
    assert assess(large, source, np.linalg.inv(onto @ truth)).value > 0.5
    assert assess(source, large, shifted(onto @ truth, 0.12 * 6 * DIAGONAL, 0)).value < 0.5


def test_colour_is_averaged():
    source, target, truth = unaligned("nir")
    grey = target if target.ndim == 2 else target.mean(axis=2)
    assert assess(source, np.repeat(grey[..., None], 3, axis=2), truth).value == pytest.approx(
        assess(source, grey, truth).value, abs=1e-3
    )


def test_a_frame_in_common_is_no_evidence():
    """Black frames lie on each other under the identity, which is the answer of a network that learned nothing."""
    source, target, truth = unaligned("thermal")
    target, truth = np.roll(target, 45, axis=1), shifted(truth, 45, 0)  # the identity is off by 12 % of the diagonal
    framed = []
    for image in (source, target):
        image = image.copy()
        image[:30], image[-20:], image[:, :25], image[:, -40:] = 0, 0, 0, 0
        framed.append(image)
    assert assess(*framed, np.eye(3), reverse=np.eye(3)).value < 0.5
    missing = [np.where(image == 0, np.nan, image).astype(np.float32) for image in framed]
    assert np.isfinite(assess(*missing, truth).value)
    assert assess(*missing, np.eye(3), reverse=np.eye(3)).value < 0.5


def test_further_evidence_counts_both_ways():
    source, target, truth = unaligned("sar")
    off = shifted(truth, 0.3 * DIAGONAL, 0)
    for group, good, bad in (("reverse", np.linalg.inv(truth), np.linalg.inv(off)), ("other", truth, off)):
        trusted, doubted = (assess(source, target, truth, **{group: value}).value for value in (good, bad))
        assert trusted >= doubted
    many, few = matched(truth, 80, 20), matched(truth, 5, 95)
    assert assess(source, target, truth, matches=many).value > assess(source, target, truth, matches=few).value


def test_no_evidence_lowers_a_confidence():
    assert set(MODEL.terms) <= set(NAMES)
    assert set(MODEL.offsets) == set(GROUPS)
    assert all(weight > 0 and low < high for weight, low, high in MODEL.terms.values())
    for names in (IMAGES, *GROUPS.values()):
        assert set(MODEL.terms) & set(names)


def test_every_combination_answers():
    source, target, truth = unaligned("nir")
    given = {"matches": matched(truth), "reverse": np.linalg.inv(truth), "other": shifted(truth, 1, 0)}
    for known in itertools.chain.from_iterable(itertools.combinations(given, n) for n in range(4)):
        found = assess(source, target, truth, **{name: given[name] for name in known})
        assert found.value > 0.5
        assert set(found.parts) >= {*IMAGES, *(name for group in known for name in GROUPS[group])}
        assert known_of(found.parts) == known


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (8, 8), (23, 23)])
def test_tiny_images_do_not_crash(size):
    image = np.random.default_rng(0).random(size, np.float32)
    assert assess(image, image, np.eye(3)).value == 0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"source must be \(H, W\)"):
        assess(np.zeros((1, 3, 8, 8), np.float32), np.zeros((8, 8), np.float32), np.eye(3))


def test_it_takes_a_third_of_a_second_at_512_px():
    """CPU time of one core."""
    source, target = (cv2.resize(image, (512, 512)) for image in embedded("sar"))
    extra = {"matches": matched(np.eye(3), 500), "reverse": np.eye(3), "other": np.eye(3)}
    taken = []
    for _ in range(3):
        start = time.process_time()
        assess(source, target, np.eye(3), **extra)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.3
