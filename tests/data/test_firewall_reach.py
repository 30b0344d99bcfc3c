"""The supervision firewall: no seed, object or label is in reach of an unsupervised strategy.

What sampler and context hand over is followed by attributes, items and elements, and so is every installed strategy,
before it has trained and after.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from regbench.api.config import ComponentConfig
from regbench.data.packs.pack import Pack
from regbench.data.pairs import Draws, draw_displacements, draw_pairs
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.errors import UsageError
from regbench.plugins.registry import registry
from regbench.runs.context import RunContext
from regbench.runs.plan import attach_teacher
from regbench.seeds import seed_of
from regbench.testing import parts, training
from tests.data.textures import PATCH, RHO, SEED, SIDE, VIEWS


def reachable(thing, seen=None):
    """Every object that can be had from one by attributes, items and elements."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return []
    seen[id(thing)] = thing
    parts = []
    if isinstance(thing, dict):
        parts = [*thing, *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = list(thing)
    elif not isinstance(thing, (torch.Tensor, str, bytes)):
        parts = list(getattr(thing, "__dict__", {}).values())
    return [thing, *(found for part in parts for found in reachable(part, seen))]


def seeds_in(things):
    """Every number in reach that could be a seed, and what a strategy could hash of it."""
    numbers = {t.initial_seed() for t in things if isinstance(t, torch.Generator)}
    numbers |= {t for t in things if isinstance(t, int) and not isinstance(t, bool)}
    return numbers | {seed_of(n, "pairs", "stage", 3) for n in numbers}


def agreement(seed, hidden, protocol, count):
    """Share of the hidden offsets that a seed reproduces, drawn as the sampler draws them or directly."""
    best = 0.0
    for skip in (False, True):
        generator = torch.Generator().manual_seed(seed % 2**63)
        if skip:
            index = torch.randint(0, count, (len(hidden),), generator=generator)
            drawn = draw_pairs(index, (SIDE, SIDE), protocol, generator).displacement
        else:
            drawn = draw_displacements(len(hidden), PATCH, RHO, generator)
        best = max(best, float((drawn == hidden).float().mean()))
    return best


@pytest.fixture(scope="module", params=["frozen", "online"])
def handed(request, textures):
    """Batch and context as a strategy gets them, the hidden displacement, the protocol."""
    protocol = Protocol(patch=PATCH, rho=RHO, pairing=request.param)
    batch = PairSampler(textures, protocol, seed=SEED).batch("stage", 3, 64, VIEWS)
    hidden = PairSampler(textures, protocol, seed=SEED, labels=True).batch("stage", 3, 64, ("pair",)).pair.displacement
    context = RunContext(pair_info(textures, protocol), torch.device("cpu"), {}, seed=SEED)
    return batch, context, hidden, protocol


def test_no_seed_in_reach_reproduces_the_hidden_displacement(handed, textures):
    batch, context, hidden, protocol = handed
    seeds = seeds_in(reachable(batch) + reachable(context))
    assert batch.generator.initial_seed() in seeds
    assert context.seed in seeds
    assert SEED not in seeds
    for seed in seeds:  # each offset is one of 17: 0.059 by chance, 512 of them
        assert agreement(seed, hidden, protocol, textures.counts["train"]) < 0.12, seed


def test_control_the_runs_own_seed_reproduces_online_displacements(handed, textures):
    _, _, hidden, protocol = handed
    found = agreement(seed_of(SEED, "pairs", "stage", 3), hidden, protocol, textures.counts["train"])
    assert (found == 1) == (protocol.pairing == "online")


def test_no_object_in_reach_holds_the_label_or_its_source(handed):
    batch, context, hidden, _ = handed
    things = reachable(batch) + reachable(context)
    assert not [t for t in things if isinstance(t, (PairSampler, Pack, Draws))]
    labels = [t for t in things if isinstance(t, torch.Tensor) and t.shape[-2:] == (4, 2)]
    assert len(labels) == 2  # of the two self-pairs
    assert batch.pair.displacement is None
    for label in labels:
        assert (label == hidden).float().mean() < 0.12
        assert (label == -hidden).float().mean() < 0.12


def test_a_finished_run_brings_no_seed_into_reach(monkeypatch):
    # A teacher is often of this run's own seed, which every online displacement could be drawn from.
    result = SimpleNamespace(identity=SimpleNamespace(seed=SEED, protocol=parts.PROTOCOL))
    teacher = parts.ConstantTeacher(ComponentConfig(), parts.INFO)
    run = SimpleNamespace(result=result, registrator=teacher, run_id="0" * 12, supervision="homography", other_code=[])
    monkeypatch.setattr("regbench.runs.plan.open_run", lambda *_: run)
    context = RunContext(parts.INFO, torch.device("cpu"), {}, seed=SEED)
    attach_teacher(context, Path("finished"), parts.PROTOCOL)
    assert context.teacher() is teacher
    assert SEED in seeds_in(reachable(run))
    assert SEED not in seeds_in(reachable(context))
    assert [(a.run_id, a.supervision) for a in context.ancestors] == [("0" * 12, "homography")]


# --- every strategy


UNSUPERVISED = [c for c in registry().all("strategy") if c.load().supervision == "none"]


def planned(component, info):
    """A strategy with the first small partners it accepts, after ``build`` and ``stages``."""
    for pair in parts.partners(component):
        made, context = parts.build_strategy(component), parts.context(*pair, info, seed=SEED)
        try:
            return made, context, parts.planned_stages(made, context)
        except UsageError:  # such as rounds with a translator that cannot refine
            continue
    pytest.skip("no installed registrator and translator fit it")


@pytest.mark.parametrize("component", UNSUPERVISED, ids=lambda component: component.name)
def test_no_unsupervised_strategy_has_a_label_or_its_seed_in_reach(component, monkeypatch):
    recorded = []

    class Recording(PairSampler):
        """The sampler of a run whose seed is SEED; keeps what it handed to the trainer."""

        def __init__(self, pack, protocol, seed, labels):
            super().__init__(pack, protocol, seed=SEED, labels=labels)

        def batch(self, stage, step, size, views, repeat_pairs):
            recorded.append((stage, step, size, super().batch(stage, step, size, views, repeat_pairs)))
            return recorded[-1][-1]

    monkeypatch.setattr(training, "PairSampler", Recording)
    pack, protocol = training.tiny_pack(), parts.PROTOCOL
    made, context, stages = planned(component, pair_info(pack, protocol))
    blind = PairSampler(pack, protocol, seed=SEED)
    knowing = PairSampler(pack, protocol, seed=SEED, labels=True)

    def labels_in_reach(stage, step, size, batch):
        """What has the shape of a label in the strategy, its context, the stage and a batch; none of it is one."""
        hidden = knowing.batch(stage.name, step, size, ("pair",)).pair.displacement
        things = reachable([made, context, stage, batch])
        assert not [t for t in things if isinstance(t, (PairSampler, Pack, Draws))]
        seeds = seeds_in(things)
        assert batch.generator.initial_seed() in seeds
        assert not {SEED, seed_of(SEED, "pairs", stage.name, step)} & seeds
        assert "pair" not in batch.views or batch.pair.displacement is None
        labels = [t for t in things if isinstance(t, torch.Tensor) and t.shape == hidden.shape]
        for label in labels:  # each offset is one of 33: 0.03 by chance, at least 32 of them
            assert (label == hidden).float().mean() < 0.2
        return len(labels)

    for stage in stages:
        batch = blind.batch(stage.name, 3, 8, stage.views)
        assert set(batch.views) == set(stage.views) <= set(VIEWS)
        assert labels_in_reach(stage, 3, 8, batch) == sum(view.startswith("self_") for view in stage.views)
    for stage in stages:
        training.train_stage(stage, context, labels=False, steps=1)
    assert {name for name, *_ in recorded} == {stage.name for stage in stages}
    by_name = {stage.name: stage for stage in stages}
    for name, step, size, batch in recorded:
        labels_in_reach(by_name[name], step, size, batch)
