"""What one process and two have to agree on: each case is a function of the world that returns tensors.

A case is run by one process alone in the test, and by the two of ``pair.py``. What it returns must not depend on how
many there are.

Trainings are computed in double precision. A sum in another order is rounded otherwise, and a step of training through
warps, norms and thresholds makes much of that: in single precision gradients of a second step differ by percents where
nothing is wrong. In double precision the same differences are far below what any wrong share of a batch does.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.stage import Objective, Stage
from regbench.api.types import Batch, Pair, Registration
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.distributed.batch import draw, gather, own, total
from regbench.distributed.batch_layers import see_whole_batches
from regbench.distributed.processes import World
from regbench.plugins.registry import registry
from regbench.runs.context import ConfiguredComponent
from regbench.settings import build_config
from regbench.testing.parts import INFO, PROTOCOL, context, planned_stages, small_config
from regbench.testing.training import snapshot, tiny_pack
from regbench.training.config import TrainerConfig
from regbench.training.trainer import Trainer
from tests.distributed.pair import FOLDER

Found = dict[str, Tensor]
STEPS = 2
BATCH = 4


class Recorder(torch.optim.Optimizer):
    """Steps of a fixed length along the gradient, which it keeps.

    Adam would divide by the size of gradients, also of those that are nothing but rounding (of biases before a norm).
    """

    def __init__(self, parameters: Any, kept: list[Tensor]) -> None:
        super().__init__(parameters, {"lr": 0.0})
        self.kept = kept

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        with_gradient = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        flat = torch.cat([p.grad.flatten() for p in with_gradient])
        self.kept.append(flat)
        for p in with_gradient:
            p.sub_(p.grad, alpha=float(0.02 / flat.norm().clamp_min(1e-12)))


@contextmanager
def double_precision() -> Iterator[None]:
    """All that is made is float64, and what asks for float32 gets float64."""
    before, single = torch.get_default_dtype(), Tensor.float
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double
    try:
        yield
    finally:
        Tensor.float = single
        torch.set_default_dtype(before)


class DoubleSampler:
    """The real sampler's batches, in float64."""

    def __init__(self, sampler: PairSampler) -> None:
        self.sampler, self.device = sampler, sampler.device

    def batch(self, *asked: Any) -> Batch:
        batch = self.sampler.batch(*asked)
        for name, view in batch.views.items():
            tensors = {key: value.double() for key, value in vars(view).items() if value is not None}
            batch.views[name] = replace(view, **tensors)
        return batch


PRECISION = nullcontext if os.environ.get("REGBENCH_TEST_SINGLE") else double_precision
"""Of trainings; single precision is for measuring what rounding does."""


class Stopped(Exception):
    """Stands for a kill."""


@dataclass(frozen=True)
class Training:
    """A strategy with its partners; what it returns are gradients of all steps, buffers, and logged values.

    Attributes:
        strategy: by name.
        registrator: by name.
        translator: by name.
        settings: of the strategy, beside its smallest preset.
        protocol: of the pairs.
    """

    strategy: str
    registrator: str = "mcnet"
    translator: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    protocol: Protocol = PROTOCOL

    def __call__(
        self, world: World, steps: int = STEPS, folder: Path | None = None, *, until: int | None = None
    ) -> Found:
        """Train ``steps`` steps of each stage; in ``folder``, going on with what is there, up to step ``until``."""
        tiny_pack()  # is made once, for all: in single precision
        with tempfile.TemporaryDirectory() as own_folder, PRECISION():
            return self._train(world, steps, folder or Path(own_folder), until)

    def _train(self, world: World, steps: int, folder: Path, until: int | None) -> Found:
        component = registry().get("strategy", self.strategy)
        get = registry().get
        ctx = context(
            get("registrator", self.registrator), self.translator and get("translator", self.translator),
            pair_info(tiny_pack(), self.protocol),
        )  # fmt: skip
        ctx.world = world
        config = small_config(component)
        config = build_config(component, config.model_dump() | self.settings)
        made = ConfiguredComponent(component, config).component.load()(config)
        stages = planned_stages(made, ctx)
        for module in ctx.modules.values():
            module.to(torch.get_default_dtype())
        sampler = PairSampler(tiny_pack(), self.protocol, seed=0, labels=made.supervision == "homography")
        if torch.get_default_dtype() == torch.float64:
            sampler = DoubleSampler(sampler)
        gradients: dict[str, list[Tensor]] = {}
        short = [self._short(stage, steps, gradients) for stage in stages]
        config = TrainerConfig(log_every=1, checkpoint_seconds=1e9 if until is None else 0)
        trainer = Trainer(short, ctx.modules, sampler, seed=0, folder=folder, world=world, config=config)
        step = trainer._step

        def stopping(stage: Stage, running: Any, number: int, flag: Tensor) -> Any:
            if number == until:
                raise Stopped
            return step(stage, running, number, flag)

        trainer._step = stopping
        folder.mkdir(exist_ok=True)
        with suppress(Stopped):
            trainer.fit()
        world.wait()  # for the log
        log = folder / "log.jsonl"
        logged = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        found = {f"gradient/{name}/{i}": g for name, kept in gradients.items() for i, g in enumerate(kept)}
        for entry in logged:
            at = f"{entry.pop('stage')}/{entry.pop('step')}"
            found |= {f"log/{at}/{name}": torch.tensor(value) for name, value in entry.items()}
        return found | {f"weights/{key}": value for key, value in snapshot(ctx.modules).items()}

    def _short(self, stage: Stage, steps: int, gradients: dict[str, list[Tensor]]) -> Stage:
        def recorded(number: int, objective: Objective) -> Objective:
            kept = gradients.setdefault(f"{stage.name}.{number}", [])
            return replace(objective, optimiser=lambda parameters: Recorder(parameters, kept))

        objectives = tuple(recorded(i, o) for i, o in enumerate(stage.objectives))
        return replace(stage, steps=steps, batch=BATCH, objectives=objectives)


def gathered(world: World) -> Found:
    """Values of all, in order, and the gradient of a loss of them, which is 3 x^2."""
    whole = torch.arange(12.0).reshape(6, 2)
    with world.sharing_batches():
        x = own(whole).requires_grad_()
        values = gather(x)
        values.pow(3).sum().backward()
        assert x.grad is not None
        return {"values": values.detach(), "gradient": gather(x.grad) / world.processes}


def ratio(world: World) -> Found:
    """Sum of x over sum of x^2, whose gradient is (1 - 2 x r) / sum of x^2."""
    whole = torch.tensor([1.0, -3.0, 2.0, 5.0])
    with world.sharing_batches():
        x = own(whole).requires_grad_()
        value = total(x.sum()) / total(x.square().sum())
        value.backward()
        assert x.grad is not None
        return {"value": value.detach(), "gradient": gather(x.grad) / world.processes}


def along_the_second(world: World) -> Found:
    """Samples need not be the first dimension."""
    with world.sharing_batches():
        mine = draw(lambda n: torch.arange(3.0 * n).reshape(3, n), 4 // world.processes, dim=1)
        return {"values": gather(mine, dim=1)}


def layers(world: World) -> Found:
    """Batch norm and dropout: outputs, gradients and running statistics."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 5, 1),
        nn.BatchNorm2d(5, affine=False, momentum=None), nn.Dropout2d(0.5), nn.Flatten(), nn.BatchNorm1d(5 * 16),
    )  # fmt: skip
    if world.processes > 1:
        see_whole_batches(network)
    whole = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1)) + 3
    with world.sharing_batches():
        x = own(whole).requires_grad_()
        for seed in range(2):
            torch.manual_seed(seed)
            out = network(x)
        weights = torch.randn(out.shape[1], generator=torch.Generator().manual_seed(2))
        ((out * weights).pow(3).mean()).backward()
        world.average_gradients(list(network.parameters()))
        assert x.grad is not None
        found = {"out": gather(out.detach()), "input": gather(x.grad) / world.processes}
    found |= {f"gradient {n}": p.grad for n, p in network.named_parameters() if p.grad is not None}
    return found | {f"buffer {n}": b for n, b in network.named_buffers()}


def doubted(world: World) -> Found:
    """CoLReg's R, taught by an R_s that gives up one pair of four: the others weigh 4/3 wherever they are."""
    component = registry().get("strategy", "colreg")
    made = component.load()(build_config(component, {"student": "literal", "filter": False}))
    errors = torch.tensor([1.0, 2.0, 3.0, 5.0])
    ok = torch.tensor([True, True, False, True])
    scale = torch.ones((), requires_grad=True)
    batch = Batch(4, 0, torch.Generator())
    with world.sharing_batches():
        images = torch.zeros(len(own(errors)), 3, 64, 64)
        batch.views["pair"] = Pair(images, images)
        nothing = torch.zeros(1, len(images), 4, 2)
        made.r_self = lambda *_: Registration(nothing, (64, 64), own(ok))
        made.r = Constant(scale * own(errors))
        made._student_loss(batch, {})["loss"].backward()
    assert scale.grad is not None
    return {"gradient": gather_mean(world, scale.grad)}


class Constant(Registrator):
    """Estimates that are given, all corners alike."""

    def __init__(self, found: Tensor) -> None:
        super().__init__(ComponentConfig(), INFO)
        self.found = found

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        return Registration(self.found.view(1, -1, 1, 1).expand(1, -1, 4, 2), (64, 64))


def gather_mean(world: World, gradient: Tensor) -> Tensor:
    """What the trainer makes of it."""
    with world.sharing_batches():
        return total(gradient) / world.processes


def begun(world: World) -> Found:
    """A run that is stopped after two of four steps, for somebody else to go on with."""
    return INTERRUPTED(world, 4, Path(os.environ[FOLDER]) / "begun", until=2)


def ended(world: World) -> Found:
    """A run that somebody else has begun."""
    return INTERRUPTED(world, 4, Path(os.environ[FOLDER]) / "ended")


NEAR = Protocol(patch=64, rho=1)  # errors below 1 px from the first step: where FGO is not linear
ONLINE = Protocol(patch=64, rho=16, pairing="online")
AUGMENTED = Protocol(patch=64, rho=16, frozen_augment="indep_homography")
INTERRUPTED = Training("supervised", "dhn")
OPERATORS: dict[str, Callable[[World], Found]] = {
    f.__name__: f for f in (gathered, ratio, along_the_second, layers, doubted)
}
RESUMES: dict[str, Callable[[World], Found]] = {"begun": begun, "ended": ended}
FAST: dict[str, Training] = {
    "fgo": Training("supervised", "mcnet", protocol=NEAR),
    "alto": Training("alto", "mcnet"),
    "scpnet": Training("scpnet", "mcnet"),
    "contrast-randomised": Training("contrast-randomised"),
    "translate-cyclegan": Training("translate", "mcnet", "cyclegan"),
}
SLOW: dict[str, Training] = {
    **{f"supervised-{name}": Training("supervised", name) for name in (
        "mcnet", "dhn", "dhn-resnet34", "cudhn-net", "mhn", "ihn", "rhwf", "redfeat",
    )},
    "online": Training("supervised", "mcnet", protocol=ONLINE),
    "augmented": Training("supervised", "mcnet", protocol=AUGMENTED),
    "self-supervised": Training("self-supervised"),
    "contrast-randomised-colour": Training("contrast-randomised", settings={"channels": "colour"}),
    **{f"translate-{name}": Training("translate", "mcnet", name) for name in (
        "mimgcd", "cut", "fastcut", "unsb", "munit", "ugatit", "ugatit-light",
    )},
    "colreg": Training("colreg", "mcnet", "mimgcd"),
    "colreg-literal": Training(
        "colreg", "mcnet", "mimgcd", {"student": "literal", "reference": "random", "rounds": 1, "warm_up": 0}
    ),
    "colreg-unsb": Training("colreg", "mcnet", "unsb", {"rounds": 1}),
    "alto-joint": Training("alto", "ihn", settings={"alternate": False}),
    "scpnet-masked": Training("scpnet", "dhn", settings={"consistency": "masked"}),
    "cudhn": Training("cudhn", "cudhn-net"),
    "cudhn-doubleline": Training("cudhn", "cudhn-net", settings={"form": "doubleline"}),
    "bihome": Training("bihome", "dhn-resnet34"),
    "nemar": Training("nemar", "mcnet", "mimgcd"),
    "dfmir": Training("dfmir", "mcnet", "cut"),
    "dfmir-unsb": Training("dfmir", "mcnet", "unsb", {"outside": "ignored"}),
    "sshnet": Training("sshnet", "mcnet", "unet"),
    "sshnet-apart": Training("sshnet", "mcnet", "swin-unet", {"clip_each": True, "displacement_loss": "own"}),
    "sshnet-d": Training("sshnet-d"),
}  # fmt: skip
CASES: dict[str, Callable[[World], Found]] = {**OPERATORS, **RESUMES, **FAST, **SLOW}
