"""Executes a plan: train, judge, write. An ``ok`` run is not repeated, an interrupted one resumes."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from regbench import __version__
from regbench.api.translator import Translator
from regbench.data.sampler import PairSampler
from regbench.data.test_pairs import TestPairs
from regbench.data.value_ranges import same_range
from regbench.errors import InterruptedRun, RegbenchError
from regbench.evaluation.evaluator import Evaluator, judge
from regbench.evaluation.label_free import assess
from regbench.evaluation.stage_scores import FOLDER as DEPLOYS
from regbench.evaluation.stage_scores import Deploys
from regbench.evaluation.translation import assess_translation
from regbench.metrics.memory import peak_mb
from regbench.plugins.registry import registry
from regbench.report.figures.gallery import write_gallery
from regbench.results.lineage import lineage_of
from regbench.results.pairs import Pairs, write_pairs
from regbench.results.provenance import collect
from regbench.results.schema import Measure, Result
from regbench.results.store import CONFIG, PAIRS, RESULT, load_result, write_json, write_result
from regbench.runs.plan import Plan
from regbench.training.health import FILE as HEALTH
from regbench.training.health import Health
from regbench.training.progress import Quiet, Reporter
from regbench.training.stage_cache import SharedStages
from regbench.training.trainer import Trainer
from regbench.weights.checkpoint import TrainingState, module_tensors, write_tensors

WEIGHTS = "weights.safetensors"


def execute(plan: Plan, reporter: Reporter | None = None, *, force: bool = False) -> Result:
    """Train what the plan lists, judge what it deploys, and write the run's folder.

    Args:
        plan: from :func:`regbench.runs.plan.make_plan`.
        reporter: what a person sees.
        force: forget an earlier outcome and start afresh.

    Returns:
        The result, freshly made or read from an earlier ``ok`` run.

    Raises:
        RegbenchError: training or judging failed; a result that says so is written first.
    """
    reporter = reporter or Quiet()
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RegbenchError(f"cannot write to {plan.folder}: {error.strerror}; choose another --out") from error
    with _locked(plan.folder):
        path = plan.folder / RESULT
        if force:
            _forget(plan.folder)
        if path.is_file() and (earlier := load_result(path)).status == "ok":
            reporter.say(f"already done: {path} (--force runs it again)")
            plan.context.world.of_first(False)
            return earlier
        write_json(plan.folder / CONFIG, json.loads(plan.identity.model_dump_json()) | {"run_id": plan.run_id})
        try:
            result = _run(plan, reporter)
        except KeyboardInterrupt as error:
            _record(plan, path, "interrupted", "interrupted before the first step")
            raise InterruptedRun("interrupted; run the same command again") from error
        except Exception as error:
            reason = str(error) if isinstance(error, RegbenchError) else f"{type(error).__name__}: {error}"
            status = "interrupted" if isinstance(error, InterruptedRun) else "failed"
            _record(plan, path, status, " ".join(reason.split()))
            raise
        write_result(path, result)
        return result


def assist(plan: Plan) -> None:
    """What every process but the first does for a run: its share of the training, where there is any left to do."""
    world = plan.context.world
    if world.of_first(False):
        _trainer(plan, _sampler(plan)).fit()


def _run(plan: Plan, reporter: Reporter) -> Result:
    device = plan.context.device
    plan.context.world.of_first(bool(plan.stages))
    test_pairs = TestPairs(plan.pack, plan.manifest, plan.protocol, device)
    evaluator = Evaluator(test_pairs)
    state, deploys = TrainingState(), Deploys(plan.folder, evaluator)
    health: list[dict[str, Any]] = []
    pairs: Pairs | None = None
    if plan.stages:
        sampler = _sampler(plan)
        watch = Health(plan.folder, sampler)
        state = _trainer(plan, sampler, reporter=reporter, score=deploys, watch=watch).fit()
        if not plan.stages[-1].deploys:  # such as a translator's stage, before a registrator that needs no training
            watch(plan.deployed, "deployed", plan.stages[-1], plan.stages[-1].steps)
        health = watch.summary(plan.stages)
        pairs = deploys.kept(plan.stages[-1], plan.deployed)
        metadata = {
            "format": "regbench-weights",
            "component": plan.identity.registrator.name,
            "run_id": plan.run_id,
            "supervision": plan.identity.supervision,
            **{f"range_{side}": text for side, text in ranges_of(plan).items()},
        }
        write_tensors(plan.folder / WEIGHTS, module_tensors(plan.context.modules), metadata)
    if pairs is None:
        pairs = evaluator.pairs(plan.deployed)
    metrics, verdict = _judged(plan, test_pairs, pairs)
    write_pairs(plan.folder / PAIRS, pairs)
    timing = evaluator.time(plan.deployed)
    return Result(
        run_id=plan.run_id,
        status="ok",
        verdict=verdict,
        truth=plan.manifest.truth,
        identity=plan.identity,
        lineage=lineage_of(ancestor.result for ancestor in plan.context.ancestors),
        metrics={name: Measure(**value) for name, value in metrics.items()},
        timing={"register_ms": timing.median_ms, "register_ms_iqr": timing.iqr_ms, "device": device.type},
        training=_training(plan, state)
        | {"deploys": deploys.summary(plan.stages), "health": health}
        | _translations(plan, test_pairs),
        provenance=collect() | _told(plan),
    )


def _sampler(plan: Plan) -> PairSampler:
    return PairSampler(
        plan.pack, plan.protocol, seed=plan.identity.seed, device=plan.context.device, labels=plan.labels
    )


def _trainer(plan: Plan, sampler: PairSampler, **seen: Any) -> Trainer:
    """The run's trainer; ``seen`` is what else the first process gives it, to report and to judge."""
    return Trainer(
        plan.stages,
        plan.context.modules,
        sampler,
        seed=plan.identity.seed,
        folder=plan.folder,
        config=plan.trainer,
        shared=shared_stages(plan),
        world=plan.context.world,
        **seen,
    )


def _translations(plan: Plan, test_pairs: TestPairs) -> dict[str, Any]:
    """The gallery of the run's translator and, where the truth is known, how good it is; nothing without one."""
    translator = next((m for m in plan.context.modules.values() if isinstance(m, Translator)), None)
    if translator is None:
        return {}
    write_gallery(translator, *test_pairs.images(0, 6), plan.folder / "gallery.png")
    return {"translation": assess_translation(test_pairs, translator)} if plan.pack.aligned else {}


def shared_stages(plan: Plan) -> SharedStages | None:
    """Where the run finds and leaves stages it has in common with others; None unless a folder is named."""
    if plan.trainer.share is None:
        return None
    identity = plan.identity.model_dump(mode="json")
    decides = ("translator", "strategy", "train_dataset", "protocol", "seed", "budget", "ancestors", "supervision")
    computed = {
        "pairs": asdict(plan.context.info),
        "precision": plan.context.precision,
        "device": str(plan.context.device.type),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "regbench": __version__,
    }
    if plan.context.world.processes > 1:
        computed["processes"] = plan.context.world.processes
    basis = {name: identity[name] for name in decides} | computed
    return SharedStages(plan.trainer.share, basis, plan.stages, plan.context.modules)


def _told(plan: Plan) -> dict[str, Any]:
    """What the strategy says of how it was done, under ``strategy``; nothing when it has nothing to say."""
    facts = dict(plan.strategy.provenance()) if plan.strategy else {}
    return {"strategy": facts} if facts else {}


def _judged(plan: Plan, test_pairs: TestPairs, pairs: Pairs) -> tuple[dict[str, dict[str, Any]], Any]:
    """Metrics and verdict; without truth, what can be said without it."""
    if plan.manifest.truth == "none":
        return assess(test_pairs, plan.deployed, pairs), "unjudged"
    return judge(pairs, {c.name: c.load() for c in registry().all("metric")})


def _training(plan: Plan, state: TrainingState) -> dict[str, Any]:
    peak = {"peak_memory_mb": round(peak_mb(), 1)}
    if plan.context.device.type == "cuda":
        peak["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(plan.context.device) / 2**20, 1)
    if plan.context.world.processes > 1:
        peak["processes"] = plan.context.world.processes
    return {
        "parameters": sum(p.numel() for p in plan.deployed.parameters()),
        "seconds": round(state.seconds, 3),
        "stages": [
            {
                "name": s.name,
                "steps": s.steps,
                "batch": s.batch,
                "seconds": round(state.stage_seconds.get(s.name, 0), 3),
            }
            for s in plan.stages
        ],
        "budget": plan.budget.summary,
        "pairs": asdict(plan.context.info),
        "ranges": ranges_of(plan),
        "precision": plan.context.precision,
        "of_no_paper": plan.of_no_paper,
        **peak,
    }


def ranges_of(plan: Plan) -> dict[str, str]:
    """Which stored values of source and target were black and white; a user's own images are read alike."""
    a, b = plan.pack.recorded_ranges
    return {"source": a, "target": b} if plan.protocol.source == "A" else {"source": b, "target": a}


def other_ranges(plan: Plan, recorded: Mapping[str, str]) -> list[str]:
    """A line for each side that a plan reads with another value range than its network learned with.

    Args:
        plan: of a finished run on a data set.
        recorded: the ranges of source and target it learned with; empty where nothing is known.
    """
    letters = "AB" if plan.protocol.source == "A" else "BA"
    return [
        f"warning: the {side} was read with {recorded[side]} when this network learned, and is read with {own} here; "
        f"if the sensor is the same, add --set dataset.range_{letter.lower()}={recorded[side].partition(' of ')[0]}"
        for letter, (side, own) in zip(letters, ranges_of(plan).items(), strict=True)
        if side in recorded and not same_range(recorded[side], own)
    ]


def _record(plan: Plan, path: Path, status: Any, reason: str) -> None:
    """Keep a failed or interrupted run as a row; a full disk must not hide the first error."""
    result = Result(
        run_id=plan.run_id,
        status=status,
        reason=reason,
        identity=plan.identity,
        lineage=lineage_of(ancestor.result for ancestor in plan.context.ancestors),
        provenance=collect(),
    )
    try:
        write_result(path, result)
    except (OSError, RegbenchError):
        return


def _forget(folder: Path) -> None:
    for name in (RESULT, PAIRS, "checkpoint.safetensors", "log.jsonl", "curve.jsonl", HEALTH, WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / DEPLOYS, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two processes must not work on one run."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RegbenchError(
                f"another process is working on {folder}; wait for it or choose another --out"
            ) from None
        yield
