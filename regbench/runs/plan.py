"""From a request to a plan: every name looked up, every setting resolved, every network built, nothing trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.strategy import TrainingStrategy
from regbench.data.manifest import Manifest, test_manifest
from regbench.data.pack import Pack
from regbench.data.pack_format import Progress
from regbench.data.prepare import ensure
from regbench.data.protocol import Protocol, build_protocol
from regbench.data.sampler import pair_info
from regbench.distributed.processes import ALONE, World
from regbench.errors import DataError, UsageError, unknown_name
from regbench.metrics import METRIC_VERSION
from regbench.plugins.compatibility import check_compatible, unpublished_combination
from regbench.plugins.registry import Component, registry
from regbench.results import schema
from regbench.results.schema import Identity, run_id_of
from regbench.runs.context import Ancestor, Chosen, RunContext
from regbench.settings import Budget, budget_of, build_config, first_line
from regbench.training.cpu_memory import keep_freed_memory
from regbench.training.trainer import TrainerConfig
from regbench.weights.checkpoint import read_tensors

Supervision = Literal["none", "homography"]
_SUPERVISION: tuple[Supervision, ...] = ("none", "homography")  # weakest first
SECTIONS = ("translator", "registrator", "strategy", "dataset", "protocol", "run")


@dataclass(frozen=True)
class Request:
    """What a person asked for, in the words of the command line."""

    registrator: str
    strategy: str | None = None
    translator: str | None = None
    dataset: str = "synthetic"
    root: Path | None = None
    budget: str = "quick"
    pairing: str | None = None
    seed: int = 0
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    precision: str = "fp32"
    out: Path = Path("runs")
    weights: Path | None = None
    teacher: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A run, ready to be executed."""

    identity: Identity
    run_id: str
    folder: Path
    budget: Budget
    protocol: Protocol
    trainer: TrainerConfig
    pack: Pack
    manifest: Manifest
    context: RunContext
    stages: tuple[Stage, ...]
    deployed: Registrator
    labels: bool
    """Whether this run's own strategy may see labels; what its ancestors saw does not matter for that."""
    of_no_paper: bool = False
    """Whether the strategy is combined with what no paper reports it with."""
    strategy: TrainingStrategy | None = None


def choose(role: str, name: str | None, settings: Mapping[str, Any], budget: Budget | None) -> Chosen | None:
    """Look a component up and resolve its settings; None for no name."""
    if name is None:
        if settings:
            raise UsageError(f"--set {role}.{next(iter(settings))}: no {role} was named; add --{role} NAME")
        return None
    component = registry().get(role, name)
    return Chosen(component, build_config(component, settings, budget))


def device_of(name: str, world: World = ALONE) -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``; raises UsageError when it is not there.

    Processes that train together have a GPU each, that of their number on the machine. One that computes on the CPU
    keeps the memory it frees from here on.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world.processes > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise UsageError(f"--device {name}: {world.processes} processes cannot share a GPU; use --device cuda")
        name = f"cuda:{world.place.local}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; use auto, cpu or cuda") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        few = "start fewer processes or use" if world.processes > 1 else "use"
        raise UsageError(f"--device {name}: {torch.cuda.device_count()} CUDA devices are here; {few} --device cpu")
    if device.type == "cpu":
        keep_freed_memory()
    return device


def trainer_config(settings: Mapping[str, Any]) -> TrainerConfig:
    """The ``run`` section of ``--set``; raises UsageError."""
    from pydantic import ValidationError

    for name in settings:
        if name not in TrainerConfig.model_fields:
            raise unknown_name("setting of run", name, TrainerConfig.model_fields)
    try:
        return TrainerConfig.model_validate(dict(settings))
    except ValidationError as error:
        raise UsageError(f"run: {first_line(error)}") from None


def make_plan(request: Request, progress: Progress | None = None, world: World = ALONE) -> Plan:
    """Resolve a request; prepares the data set if it is not there yet.

    Args:
        request: what was asked for.
        progress: told how far the preparation is.
        world: the processes that will train together; all make the same plan.

    Raises:
        UsageError: anything about the request that cannot work, before any time is spent on it.
        DataError: the data set or the weights cannot be read.
    """
    for section in request.sets:
        if section not in SECTIONS:
            raise unknown_name("section of --set", section, SECTIONS)
    sets = {section: dict(request.sets.get(section, {})) for section in SECTIONS}
    if request.pairing is not None:
        sets["protocol"]["pairing"] = request.pairing
    budget = budget_of(request.budget)
    trainer = trainer_config(sets["run"])
    device = device_of(request.device, world)
    protocol = build_protocol(sets["protocol"], budget)
    roles = {r: choose(r, getattr(request, r), sets[r], budget) for r in ("translator", "registrator", "strategy")}
    registrator, strategy = roles["registrator"], roles["strategy"]
    assert registrator is not None
    components = (_component(strategy), _component(roles["translator"]), registrator.component)
    check_compatible(*components)
    pack = ensure(request.dataset, root=request.root, settings=sets["dataset"], progress=progress)
    if strategy is not None and pack.seen:
        raise DataError(pack.seen)
    if not pack.aligned and "pairing" not in sets["protocol"]:
        protocol = protocol.model_copy(update={"pairing": "given"})  # nothing else can be done with them
    manifest = test_manifest(pack, protocol)
    context = RunContext(
        pair_info(pack, protocol), device, roles, request.seed, request.precision, weights=request.weights, world=world
    )
    if request.teacher is not None:
        context.taught_by = _teacher(context, request.teacher, protocol)
    stages: tuple[Stage, ...] = ()
    built: TrainingStrategy | None = None
    if strategy is None:
        deployed = context.registrator()
        if "train" in registrator.component.provides and request.weights is None:
            raise UsageError(
                f"{request.registrator} has to be trained: name a strategy (regbench run --strategy …), "
                "or give --weights FILE"
            )
        own: Supervision = "none"
    else:
        built = strategy.component.load()(strategy.config)
        assert built is not None
        deployed, own = built.build(context), built.supervision
        stages = built.stages(context)
        world.check(stages)
    if request.teacher is not None and not context.asked:
        raise UsageError(
            f"{request.strategy or 'a run without a strategy'} learns from no finished run; drop --teacher"
        )
    weights_sha, taught = _weights(request.weights)
    supervision = max([own, taught, *(a.supervision for a in context.ancestors)], key=_SUPERVISION.index)
    described = _described(registrator, weights_sha)
    assert described is not None
    identity = Identity(
        translator=_described(roles["translator"]),
        registrator=described,
        strategy=_described(strategy),
        train_dataset=schema.TrainData(name=pack.name, pack_sha256=pack.sha256) if strategy else None,
        test_dataset=schema.TestData(name=pack.name, manifest_sha256=manifest.sha256),
        protocol=protocol.record(),
        seed=request.seed,
        budget=budget.name,
        ancestors=[a.run_id for a in context.ancestors],
        metric_version=METRIC_VERSION,
        supervision=supervision,
    )
    run_id = run_id_of(identity)
    parts = [request.strategy or "as-is", request.translator, request.registrator, request.dataset, run_id]
    folder = request.out / "-".join(p.replace("/", "_").replace(":", "_") for p in parts if p)
    return Plan(
        identity, run_id, folder, budget, protocol, trainer, pack, manifest, context, stages, deployed,
        own == "homography", unpublished_combination(*components), built,
    )  # fmt: skip


def _teacher(context: RunContext, folder: Path, protocol: Protocol) -> Registrator:
    """Open the run that teaches this one, as its ancestor; raises UsageError when it knows patches of another size."""
    from regbench.runs.finished import FinishedRun

    run: FinishedRun = context.run(folder)
    patch = run.result.identity.protocol.patch
    if patch != protocol.patch:
        raise UsageError(
            f"{folder}: learned on patches of {patch} px, this run has {protocol.patch} px; "
            f"use --set protocol.patch={patch}"
        )
    return run.registrator


def _weights(path: Path | None) -> tuple[str | None, Supervision]:
    """Hash of a weights file and the supervision it says it was trained with (unknown counts as supervised)."""
    if path is None:
        return None, "none"
    _, metadata = read_tensors(path)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    return sha, "none" if metadata.get("supervision") == "none" else "homography"


def _component(chosen: Chosen | None) -> Component | None:
    return None if chosen is None else chosen.component


def _described(chosen: Chosen | None, weights_sha: str | None = None) -> schema.Component | None:
    if chosen is None:
        return None
    c = chosen.component
    return schema.Component(
        name=c.name,
        version=c.version,
        distribution=c.distribution,
        config=chosen.config.model_dump(mode="json"),
        weights_sha256=weights_sha,
    )


def transfer_plan(finished: Path, request: Request, progress: Progress | None = None) -> Plan:
    """Judge what a finished run deploys on the test pairs of ``request.dataset``, under the run's own protocol.

    Raises:
        UsageError: a section of ``--set`` other than dataset, or the data set does not fit the protocol.
        DataError: the run is not finished or its weights are broken.
    """
    from regbench.runs.finished import open_run

    if wrong := set(request.sets) - {"dataset"}:
        raise UsageError(f"--set {sorted(wrong)[0]}.…: a finished run keeps its settings; only dataset.… can be set")
    device = device_of(request.device)
    run = open_run(finished, device)
    before = run.result.identity
    own = Protocol(**before.protocol.model_dump())
    pack = ensure(request.dataset, root=request.root, settings=request.sets.get("dataset"), progress=progress)
    # Really unaligned sets are judged as they are; made pairs follow the protocol of the run.
    protocol = own.model_copy(update={"pairing": "frozen" if pack.aligned else "given"})
    manifest = test_manifest(pack, protocol)
    identity = before.model_copy(
        update={
            "test_dataset": schema.TestData(name=pack.name, manifest_sha256=manifest.sha256),
            "ancestors": [*before.ancestors, run.run_id],
            "metric_version": METRIC_VERSION,
        }
    )
    run_id = run_id_of(identity)
    parent = Ancestor(run.run_id, run.supervision, finished)
    context = RunContext(pair_info(pack, protocol), device, {}, request.seed, ancestors=[parent])
    folder = request.out / f"transfer-{run.run_id}-{pack.name}-{run_id}"
    return Plan(
        identity, run_id, folder, budget_of(before.budget), protocol, TrainerConfig(), pack, manifest, context, (),
        run.registrator, False,
    )  # fmt: skip
