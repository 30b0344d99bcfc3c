"""Stats of a pack: a badly aligned set is seen, a well aligned one is not accused."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from regbench import geometry
from regbench.data.stats import measure
from regbench.errors import UsageError


@pytest.fixture(scope="module")
def scenes():
    """Blobs ``(16, 96, 96)`` uint8."""
    noise = torch.randn(16, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(F.avg_pool2d(noise, 9, 1, 4), 9, 1, 4)
    return [image[0].numpy() for image in ((smooth > 0).float() * 150 + 40).byte()]


def inverted(images):
    return [255 - image for image in images]


def test_aligned_pairs_of_other_colours(make_pack, scenes):
    told = measure(make_pack(scenes, inverted(scenes)), "test")
    residual, gap = told["residual"], told["gap"]
    assert (residual["verdict"], residual["pairs"], residual["measured"]) == ("aligned", 16, 16)
    assert residual["largest"] < 0.1
    assert gap["edges"] > 0.98
    assert gap["grey"] > 0.98
    assert gap["information"] > 0.98


def test_a_shifted_set_is_seen(make_pack, scenes):
    moved = [np.roll(image, (-4, 3), (0, 1)) for image in inverted(scenes)]
    residual = measure(make_pack(scenes, moved), "test")["residual"]
    assert residual["verdict"] == "badly aligned"
    assert (residual["mean_x"], residual["mean_y"]) == (pytest.approx(3, abs=0.15), pytest.approx(-4, abs=0.15))
    assert residual["median"] == pytest.approx(5, abs=0.15)


def test_pairs_that_do_not_belong_together(make_pack, scenes):
    told = measure(make_pack(scenes, scenes[3:] + scenes[:3]), "test")
    assert told["residual"]["verdict"] == "not measurable"
    assert told["gap"]["edges"] < 0.4
    assert told["gap"]["information"] < 0.2


def test_labels_are_applied_first(make_pack, scenes):
    moved = torch.randint(-10, 11, (16, 4, 2), generator=torch.Generator().manual_seed(1)).double()
    h = geometry.homography_from_displacement(moved, (96, 96))
    a = torch.from_numpy(np.stack(scenes))[:, None].float()
    b = [image[0].numpy() for image in geometry.warp(a, h.float()).round().byte()]
    right = measure(make_pack(scenes, b, list(h.numpy())), "test")["residual"]
    assert right["verdict"] == "aligned"
    assert right["median"] < 0.2
    wrong = measure(make_pack(scenes, b, list(geometry.invert(h).numpy())), "test")["residual"]
    assert wrong["verdict"] != "aligned"


def test_unaligned_pairs_without_labels_have_no_residual(make_pack, scenes):
    told = measure(make_pack(scenes, scenes, [None] * 16), "test")
    assert told["residual"] is None
    assert told["gap"]["edges"] == pytest.approx(1, abs=1e-3)


def test_few_pairs_and_none(make_pack, scenes):
    assert measure(make_pack(scenes[:1], scenes[:1]), "test")["residual"]["pairs"] == 1
    assert measure(make_pack(scenes, scenes), "test", most=5)["residual"]["pairs"] == 5
    empty = dataclasses.replace(make_pack(scenes, scenes), counts={"train": 0, "test": 16})
    with pytest.raises(UsageError, match="no train pairs"):
        measure(empty, "train")
