"""How fast components are on the machine at hand: forwards of networks and steps of training, on real pairs.

Times of networks do not depend on what they have learned, so registrators that have to be trained are timed as they are
initialised unless weights are given. Nothing is written to a run folder; a data set that is not prepared yet is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from regbench.api.registrator import Registrator
from regbench.api.translator import Translator
from regbench.api.types import Registration
from regbench.data.manifest import test_manifest
from regbench.data.pack import Pack
from regbench.data.pack_format import Progress
from regbench.data.prepare import ensure
from regbench.data.protocol import Protocol, build_protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.data.test_pairs import TestPairs
from regbench.errors import UsageError, unknown_name
from regbench.metrics.memory import peak_mb
from regbench.metrics.timing import device_sync, measure
from regbench.results.provenance import collect
from regbench.runs.context import Chosen, RunContext
from regbench.runs.plan import Request, choose, device_of, make_plan
from regbench.settings import budget_of
from regbench.tools.cuda_graph import captured
from regbench.training.trainer import Trainer

_SECTIONS = ("translator", "registrator", "dataset", "protocol")  # what has settings where nothing is trained


@dataclass(frozen=True)
class Effort:
    """How often a call is made: ``warmup`` times unseen, then ``repeats`` times on the clock."""

    repeats: int = 20
    warmup: int = 3


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        role: of the component.
        name: of the component.
        call: ``register`` or ``translate``, on CUDA once more from a recorded graph, ``STAGE: step`` (sampler and
            update) or ``STAGE: sampler`` (sampler alone).
        batch: pairs a call.
        parameters: of the network; of all that the stage updates for a step; 0 for the sampler.
        median_ms: milliseconds a call.
        iqr_ms: width of the interval the middle half lies in.
        pairs_per_s: batch over median.
        peak_memory_mb: most device memory that tensors took during the calls; None where the device does not count.
    """

    role: str
    name: str
    call: str
    batch: int
    parameters: int
    median_ms: float
    iqr_ms: float
    pairs_per_s: float
    peak_memory_mb: float | None


def bench(
    request: Request, batches: Sequence[int] = (1, 16), effort: Effort | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Time what a request names: every registrator and translator at each batch size, and every stage of a strategy.

    Args:
        request: as for a run. ``registrator`` and ``translator`` may be empty where no strategy is named.
        batches: pairs a call of ``register`` and ``translate``; stages have their own, a setting of the strategy.
        effort: how often.
        progress: told while a data set is prepared.

    Returns:
        What can be printed as JSON: ``rows`` (:class:`Row`), ``settings`` of the components, ``stages`` of a strategy
        with their steps in a run, how it was measured, and ``provenance`` (see
        :func:`regbench.results.provenance.collect`).

    Raises:
        UsageError: nothing is named, or anything about the request cannot work.
        DataError: the data set or the weights cannot be read.
    """
    effort = effort or Effort()
    if not batches or min(batches) < 1:
        raise UsageError("--batch: name batch sizes of at least 1, such as 1,16")
    if request.strategy is None:
        rows, facts = _as_they_are(request, batches, effort, progress)
    else:
        rows, facts = _in_training(request, batches, effort, progress)
    return {
        **facts,
        "precision": request.precision,
        "repeats": effort.repeats,
        "warmup": effort.warmup,
        "peak_process_mb": round(peak_mb(), 1),
        "rows": [asdict(row) for row in rows],
        "provenance": collect(),
    }


def _as_they_are(
    request: Request, batches: Sequence[int], effort: Effort, progress: Progress | None
) -> tuple[list[Row], dict[str, Any]]:
    """Networks without a strategy."""
    for section in request.sets:
        if section not in _SECTIONS:
            raise unknown_name("section of --set where no strategy is named", section, _SECTIONS)
    if not (request.registrator or request.translator):
        raise UsageError("nothing to time: name --registrator, --translator or --strategy")
    if request.weights is not None and not request.registrator:
        raise UsageError("--weights are a registrator's: add --registrator NAME")
    if request.teacher is not None:
        raise UsageError("--teacher teaches a strategy: add --strategy NAME")
    budget, device = budget_of(request.budget), device_of(request.device)
    settings = dict(request.sets.get("protocol", {})) | ({"pairing": request.pairing} if request.pairing else {})
    protocol = build_protocol(settings, budget)
    roles = {
        role: choose(role, getattr(request, role) or None, request.sets.get(role, {}), budget)
        for role in ("registrator", "translator")
    }
    pack = ensure(request.dataset, root=request.root, settings=request.sets.get("dataset"), progress=progress)
    if not pack.aligned and "pairing" not in settings:
        protocol = protocol.model_copy(update={"pairing": "given"})
    context = RunContext(pair_info(pack, protocol), device, roles, request.seed, weights=request.weights)
    networks: list[tuple[str, nn.Module]] = []
    if roles["registrator"]:
        networks.append((request.registrator, context.registrator()))
    if roles["translator"]:
        networks.append((cast(str, request.translator), context.translator()))
    test_pairs = TestPairs(pack, test_manifest(pack, protocol), protocol, device)
    rows = list(_forwards(networks, test_pairs, batches, request.precision, effort))
    return rows, _facts(pack, protocol, device, roles)


def _in_training(
    request: Request, batches: Sequence[int], effort: Effort, progress: Progress | None
) -> tuple[list[Row], dict[str, Any]]:
    """A strategy's stages, what it deploys, and its translator."""
    if not request.registrator:
        raise UsageError(f"{request.strategy} trains a registrator: add --registrator NAME")
    plan = make_plan(request, progress)
    device, modules = plan.context.device, plan.context.modules
    networks: list[tuple[str, nn.Module]] = [(request.registrator, plan.deployed)]
    networks += [(request.translator or "", m) for m in modules.values() if isinstance(m, Translator)][:1]
    test_pairs = TestPairs(plan.pack, plan.manifest, plan.protocol, device)
    # Forwards come first: they are asked of networks as they are initialised.
    rows = list(_forwards(networks, test_pairs, batches, request.precision, effort))
    sampler = PairSampler(plan.pack, plan.protocol, seed=request.seed, device=device, labels=plan.labels)
    trainer = Trainer(plan.stages, modules, sampler, seed=request.seed, folder=Path())
    for stage in plan.stages:
        numbers = itertools.count()

        def draw(stage: Any = stage, numbers: Iterator[int] = numbers) -> None:
            sampler.batch(stage.name, next(numbers), stage.batch, stage.views)

        updated = {id(p): p for name in stage.updated for p in stage.modules[name].parameters()}
        size = sum(p.numel() for p in updated.values())
        about = (cast(str, request.strategy), stage.name, stage.batch)
        rows.append(_timed("strategy", about[0], f"{about[1]}: sampler", about[2], 0, draw, device, effort))
        step = trainer.rehearse(stage)
        rows.append(_timed("strategy", about[0], f"{about[1]}: step", about[2], size, step, device, effort))
    stages = [{"name": stage.name, "steps": stage.steps, "batch": stage.batch} for stage in plan.stages]
    return rows, _facts(plan.pack, plan.protocol, device, plan.context.chosen) | {"stages": stages}


def _forwards(
    networks: Sequence[tuple[str, nn.Module]],
    test_pairs: TestPairs,
    batches: Sequence[int],
    precision: str,
    effort: Effort,
) -> Iterator[Row]:
    """Rows of ``register`` and ``translate``, without gradients."""
    device, available = test_pairs.device, len(test_pairs)
    if max(batches) > available:
        raise UsageError(f"--batch {max(batches)}: {test_pairs.name} has {available} test pairs")
    source, target = test_pairs.images(0, max(batches))
    for name, network in networks:
        network.eval()
        size = sum(p.numel() for p in network.parameters())
        role, call, function = _call(network)
        for batch in batches:
            images = source[:batch], target[:batch]

            def once(function: Callable[..., Any] = function, images: tuple[Tensor, Tensor] = images) -> None:
                with torch.inference_mode(), _precision(device, precision):
                    function(*images)

            yield _timed(role, name, call, batch, size, once, device, effort)
            with torch.inference_mode(), _precision(device, precision):
                replay = captured(_tensors_of(function), *images)
            if replay is not None:
                again = partial(replay, *images)
                yield _timed(role, name, f"{call}, CUDA graph", batch, size, again, device, effort)


def _tensors_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A network's call with its result as a tuple of tensors."""

    def call(*images: Tensor) -> Any:
        found = function(*images)
        return (found.displacement, found.ok) if isinstance(found, Registration) else found

    return call


def _call(network: nn.Module) -> tuple[str, str, Callable[..., Any]]:
    """Role of a network, the name of what is called, and the call itself."""
    if isinstance(network, Translator):
        return "translator", "translate", network.translate
    assert isinstance(network, Registrator)
    return "registrator", "register", network.register


def _precision(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _timed(
    role: str,
    name: str,
    call: str,
    batch: int,
    parameters: int,
    function: Callable[[], Any],
    device: torch.device,
    effort: Effort,
) -> Row:
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    found = measure(function, warmup=effort.warmup, repeats=effort.repeats, sync=device_sync(device))
    return Row(
        role,
        name,
        call,
        batch,
        parameters,
        round(found.median_ms, 4),
        round(found.iqr_ms, 4),
        round(1e3 * batch / found.median_ms, 2),
        round(torch.cuda.max_memory_allocated(device) / 2**20, 1) if cuda else None,
    )


def _facts(pack: Pack, protocol: Protocol, device: torch.device, roles: Any) -> dict[str, Any]:
    """What was timed, and where."""
    chosen: dict[str, Chosen] = {role: c for role, c in roles.items() if c is not None}
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "dataset": pack.name,
        "protocol": protocol.model_dump(mode="json"),
        "settings": {role: c.config.model_dump(mode="json") for role, c in chosen.items()},
    }
