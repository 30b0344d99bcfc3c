"""Copies that were encoded, resized, moved, cropped or toned are found; images of other scenes are not."""

import cv2
import numpy as np
import pytest

from regbench.data.duplicates.alike import alike, told
from regbench.data.packs.prepare import prepare
from tests.data.duplicates.test_exact import Pairs

SIZE = 128


def scene(seed):
    """A picture with edges at many scales, ``(SIZE, SIZE)`` uint8."""
    rng = np.random.default_rng(seed)
    total = np.zeros((SIZE, SIZE), np.float32)
    for blur in (1.5, 3, 6, 12):
        noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), blur)
        total += np.sign(noise) * blur**0.5
    total = cv2.GaussianBlur(total, (0, 0), 0.8)
    return ((total - total.min()) / np.ptp(total) * 255).astype(np.uint8)


def crop(image, top, bottom, left, right):
    part = image[round(top * SIZE) : round(bottom * SIZE), round(left * SIZE) : round(right * SIZE)]
    return cv2.resize(part, (SIZE, SIZE))


def encoded(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def smaller(image):
    return cv2.resize(cv2.resize(image, (50, 50), interpolation=cv2.INTER_AREA), (SIZE, SIZE))


CHANGES = {
    "encoded": lambda x: encoded(x, 30),
    "resized": smaller,
    "shifted": lambda x: crop(x, 0, 0.95, 0.05, 1),
    "cropped": lambda x: crop(x, 0.05, 0.95, 0.05, 0.95),
    "toned": lambda x: (x * 0.6 + 60).astype(np.uint8),
    "all": lambda x: encoded((crop(x, 0.02, 0.97, 0.03, 0.98) * 0.8 + 20).astype(np.uint8), 50),
}


class Large(Pairs):
    @property
    def size(self):
        return (SIZE, SIZE)

    def group(self, split, key):
        return key.partition(".")[0]


@pytest.fixture
def packed(tmp_path):
    def make(train, test, **attributes):
        pairs = {"train": {f"{i}": p for i, p in enumerate(train)}, "test": dict(test)}
        return prepare(Large(pairs, **attributes), "mine", "1", tmp_path / "p.h5")

    return make


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(packed, change, side):
    train = [(scene((i, 0)), scene((i, 1))) for i in range(12)]
    test = {f"t{i}": [scene((i, 2)), scene((i, 3))] for i in range(3)}
    test["t1"][side] = CHANGES[change](train[7][side])
    pack = packed(train, {key: tuple(pair) for key, pair in test.items()})
    assert pack.seen is None  # not the very same
    (found,) = alike(pack, "train", "test")
    assert (found.side, found.first, found.second) == ("ab"[side], 7, 1)
    (said,) = told(pack)["across"]
    assert (said["modality"], said["train"], said["test"]) == (("optical", "radar")[side], "7", "t1")


def test_other_scenes_are_not_accused(packed):
    train = [(scene((i, 0)), scene((i, 1))) for i in range(40)]
    test = {f"t{i}": (scene((i, 2)), scene((i, 3))) for i in range(20)}
    assert alike(packed(train, test), "train", "test") == []
    flat = np.full((SIZE, SIZE), 90, np.uint8)
    assert alike(packed([(flat, flat + 1)], {"t": (flat + 2, flat + 3)}), "train", "test") == []


def test_frames_of_one_scene_within_test(packed):
    """Frames of one group are known to belong together; those of two groups make intervals too narrow."""
    frames = {f"{name}.{i}": crop(scene(seed), 0, 0.95, 0.05 * i, 0.95 + 0.05 * i)
              for seed, name in enumerate("abc") for i in range(2)}  # fmt: skip
    train = [(scene((9, 9)), scene((9, 8)))]
    test = {key: (frame, scene((5, i))) for i, (key, frame) in enumerate(frames.items())}
    assert told(packed(train, test))["within"] == 0
    renamed = {f"{i}": pair for i, pair in enumerate(test.values())}
    assert told(packed(train, renamed))["within"] == 6


def test_the_embedded_set_has_none(tmp_path):
    from regbench.data.synthetic import Synthetic, SyntheticConfig

    pack = prepare(Synthetic(SyntheticConfig(train=12, test=6, size=128)), "synthetic", "1", tmp_path / "p.h5")
    assert pack.seen is None
    assert told(pack)["across"] == []
