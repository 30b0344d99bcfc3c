"""The hot paths of a run, each alone: ``make bench``, or ``pytest benchmarks/bench_hot_paths.py -k warp``.

Small enough for a laptop: 64 px patches, batches of 16, the quick sizes of the networks.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regbench import geometry
from regbench.data.sampler import PairSampler
from regbench.metrics.uncertainty import Images
from regbench.runs.learning import sampler_of
from regbench.runs.plan import make_plan
from regbench.runs.request import Request
from regbench.settings import parse_sets
from regbench.training.trainer import Trainer

BATCH, SIDE = 16, 64


def plan_of(tmp_path, monkeypatch, **request):
    """A quick plan on few embedded pairs, in a folder of its own."""
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "data"))
    sets = parse_sets(["dataset.train=16", "dataset.test=8", "dataset.size=96"])
    return make_plan(Request(budget="quick", sets=sets, out=tmp_path / "runs", pairing="online", **request))


@pytest.fixture
def sampler(tmp_path, monkeypatch) -> PairSampler:
    """Draws labelled pairs."""
    return sampler_of(plan_of(tmp_path, monkeypatch, registrator="mcnet", strategy="supervised"))


def test_warp(benchmark):
    images = torch.rand(BATCH, 3, SIDE, SIDE)
    homography = geometry.homography_from_displacement(4 * torch.randn(BATCH, 4, 2), (SIDE, SIDE))
    benchmark(geometry.warp, images, homography, (SIDE, SIDE))


def test_homography_from_corners(benchmark):
    benchmark(geometry.homography_from_displacement, 4 * torch.randn(BATCH, 4, 2), (SIDE, SIDE))


def test_batch_of_pairs(benchmark, sampler):
    steps = iter(range(10**9))
    benchmark(lambda: sampler.batch("bench", next(steps), BATCH, ("pair",)))


@pytest.mark.parametrize("strategy", ["supervised", "self-supervised", "contrast-randomised"])
def test_training_step(benchmark, strategy, tmp_path, monkeypatch):
    plan = plan_of(tmp_path, monkeypatch, registrator="mcnet", strategy=strategy)
    trainer = Trainer(plan.stages, plan.context.modules, sampler_of(plan), seed=0, folder=tmp_path)
    benchmark.pedantic(trainer.timed_steps(plan.stages[0]), rounds=5, warmup_rounds=2)


@pytest.mark.parametrize("matcher", ["sift", "orb", "rift"])
def test_matcher(benchmark, matcher, tmp_path, monkeypatch, sampler):
    pair = sampler.batch("bench", 0, 1, ("pair",)).pair
    registrator = plan_of(tmp_path, monkeypatch, registrator=matcher).context.modules["registrator"]
    benchmark.pedantic(registrator, args=(pair.source, pair.target), rounds=5, warmup_rounds=1)


def test_interval_of_a_mean(benchmark):
    numbers = np.random.default_rng(0)
    images = Images(np.repeat(np.arange(64), 4))
    benchmark(images.means, numbers.gamma(2.0, 5.0, (256, 6)))
