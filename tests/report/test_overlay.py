"""Pairs are drawn where they are: quadrilaterals by the convention, the warped source on the target."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.compare import command as compare
from regbench.cli.figure import command as figure
from regbench.data.protocol import Protocol
from regbench.report.figures import overlay
from regbench.report.figures.overlay import DifferentPairsError, Scenes, best_median_worst, is_embedded, scenes_of
from regbench.report.figures.pairs import draw_pairs
from regbench.results import Pairs
from tests.report.made_up import component, identity_of, save_run

PROTOCOL = Protocol(patch=64, rho=16)


@pytest.fixture(scope="module")
def pack(make_pack, smooth_images):
    """A and B are the same smooth images: with the true homography the source lies on the target exactly."""
    images = smooth_images(4, (112, 112))
    return make_pack(images, images)


@pytest.fixture(scope="module")
def scenes(pack) -> Scenes:
    return Scenes(pack, PROTOCOL)


def pairs_with(scenes: Scenes, estimate) -> Pairs:
    draws = scenes.manifest.draws
    truth = draws.displacement.numpy()
    return Pairs.of(truth, estimate(truth), np.ones(len(truth)), scenes.manifest.image.numpy())


def test_the_true_homography_lays_the_source_on_the_target(scenes):
    inner = slice(16 + 8, 16 + 64 - 8)
    exact = scenes.scene(pairs_with(scenes, lambda truth: truth), 3)
    nothing = scenes.scene(pairs_with(scenes, np.zeros_like), 3)
    wrong = np.abs(nothing.checkerboard[inner, inner].astype(int) - nothing.target[inner, inner]).mean()
    right = np.abs(exact.checkerboard[inner, inner].astype(int) - exact.target[inner, inner]).mean()
    assert right < 0.3
    assert wrong > 10 * right


def test_quadrilaterals_are_the_displaced_corners_in_drawing_order(scenes):
    pairs = pairs_with(scenes, lambda truth: truth + 1)
    scene = scenes.scene(pairs, 5)
    d = pairs.displacement[5]
    corners = np.array([[0, 0], [63, 0], [63, 63], [0, 63]])
    assert scene.truth == pytest.approx(corners + d[[0, 1, 3, 2]] + 16)
    assert scene.estimate == pytest.approx(scene.truth + 1)
    assert scene.error == pytest.approx(2**0.5, rel=1e-5)
    assert scene.target.shape == (96, 96, 3)


def test_a_pair_without_an_answer_has_no_red(scenes):
    pairs = pairs_with(scenes, lambda truth: np.full_like(truth, np.nan))
    scene = scenes.scene(pairs, 0)
    assert scene.estimate is None
    assert np.array_equal(scene.checkerboard, scene.target)
    assert scene.error == scene.identity_error
    drawn = draw_pairs([("pair 0", [scene])], ["A"])
    assert all(len(axes.patches) == 1 for axes in drawn.axes)
    assert best_median_worst(pairs) == {}


def test_truth_is_green_and_the_estimate_red(scenes):
    scene = scenes.scene(pairs_with(scenes, lambda truth: truth + 2), 1)
    for axes in draw_pairs([("pair 1", [scene])], ["A"]).axes:
        truth, estimate = axes.patches
        assert truth.get_edgecolor()[1] > 0.5 > truth.get_edgecolor()[0]
        assert estimate.get_edgecolor()[0] > 0.5 > estimate.get_edgecolor()[1]
        assert truth.get_xy()[:4] == pytest.approx(scene.truth)
        assert estimate.get_xy()[:4] == pytest.approx(scene.estimate)


def test_extremes_are_of_pairs_with_an_answer():
    truth = np.zeros((5, 4, 2))
    estimate = np.array([3.0, 1.0, 9.0, 2.0, 50.0])[:, None, None] * np.ones((5, 4, 2))
    pairs = Pairs.of(truth, estimate, [True, True, True, True, False], np.arange(5))
    assert best_median_worst(pairs) == {"best": 1, "median": 3, "worst": 2}


def test_embedded_data_are_those_of_the_harness():
    assert is_embedded(identity_of("mcnet"))
    assert not is_embedded(identity_of("mcnet", test_dataset={"name": "vedai", "manifest_sha256": "a" * 64}))
    assert not is_embedded(identity_of("mcnet", test_dataset={"name": "unknown", "manifest_sha256": "a" * 64}))


@pytest.fixture
def runs(scenes, pack, tmp_path, monkeypatch):
    """Two runs on these pairs, whose pack is found."""
    monkeypatch.setattr(overlay, "ensure", lambda *args, **more: pack)
    test = {"name": "synthetic", "manifest_sha256": scenes.manifest.sha256}
    protocol = {"patch": 64, "rho": 16, "pairing": "online", "source": "A"}
    folders = []
    for share in (0.1, 0.5):
        identity = identity_of("mcnet", strategy=component("s", share=share), test_dataset=test, protocol=protocol)
        folders.append(
            tmp_path / save_run(tmp_path, identity, pairs_with(scenes, lambda t, s=share: t * (1 - s))).run_id
        )
    return list(map(str, folders))


def test_pairs_are_drawn_from_the_command_line(runs, tmp_path):
    for command, args in ((compare, [*runs, "--pairs", "1"]), (figure, ["pairs", *runs])):
        path = tmp_path / f"{command.name}.png"
        done = CliRunner().invoke(command, [*args, "--out", str(path)], catch_exceptions=False)
        assert done.exit_code == 0
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("patch", [64, 128])
def test_images_that_are_not_the_runs_are_refused(runs, patch):
    """Of another manifest, or too small to hold its pairs at all."""
    protocol = {"patch": patch, "rho": patch // 4, "pairing": "frozen", "source": "A"}
    with pytest.raises(DifferentPairsError, match="give the settings it was prepared with"):
        scenes_of(identity_of("mcnet", protocol=protocol), 256)
