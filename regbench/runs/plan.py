"""From a request to a plan: every name looked up, every setting resolved, every network built, nothing trained."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.strategy import TrainingStrategy
from regbench.data.manifest import Manifest, test_manifest
from regbench.data.packs.format import Progress
from regbench.data.packs.pack import Pack
from regbench.data.protocol import Protocol, build_protocol
from regbench.data.sampler import pair_info
from regbench.distributed.processes import ALONE, World
from regbench.errors import DataError, UsageError
from regbench.metrics import METRIC_VERSION
from regbench.plugins.compatibility import check_compatible, unpublished_combination
from regbench.plugins.registry import Component
from regbench.results import schema
from regbench.results.lineage import lineage_of
from regbench.results.schema import Identity, run_id_of
from regbench.runs.build import check_trained
from regbench.runs.context import Ancestor, ConfiguredComponent, RunContext
from regbench.runs.finished import open_run
from regbench.runs.request import Request, device_of, pack_of, resolve, resolve_data
from regbench.runs.strategies import SUPERVISION, Supervision, deployed_of, stages_of, strategy_of, supervision_of
from regbench.settings import Budget, budget_of
from regbench.training.config import TrainerConfig
from regbench.weights.files import read_metadata
from regbench.weights.used import Hashes, add_file, file_sha256, weights_used


@dataclass(frozen=True)
class GivenWeights:
    """What a weights file says of the training of its weights."""

    sha256: str
    supervision: Supervision
    run_id: str | None
    """Of the run that trained them; None where they were imported."""
    lineage: Mapping[str, Mapping[str, Any]]
    """Identities of that run and its ancestors by run id; empty where an earlier regbench wrote the file."""


@dataclass(frozen=True, kw_only=True)
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
    """What is judged."""
    labels: bool
    """Whether this run's own strategy may see labels; what its ancestors saw does not matter for that."""
    unpublished_combination: bool = False
    """Whether no paper reports the strategy with these components."""
    strategy: TrainingStrategy | None = None
    given: GivenWeights | None = None
    """Of the weights the registrator starts from; None where none were named."""
    confidence: bool = False
    """Whether to store how sure one can be of each estimate, which changes no estimate and so no run id."""

    @property
    def lineage(self) -> dict[str, dict[str, Any]]:
        """The identities of all runs this one starts from and of their ancestors, by run id."""
        of_weights = {run_id: dict(identity) for run_id, identity in self.given.lineage.items()} if self.given else {}
        return of_weights | lineage_of(ancestor.result for ancestor in self.context.ancestors)


def make_plan(request: Request, progress: Progress | None = None, world: World = ALONE) -> Plan:
    """Resolve a request; prepares the data set if it is not there yet.

    Args:
        request: what to run.
        progress: told how far the preparation of the data set is.
        world: the processes that will train together; all make the same plan.

    Raises:
        UsageError: anything about the request that cannot work, before any time is spent on it.
        DataError: the data set or the weights cannot be read.
    """
    resolved = resolve(request, world)
    registrator, strategy = resolved.components["registrator"], resolved.components["strategy"]
    assert registrator is not None
    components = (_component(strategy), _component(resolved.components["translator"]), registrator.component)
    check_compatible(*components)
    pack, protocol = resolve_data(request, resolved.protocol, progress)
    if strategy is not None and pack.seen:
        raise DataError(pack.seen)
    manifest = test_manifest(pack, protocol)
    context = RunContext(
        info=pair_info(pack, protocol),
        device=resolved.device,
        components=resolved.components,
        seed=request.seed,
        precision=request.precision,
        weights=request.weights,
        world=world,
    )
    if request.teacher is not None:
        attach_teacher(context, request.teacher, protocol)
    stages: tuple[Stage, ...] = ()
    built: TrainingStrategy | None = None
    if strategy is None:
        check_trained(
            registrator,
            request.weights,
            "name a strategy (regbench run --strategy …), or give --weights FILE",
        )
        deployed = context.registrator()
        own: Supervision = "none"
    else:
        with weights_used() as read:
            built = strategy_of(strategy)
            own = supervision_of(built, strategy)
            deployed = deployed_of(built, context, strategy)
            stages = stages_of(built, context, strategy)
        for file in built.weight_files():
            add_file(read, file)
        context.files["strategy"] = read
        check_batches(stages, world.processes)
    if request.teacher is not None and not context.teacher_used:
        raise UsageError(
            f"{request.strategy or 'a run without a strategy'} learns from no finished run; drop --teacher"
        )
    given = _given_weights(request.weights)
    ancestors_supervision = [ancestor.supervision for ancestor in context.ancestors]
    described = _described(registrator, context.files, given.sha256 if given else None)
    assert described is not None
    identity = Identity(
        translator=_described(resolved.components["translator"], context.files),
        registrator=described,
        strategy=_described(strategy, context.files),
        train_dataset=schema.TrainData(name=pack.name, pack_sha256=pack.sha256) if strategy else None,
        test_dataset=schema.TestData(name=pack.name, manifest_sha256=manifest.sha256),
        protocol=protocol.record(),
        seed=request.seed,
        budget=resolved.budget.name,
        ancestors=[ancestor.run_id for ancestor in context.ancestors],
        metric_version=METRIC_VERSION,
        supervision=max([own, *([given.supervision] if given else []), *ancestors_supervision], key=SUPERVISION.index),
        precision="bf16" if strategy is not None and request.precision == "bf16" else "fp32",
    )
    run_id = run_id_of(identity)
    words = [request.strategy or "as-is", request.translator, request.registrator, request.dataset, run_id]
    return Plan(
        identity=identity,
        run_id=run_id,
        folder=request.out / "-".join(word.replace("/", "_").replace(":", "_") for word in words if word),
        budget=resolved.budget,
        protocol=protocol,
        trainer=resolved.trainer,
        pack=pack,
        manifest=manifest,
        context=context,
        stages=stages,
        deployed=deployed,
        labels=own == "homography",
        unpublished_combination=unpublished_combination(*components),
        strategy=built,
        given=given,
        confidence=request.confidence,
    )


def transfer_plan(
    finished: Path, request: Request, progress: Progress | None = None, *, test_pairs: int | None = None
) -> Plan:
    """Judge what a finished run deploys on the test pairs of ``request.dataset``, under the run's own protocol.

    Args:
        finished: the run's directory.
        request: data set, device, seed, ``out`` and ``protocol.source`` (each data set has its own source; the default
            is that of the run). Its components and the rest of its protocol are not used.
        progress: told how far the preparation of the data set is.
        test_pairs: least number of test pairs; default: that of the protocol.

    Raises:
        UsageError: ``--set`` of anything else, or the data set does not fit the protocol.
        DataError: the run is not finished or its weights are broken.
    """
    given = [f"{section}.{name}" for section, sets in request.sets.items() if section != "dataset" for name in sets]
    if wrong := sorted(set(given) - {"protocol.source"}):
        raise UsageError(
            f"--set {wrong[0]}: a finished run keeps its settings; only dataset.… and protocol.source can be set"
        )
    device = device_of(request.device)
    run = open_run(finished, device)
    trained = run.result.identity
    more = {} if test_pairs is None else {"test_pairs": test_pairs}
    own = build_protocol(trained.protocol.model_dump() | request.settings("protocol") | more, budget_of(trained.budget))
    pack = pack_of(request, progress)
    # Really unaligned sets are judged as they are; made pairs follow the protocol of the run.
    protocol = own.model_copy(update={"pairing": "frozen" if pack.aligned else "given"})
    manifest = test_manifest(pack, protocol)
    # Other code than trained the run may give other numbers, so it is another run.
    installed = {
        role: getattr(trained, role).model_copy(update={"version": configured.component.version})
        for role, configured in run.components.items()
        if configured is not None
    }
    identity = trained.model_copy(
        update={
            **installed,
            "test_dataset": schema.TestData(name=pack.name, manifest_sha256=manifest.sha256),
            "protocol": trained.protocol.model_copy(update={"source": own.source}),
            "ancestors": [*trained.ancestors, run.run_id],
            "metric_version": METRIC_VERSION,
        }
    )
    run_id = run_id_of(identity)
    parent = Ancestor(run.run_id, run.supervision, finished)
    return Plan(
        identity=identity,
        run_id=run_id,
        folder=request.out / f"transfer-{run.run_id}-{pack.name}-{run_id}",
        budget=budget_of(trained.budget),
        protocol=protocol,
        trainer=TrainerConfig(),
        pack=pack,
        manifest=manifest,
        # The networks know the pairs they learned from, not those they are judged on.
        context=RunContext(run.info, device, {}, request.seed, modules=run.modules, ancestors=[parent]),
        stages=(),
        deployed=run.registrator,
        labels=False,
        confidence=request.confidence,
    )


def attach_teacher(context: RunContext, folder: Path, protocol: Protocol) -> None:
    """Open the finished run that teaches this one; it becomes an ancestor, so what supervised it counts here too.

    Raises:
        UsageError: the run learned on patches of another size, or with other code than is installed.
        DataError: the run is not finished or its weights are broken.
    """
    run = open_run(folder, context.device)
    if run.other_code:
        raise UsageError(
            f"{folder}: was made with {', '.join(run.other_code)}, so what it teaches may differ from what it was "
            "judged with; install that version, or train it again"
        )
    patch = run.result.identity.protocol.patch
    if patch != protocol.patch:
        raise UsageError(
            f"{folder}: learned on patches of {patch} px, this run has {protocol.patch} px; "
            f"use --set protocol.patch={patch}"
        )
    context.ancestors.append(Ancestor(run.run_id, run.supervision, folder))
    context.given_teacher = run.registrator


def check_batches(stages: Sequence[Stage], processes: int) -> None:
    """Raise UsageError where processes cannot share the batch of a stage evenly."""
    for stage in stages:
        unit = processes * stage.parts
        if stage.batch % unit:
            raise UsageError(
                f"stage {stage.name}: {processes} processes cannot share a batch of {stage.batch} evenly; "
                f"make it a multiple of {unit}, or start fewer processes"
            )


def _given_weights(path: Path | None) -> GivenWeights | None:
    """Whose weights a file holds; supervision that nobody tells counts as homography."""
    if path is None:
        return None
    metadata = read_metadata(path)
    try:
        lineage: dict[str, dict[str, Any]] = json.loads(metadata.get("lineage", "{}"))
        seen = [Identity.model_validate(identity).supervision for identity in lineage.values()]
        if any(run_id_of(identity) != run_id for run_id, identity in lineage.items()):
            raise ValueError
    except (ValueError, AttributeError, TypeError):
        raise DataError(f"{path}: the runs it says its weights come from are not what their ids say") from None
    own: Supervision = "none" if metadata.get("supervision") == "none" else "homography"
    return GivenWeights(
        sha256=file_sha256(path),
        supervision=max([own, *seen], key=SUPERVISION.index),
        run_id=metadata.get("run_id"),
        lineage=lineage,
    )


def _component(configured: ConfiguredComponent | None) -> Component | None:
    return None if configured is None else configured.component


def _described(
    configured: ConfiguredComponent | None, read: Mapping[str, Hashes], weights_sha: str | None = None
) -> schema.Component | None:
    """A component as the identity records it, with the hashes of what it read and of what its settings name."""
    if configured is None:
        return None
    component = configured.component
    files = dict(read.get(component.role, {}))
    for path in _named_files(configured.config.model_dump(mode="json")):
        add_file(files, path)
    return schema.Component(
        name=component.name,
        version=component.version,
        distribution=component.distribution,
        config=configured.config.model_dump(mode="json"),
        weights_sha256=weights_sha,
        files=files,
    )


def _named_files(setting: Any) -> Iterator[Path]:
    """The files that settings name, whoever reads them; a word without a folder or a suffix is no file."""
    if isinstance(setting, Mapping | list):
        for inner in setting.values() if isinstance(setting, Mapping) else setting:
            yield from _named_files(inner)
    elif isinstance(setting, str) and (os.sep in setting or Path(setting).suffix):
        path = Path(setting).expanduser()
        with suppress(OSError, ValueError):
            if path.is_file():
                yield path
