"""How fast components are on the machine at hand: forwards of networks and steps of training, on real pairs.

The time of a network does not depend on what it has learned, so registrators that have to be trained are timed as they
are initialised unless weights are given. No run folder is written; a data set that is not prepared yet is prepared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.api.types import Registration
from regbench.data.manifest import test_manifest
from regbench.data.packs.format import Progress
from regbench.data.packs.pack import Pack
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.data.test_pairs import TestPairs
from regbench.errors import UsageError, unknown_name
from regbench.metrics.memory import peak_mb
from regbench.metrics.timing import device_sync, measure
from regbench.results.provenance import collect
from regbench.runs.build import registrator_alone, translator_alone
from regbench.runs.context import ConfiguredComponent
from regbench.runs.plan import make_plan
from regbench.runs.request import Request, resolve, resolve_data
from regbench.tools.cuda_graph import capture_cuda_graph
from regbench.training.cpu_memory import keep_freed_memory
from regbench.training.trainer import Trainer

_SECTIONS = ("translator", "registrator", "dataset", "protocol")  # of --set, where nothing is trained


@dataclass(frozen=True)
class Effort:
    """How often a call is made: ``warmup`` times without timing, then ``repeats`` times with."""

    repeats: int = 20
    warmup: int = 3


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        role: of the component.
        name: of the component.
        call: ``register`` or ``translate``, on CUDA once more from a recorded graph, ``STAGE: step`` (sampler and
            update) or ``STAGE: sampler`` (sampler alone).
        batch: pairs a call.
        parameters: of the network; for a step, of all that the stage updates; 0 for the sampler.
        median_ms: milliseconds a call.
        iqr_ms: interquartile range of the milliseconds a call.
        pairs_per_s: batch over median.
        peak_memory_mb: most device memory that tensors took during the calls; None on a CPU, which does not count it.
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
        JSON: ``rows`` (:class:`Measurement`), ``settings`` of the components, ``stages`` of a strategy with their steps
        in a run, how it was measured, and ``provenance`` (see :func:`regbench.results.provenance.collect`).

    Raises:
        UsageError: nothing is named, or anything about the request cannot work.
        DataError: the data set or the weights cannot be read.
    """
    effort = effort or Effort()
    if not batches or min(batches) < 1:
        raise UsageError("--batch: name batch sizes of at least 1, such as 1,16")
    if request.strategy is None:
        rows, facts = _time_networks(request, batches, effort, progress)
    else:
        rows, facts = _time_strategy(request, batches, effort, progress)
    return {
        **facts,
        "precision": request.precision,
        "repeats": effort.repeats,
        "warmup": effort.warmup,
        "peak_process_mb": round(peak_mb(), 1),
        "rows": [asdict(row) for row in rows],
        "provenance": collect(),
    }


def _time_networks(
    request: Request, batches: Sequence[int], effort: Effort, progress: Progress | None
) -> tuple[list[Measurement], dict[str, Any]]:
    """Time networks without a strategy."""
    for section in request.sets:
        if section not in _SECTIONS:
            raise unknown_name("section of --set where no strategy is named", section, _SECTIONS)
    if not (request.registrator or request.translator):
        raise UsageError("nothing to time: name --registrator, --translator or --strategy")
    if request.weights is not None and not request.registrator:
        raise UsageError("--weights are a registrator's: add --registrator NAME")
    if request.teacher is not None:
        raise UsageError("--teacher teaches a strategy: add --strategy NAME")
    resolved = resolve(request)
    device = resolved.device
    registrator, translator = resolved.components["registrator"], resolved.components["translator"]
    pack, protocol = resolve_data(request, resolved.protocol, progress)
    _as_in_runs(device)
    info, seed = pair_info(pack, protocol), request.seed
    networks: list[tuple[str, nn.Module]] = []
    if registrator is not None:
        network = registrator_alone(registrator, info, device, seed=seed, weights=request.weights)
        networks.append((registrator.component.name, network))
    if translator is not None:
        networks.append((translator.component.name, translator_alone(translator, info, device, seed=seed)))
    test_pairs = TestPairs(pack, test_manifest(pack, protocol), protocol, device)
    rows = list(_forwards(networks, test_pairs, batches, request.precision, effort))
    return rows, _facts(pack, protocol, device, resolved.components)


def _time_strategy(
    request: Request, batches: Sequence[int], effort: Effort, progress: Progress | None
) -> tuple[list[Measurement], dict[str, Any]]:
    """Time a strategy's stages, what it deploys, and its translator."""
    if not request.registrator:
        raise UsageError(f"{request.strategy} trains a registrator: add --registrator NAME")
    plan = make_plan(request, progress)
    device, modules = plan.context.device, plan.context.modules
    _as_in_runs(device)
    networks: list[tuple[str, nn.Module]] = [(request.registrator, plan.deployed)]
    networks += [(request.translator or "", m) for m in modules.values() if isinstance(m, Translator)][:1]
    test_pairs = TestPairs(plan.pack, plan.manifest, plan.protocol, device)
    # Forwards come first, while the networks are as they were initialised.
    rows = list(_forwards(networks, test_pairs, batches, request.precision, effort))
    sampler = PairSampler(plan.pack, plan.protocol, seed=request.seed, device=device, labels=plan.labels)
    trainer = Trainer(plan.stages, modules, sampler, seed=request.seed, folder=Path())
    for stage in plan.stages:
        numbers = itertools.count()

        def draw(stage: Stage = stage, numbers: Iterator[int] = numbers) -> None:
            sampler.batch(stage.name, next(numbers), stage.batch, stage.views, stage.repeat_pairs)

        updated = {id(p): p for name in stage.updated for p in stage.modules[name].parameters()}
        size = sum(p.numel() for p in updated.values())
        timed = partial(
            _timed, role="strategy", name=cast(str, request.strategy), batch=stage.batch, device=device, effort=effort
        )
        rows.append(timed(draw, call=f"{stage.name}: sampler", parameters=0))
        rows.append(timed(trainer.timed_steps(stage), call=f"{stage.name}: step", parameters=size))
    stages = [{"name": stage.name, "steps": stage.steps, "batch": stage.batch} for stage in plan.stages]
    return rows, _facts(plan.pack, plan.protocol, device, plan.context.components) | {"stages": stages}


def _forwards(
    networks: Sequence[tuple[str, nn.Module]],
    test_pairs: TestPairs,
    batches: Sequence[int],
    precision: str,
    effort: Effort,
) -> Iterator[Measurement]:
    """Time ``register`` and ``translate``, without gradients."""
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

            timed = partial(_timed, role=role, name=name, batch=batch, parameters=size, device=device, effort=effort)
            yield timed(once, call=call)
            with torch.inference_mode(), _precision(device, precision):
                replay = capture_cuda_graph(_tensors_of(function), *images)
            if replay is not None:
                yield timed(partial(replay, *images), call=f"{call}, CUDA graph")


def _tensors_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A network's call with its result as a tuple of tensors."""

    def call(*images: Tensor) -> Any:
        output = function(*images)
        return (output.displacement, output.ok) if isinstance(output, Registration) else output

    return call


def _call(network: nn.Module) -> tuple[str, str, Callable[..., Any]]:
    """Role of a network, the name of what is called, and the call itself."""
    if isinstance(network, Translator):
        return "translator", "translate", network.translate
    assert isinstance(network, Registrator)
    return "registrator", "register", network.register


def _precision(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _as_in_runs(device: torch.device) -> None:
    """Serve memory on a CPU as a run does."""
    if device.type == "cpu":
        keep_freed_memory()


def _timed(
    function: Callable[[], Any],
    *,
    role: str,
    name: str,
    call: str,
    batch: int,
    parameters: int,
    device: torch.device,
    effort: Effort,
) -> Measurement:
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    timing = measure(function, warmup=effort.warmup, repeats=effort.repeats, sync=device_sync(device))
    return Measurement(
        role=role,
        name=name,
        call=call,
        batch=batch,
        parameters=parameters,
        median_ms=round(timing.median_ms, 4),
        iqr_ms=round(timing.iqr_ms, 4),
        pairs_per_s=round(1e3 * batch / timing.median_ms, 2),
        peak_memory_mb=round(torch.cuda.max_memory_allocated(device) / 2**20, 1) if cuda else None,
    )


def _facts(
    pack: Pack, protocol: Protocol, device: torch.device, components: Mapping[str, ConfiguredComponent | None]
) -> dict[str, Any]:
    """What was timed, and where."""
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "dataset": pack.name,
        "protocol": protocol.model_dump(mode="json"),
        "settings": {role: c.config.model_dump(mode="json") for role, c in components.items() if c is not None},
    }
