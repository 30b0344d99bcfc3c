"""The hash of the test pairs stands for every pixel that is judged: also for the code that cuts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from regbench.data import manifest as manifests
from regbench.data.manifest import test_manifest as manifest_of
from regbench.data.pairs import CUTTING
from regbench.data.protocol import Protocol
from regbench.data.test_pairs import TestPairs

PROTOCOL = Protocol(patch=64, rho=8)
GOLDEN = {
    1: {
        "made": (758.39, 734.63, 340.92, 860.78, 443.14, 145.1, 443.14, 145.1),
        "distorted": (509.78, 429.55, 333.52, 128.21, 462.06, 179.18, 462.06, 179.18),
        "given": (498.04, 341.18, 384.31, 870.59, 145.1, 176.47, 145.1, 176.47),
    }
}
"""By version of the cutting code: what :func:`cut` gives."""


@pytest.fixture(scope="module")
def waves(make_pack):
    """Packs of images by a formula, which no library draws another way tomorrow."""
    y, x = np.mgrid[:96, :112]
    a = [np.stack([128 + 100 * np.sin((x * (c + 2) + y * (i + 1)) / 9) for c in range(3)], -1) for i in range(4)]
    b = [128 + 100 * np.cos((x * 2 - y * (i + 2)) / 7) for i in range(4)]
    sides = [[image.round().astype(np.uint8) for image in side] for side in (a, b)]
    made = make_pack(*sides)
    shift = np.array([[1, 0, 5.0], [0, 1, -3.0], [0, 0, 1]])
    return {"made": made, "distorted": replace(made, distortion="pds"), "given": make_pack(*sides, [shift] * 4)}


def cut(pack) -> list[float]:
    """Pixels (13, 17) and (50, 40) of source and target of pair 3, red and blue, in 1/1000."""
    protocol = PROTOCOL if pack.aligned else PROTOCOL.model_copy(update={"pairing": "given"})
    images = TestPairs(pack, manifest_of(pack, protocol), protocol).images(3, 4)
    places = torch.stack([image[0, channel, y, x] for image in images for channel in (0, 2) for y, x in PLACES])
    return [round(value, 2) for value in (1000 * places.double()).tolist()]


PLACES = ((13, 17), (50, 40))


@pytest.mark.parametrize("kind", ["made", "distorted", "given"])
def test_the_code_that_cuts_is_the_version_it_says(waves, kind):
    """Where this fails, patches have other pixels than results were judged on: raise ``CUTTING``, add its values."""
    np.testing.assert_allclose(cut(waves[kind]), GOLDEN[CUTTING][kind], atol=0.05)


def test_another_version_is_another_manifest(waves, monkeypatch):
    before = manifest_of(waves["made"], PROTOCOL).sha256
    monkeypatch.setattr(manifests, "CUTTING", 2)
    assert manifest_of(waves["made"], PROTOCOL).sha256 != before


def test_version_one_is_what_boards_hold(waves):
    """The hash of a manifest as it always was."""
    assert (
        manifest_of(waves["made"], PROTOCOL).sha256
        == "d76190c64290e2de6c8de84b2b4f4b02111d483a859427af8e9547d706177b61"
    )
