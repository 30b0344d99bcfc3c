"""Strategies and registrators that take what they are not handed: mended, or in the list of docs/trust.md."""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from regbench import Objective, Stage, TrainingStrategy, schedules
from regbench.api.config import ComponentConfig
from regbench.api.types import Batch
from regbench.data.manifest import drawn_pairs, test_manifest
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.pairs import draw_pairs
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench.errors import PluginError
from regbench.plugins.registry import Component
from regbench.results.layout import DEPLOYS
from regbench.results.pairs import Pairs
from regbench.runs import strategies
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.seeds import seed_of
from regbench.training.trainer import Trainer
from regbench.weights.files import read_tensors, write_weights
from tests.faults.table import Line, Size

DOCUMENTED = Path(__file__).parents[3] / "docs" / "trust.md"
SEED, PATCH, RHO, BATCH = 4711, 32, 8, 4


@dataclass
class Scene:
    """A run that trains one step, and what a plugin in it can find beside what it is handed."""

    folder: Path
    pack: Pack
    protocol: Protocol
    sampler: PairSampler
    context: RunContext

    def truth(self) -> Tensor:
        """The hidden displacements ``(BATCH, 4, 2)`` of the step."""
        return self.sampler._draw("pairs", "steal", 0, BATCH).displacement

    def drawn_with(self, seed: int) -> Tensor:
        """What a plugin draws that has the run's seed: it repeats what the sampler does."""
        generator = torch.Generator().manual_seed(seed_of(seed, "pairs", "steal", 0))
        index = torch.randint(0, self.pack.counts["train"], (BATCH,), generator=generator)
        return draw_pairs(index, self.pack.size, self.protocol, generator).displacement


Theft = Callable[[Scene, Batch], object]


def callers_frames(scene: Scene, batch: Batch) -> object:
    frame = sys._getframe()
    while not isinstance(owner := frame.f_locals.get("self"), Trainer):
        assert frame.f_back is not None
        frame = frame.f_back
    owner.sampler.labels = True
    return owner.sampler.batch("steal", 0, BATCH, ("pair",)).pair.displacement


def garbage_collector(scene: Scene, batch: Batch) -> object:
    sampler = next(thing for thing in gc.get_objects() if thing is scene.sampler)
    return sampler._draw("pairs", "steal", batch.step, batch.size).displacement


def frozen_pairs_from_the_pack(scene: Scene, batch: Batch) -> object:
    protocol = scene.protocol.model_copy(update={"pairing": "frozen"})
    seed = seed_of("frozen pairs", scene.pack.sha256, protocol.patch, protocol.rho, protocol.oversample)
    index = torch.arange(scene.pack.counts["train"]).repeat(protocol.oversample)
    own = draw_pairs(index, scene.pack.size, protocol, torch.Generator().manual_seed(seed)).displacement
    sampler = PairSampler(scene.pack, protocol, seed=0)
    hidden = sampler._draw("pairs", "steal", 0, BATCH).displacement
    found = all(any(torch.equal(one, other) for other in own) for one in hidden)
    return scene.truth() if found else None


def seed_from_the_command_line(scene: Scene, batch: Batch) -> object:
    return scene.drawn_with(int(sys.argv[sys.argv.index("--seed") + 1]))


def seed_from_config_json(scene: Scene, batch: Batch) -> object:
    return scene.drawn_with(json.loads((scene.folder / "config.json").read_text())["seed"])


def seed_from_the_batchs_generator(scene: Scene, batch: Batch) -> object:
    handed = batch.generator.initial_seed()
    return scene.drawn_with(next(s for s in range(10_000) if seed_of(s, "noise", "steal", 0) == handed))


def seed_from_the_context(scene: Scene, batch: Batch) -> object:
    return scene.drawn_with(next(s for s in range(10_000) if seed_of(s, "networks") == scene.context.seed))


def patched_evaluation(scene: Scene, batch: Batch) -> object:
    honest = Pairs.of

    def lying(truth, estimate, *more):
        return honest(truth, truth, *more)

    with patch.object(Pairs, "of", lying):
        pairs = Pairs.of(torch.ones(2, 4, 2), torch.zeros(2, 4, 2), [True] * 2, [0, 1])
    return scene.truth() if not pairs.error.any() else None


def test_pairs_from_public_names(scene: Scene, batch: Batch) -> object:
    count, size = scene.pack.counts["test"], scene.pack.size
    repeats = math.ceil(scene.protocol.test_pairs / count)
    known = drawn_pairs("synthetic", count, repeats, size, scene.protocol).displacement
    hidden = test_manifest(scene.pack, scene.protocol).draws.displacement
    return scene.truth() if torch.equal(known, hidden) else None


def weights_of_a_supervised_run(scene: Scene, batch: Batch) -> object:
    path = scene.folder / "other" / "weights.safetensors"
    write_weights(path, {"registrator": nn.Linear(2, 2)}, component="x", supervision="homography")
    return scene.truth() if read_tensors(path)[0] else None


def deploys_of_this_run(scene: Scene, batch: Batch) -> object:
    files = list((scene.folder / DEPLOYS).glob("*.h5"))
    return scene.truth() if files else None


def memory_behind_the_tensors(scene: Scene, batch: Batch) -> object:
    """Storages larger than the patches would show what lies around them."""
    for view in batch.views.values():
        for tensor in vars(view).values():
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes() > 4 * BATCH * 3 * PATCH**2:
                return scene.truth()
    return None


class Word(str):
    """A text that equals both words."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Liar(TrainingStrategy):
    supervision = Word("none")  # type: ignore[assignment]

    def build(self, ctx):
        raise NotImplementedError

    def stages(self, ctx):
        return ()


def supervision_that_equals_everything(scene: Scene, batch: Batch) -> object:
    component = ConfiguredComponent(Component("strategy", "liar", "x:Liar"), ComponentConfig())
    try:
        strategies.supervision_of(Liar(ComponentConfig()), component)
    except PluginError:
        return None
    return scene.truth()


THEFTS: tuple[Theft, ...] = (
    callers_frames,
    garbage_collector,
    frozen_pairs_from_the_pack,
    seed_from_the_command_line,
    seed_from_config_json,
    seed_from_the_batchs_generator,
    seed_from_the_context,
    patched_evaluation,
    test_pairs_from_public_names,
    weights_of_a_supervised_run,
    deploys_of_this_run,
    memory_behind_the_tensors,
    supervision_that_equals_everything,
)


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Try every theft in a training step; each must fail or stand in the list of docs/trust.md, and none both."""
    data = Synthetic(SyntheticConfig(train=6, test=4, size=64))
    pack = prepare(data, "synthetic", "1", folder / "synthetic.h5")
    listed = DOCUMENTED.read_text(encoding="utf-8").replace("'", "")
    line = Line("thieving plugins")
    for theft in THEFTS:
        name = theft.__name__.replace("_", " ").replace("config json", "config.json")
        works, told = stolen(theft, pack, folder / theft.__name__), f"* *{name}*:" in listed
        line.count(works == told, f"{name} {'works' if works else 'fails'}, and docs/trust.md says otherwise")
        if works and told:
            line.documented.append(name)
    yield line


def stolen(theft: Theft, pack: Pack, folder: Path) -> bool:
    """Whether a loss that does this in a training step gets the hidden displacements."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"seed": SEED}))
    protocol = Protocol(patch=PATCH, rho=RHO, pairing="online")
    sampler = PairSampler(pack, protocol, seed=SEED)
    context = RunContext(pair_info(pack, protocol), torch.device("cpu"), {}, SEED)
    scene = Scene(folder, pack, protocol, sampler, context)
    truth, network, found = scene.truth(), nn.Linear(1, 1), []

    def loss(batch, shared):
        found.append(theft(scene, batch))
        return {"loss": network.weight.sum()}

    objective = Objective(updates=("n",), loss=loss, optimiser=torch.optim.SGD, lr=schedules.constant(0.1))
    stage = Stage("steal", 1, BATCH, ("pair", "self_source", "self_target"), (objective,), {"n": network})
    with patch.object(sys, "argv", ["regbench", "run", "--seed", str(SEED)]):
        Trainer((stage,), {"n": network}, sampler, seed=SEED, folder=folder).fit()
    (taken,) = found
    return isinstance(taken, Tensor) and torch.equal(taken, truth)
