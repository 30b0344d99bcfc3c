"""Executes a plan: train, judge, write. An ``ok`` run is not repeated, an interrupted one resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from regbench import __version__
from regbench.api.translator import Translator
from regbench.contained import refuse_links
from regbench.data.sampler import PairSampler
from regbench.data.test_pairs import TestPairs
from regbench.data.value_ranges import same_range
from regbench.disk import in_words, remove_leftovers
from regbench.errors import DataError, InterruptedRun, NewerError, PluginError, RegbenchError, UsageError
from regbench.evaluation.confidence import with_confidence
from regbench.evaluation.evaluator import Evaluator, judge
from regbench.evaluation.label_free import assess
from regbench.evaluation.stage_scores import StageScores
from regbench.evaluation.translation import assess_translation
from regbench.locks import HeldError, locked
from regbench.metrics import METRIC_VERSION
from regbench.metrics.memory import peak_mb
from regbench.plugins.blame import at_fault, exited
from regbench.plugins.others import third_party
from regbench.plugins.registry import registry
from regbench.report.figures.gallery import write_gallery
from regbench.results.layout import CHECKPOINT, CONFIG, DEPLOYS, GALLERY, LOCK, PAIRS, RESULT, WEIGHTS, remove_outcome
from regbench.results.pairs import Pairs, read_pairs, write_pairs
from regbench.results.provenance import collect, tf32
from regbench.results.remeasure import remeasure
from regbench.results.schema import Measure, Result
from regbench.results.store import load_result, write_json, write_result
from regbench.runs.plan import Plan
from regbench.runs.recovery import damage_of, trained_state
from regbench.runs.request import ROLES
from regbench.texts import one_line
from regbench.training.checkpoint import TrainingState
from regbench.training.cpu_memory import keep_freed_memory
from regbench.training.health import Health
from regbench.training.progress import Reporter
from regbench.training.seen import stage_record
from regbench.training.stage_cache import StageCache, code_hash
from regbench.training.trainer import Trainer
from regbench.weights.files import module_tensors, read_metadata, write_weights
from regbench.weights.used import file_sha256, known_weights_only

Train = Callable[..., TrainingState]
"""Trains the run in all its processes; takes the keyword arguments of :func:`_train`."""


def execute(plan: Plan, reporter: Reporter | None = None, *, force: bool = False) -> Result | None:
    """Train what the plan lists, judge what it deploys, and write the run's folder.

    Every process of the run calls this. All take part in the training, where there is any left to do; the first one
    alone judges, writes and reports.

    Args:
        plan: from :func:`regbench.runs.plan.make_plan`.
        reporter: what a person sees.
        force: forget an earlier outcome and start afresh.

    Returns:
        The result, freshly made or read from an earlier ``ok`` run; None in all processes but the first.

    Raises:
        RegbenchError: training or judging failed; a result that says so is written first.
    """
    if plan.context.device.type == "cpu":
        keep_freed_memory()
    return plan.context.world.led_by_first(
        partial(_execute, plan, reporter or Reporter(), force), together=partial(_train, plan)
    )


def _execute(plan: Plan, reporter: Reporter, force: bool, train: Train) -> Result:
    """The part of the first process: return an earlier result, or make one; a failure is recorded too."""
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RegbenchError(f"cannot write to {plan.folder}: {error.strerror}; choose another --out") from error
    refuse_links(plan.folder)
    with _locked(plan.folder):
        remove_leftovers(plan.folder)
        remove_leftovers(plan.folder / DEPLOYS)
        path = plan.folder / RESULT
        if force:
            remove_outcome(plan.folder)
        earlier = _earlier(plan, path, reporter)
        if earlier is not None and (damage := damage_of(plan.folder, earlier)) is None:
            if plan.confidence and read_pairs(plan.folder / PAIRS).confidence is None:
                raise UsageError(
                    f"{path} was made without --confidence; add --force to run it again, or leave --confidence out"
                )
            reporter.say(f"already done: {path} (--force runs it again)")
            return _of_present_metrics(plan, earlier, path)
        if earlier is not None:
            reporter.say(f"{damage}; made again from what is there")
        stages = [{"name": stage.name, "steps": stage.steps} for stage in plan.stages]
        config = json.loads(plan.identity.model_dump_json()) | {"run_id": plan.run_id, "stages": stages}
        write_json(plan.folder / CONFIG, config)
        try:
            result = _run(plan, reporter, train, earlier)
        except KeyboardInterrupt as error:
            if earlier is None:
                _record_failure(plan, path, "interrupted", "interrupted outside of training")
            raise InterruptedRun("interrupted; run the same command again") from error
        except SystemExit as error:  # a plugin's, for nothing here exits
            if earlier is None:
                _record_failure(plan, path, "failed", exited(error))
            raise PluginError(exited(error)) from error
        except Exception as error:
            if earlier is None:
                status = "interrupted" if isinstance(error, InterruptedRun) else "failed"
                _record_failure(plan, path, status, _reason(error))
            raise
        write_result(path, result)
        return result


def _earlier(plan: Plan, path: Path, reporter: Reporter) -> Result | None:
    """An earlier result of this run that is ok; None where there is none, or what there is cannot be read.

    Raises:
        DataError: it is of another run, or of a newer regbench.
    """
    if not path.is_file():
        return None
    try:
        earlier = load_result(path)
    except NewerError:
        raise
    except DataError as error:
        reporter.say(f"{str(error).partition(';')[0]}; it is made again from what is there")
        return None
    if earlier.status != "ok":
        return None
    if earlier.run_id != plan.run_id:
        raise DataError(f"{path} is of run {earlier.run_id}, not of {plan.run_id}; add --force to replace it")
    return earlier


def _reason(error: Exception) -> str:
    """Why a run failed, in one line."""
    if isinstance(error, OSError):
        return in_words(error)
    if isinstance(error, RegbenchError):
        return one_line(str(error))
    return one_line(f"{type(error).__name__}: {error}{at_fault(error)}")


def _of_present_metrics(plan: Plan, earlier: Result, path: Path) -> Result:
    """An earlier result; summarised again from its pairs where it is of an earlier metric version."""
    if earlier.identity.metric_version >= METRIC_VERSION:
        return earlier
    record = json.loads(path.read_text(encoding="utf-8"))
    remade = remeasure(record, read_pairs(plan.folder / PAIRS), _metrics())
    with suppress(OSError):  # on a disk that cannot be written to, the result is summarised at each look
        write_json(path, remade)
    return Result.model_validate(remade)


def _run(plan: Plan, reporter: Reporter, train: Train, earlier: Result | None = None) -> Result:
    """Train, judge, write everything but the result, and return that.

    What an earlier execution trained to its end is not trained again; ``earlier`` is its result, where it is known.
    """
    device = plan.context.device
    test_pairs = TestPairs(plan.pack, plan.manifest, plan.protocol, device)
    evaluator = Evaluator(test_pairs)
    scores = StageScores(plan.folder, evaluator, plan.run_id)
    state, whole = TrainingState(), False
    health: list[dict[str, Any]] = []
    pairs: Pairs | None = None
    if plan.stages:
        sampler, last = _sampler(plan), plan.stages[-1]
        watch = Health(plan.folder, sampler, plan.run_id)
        found = trained_state(plan, earlier)
        whole = found is not None
        if found is not None:
            state = found
        else:
            if earlier is not None and not (plan.folder / CHECKPOINT).is_file():
                raise DataError(
                    f"{plan.folder}: its {WEIGHTS} is lost and it has no {CHECKPOINT}: its training is lost; "
                    "add --force to train it again"
                )
            state = train(sampler=sampler, reporter=reporter, score=scores, watch=watch)
        for name in watch.missing(last):  # lost with a damaged file, as below
            watch(last.deploys[name], name, last, last.steps)
        for name, module in last.deploys.items():
            if scores.kept(last, module) is None:
                scores(module, name, last.name)
        if not last.deploys:  # such as a translator's stage, before a registrator that needs no training
            watch(plan.deployed, "deployed", last, last.steps)
        health = watch.summary(plan.stages)
        pairs = scores.kept(last, plan.deployed)
    weights_sha256 = file_sha256(plan.folder / WEIGHTS) if whole else _keep_weights(plan, state)
    if pairs is None:
        pairs = evaluator.pairs(plan.deployed)
    if plan.confidence:
        reporter.say("confidence of each test pair")
        pairs = with_confidence(test_pairs, plan.deployed, pairs)
    metrics, verdict = _judge(plan, test_pairs, pairs)
    write_pairs(plan.folder / PAIRS, pairs, {"run_id": plan.run_id})
    timing = evaluator.time(plan.deployed)
    training = _training_record(plan, state) | {"deploys": scores.summary(plan.stages), "health": health}
    translator = next((m for m in plan.context.modules.values() if isinstance(m, Translator)), None)
    if translator is not None and plan.stages:
        write_gallery(translator, *test_pairs.images(0, 6), plan.folder / GALLERY)
        if plan.pack.aligned:
            training["translation"] = assess_translation(test_pairs, translator)
    return Result(
        run_id=plan.run_id,
        status="ok",
        verdict=verdict,
        truth=plan.manifest.truth,
        identity=plan.identity,
        lineage=plan.lineage,
        metrics={name: Measure(**value) for name, value in metrics.items()},
        timing={"register_ms": timing.median_ms, "register_ms_iqr": timing.iqr_ms, "device": device.type},
        weights_sha256=weights_sha256,
        pairs_sha256=pairs.sha256,
        training=training,
        provenance=_provenance(plan),
    )


def _keep_weights(plan: Plan, state: TrainingState) -> str | None:
    """Write the weights the run is judged with, so that it can be opened again; their file's hash, None without any."""
    if not module_tensors(plan.context.modules):
        return None
    path = plan.folder / WEIGHTS
    write_weights(
        path,
        plan.context.modules,
        component=plan.identity.registrator.name,
        config=json.dumps(dict(plan.identity.registrator.config)),
        patch=str(plan.context.info.patch),
        run_id=plan.run_id,
        supervision=plan.identity.supervision,
        state=json.dumps(vars(state)),
        lineage=json.dumps(plan.lineage | {plan.run_id: plan.identity.model_dump(mode="json")}),
        **{f"range_{side}": text for side, text in learned_ranges(plan).items()},
    )
    return file_sha256(path)


def _train(plan: Plan, sampler: PairSampler | None = None, **first: Any) -> TrainingState:
    """Train the run's stages, in every process; ``first`` is what the first one reports, scores and watches with."""
    trainer = Trainer(
        plan.stages,
        plan.context.modules,
        sampler or _sampler(plan),
        seed=plan.identity.seed,
        folder=plan.folder,
        config=plan.trainer,
        stage_cache=stage_cache_of(plan),
        world=plan.context.world,
        bound=_binding(plan),
        **first,
    )
    components = (plan.identity.translator, plan.identity.registrator, plan.identity.strategy)
    with known_weights_only({sha256 for part in components if part for sha256 in part.files.values()}):
        return trainer.fit()


def _binding(plan: Plan) -> dict[str, str]:
    """What a checkpoint must have been made with for this run to go on from it."""
    device = plan.context.device.type
    facts = {"run_id": plan.run_id, "precision": plan.context.precision, "device": device}
    return facts if device == "cpu" else facts | {"tf32": json.dumps(tf32())}


def _sampler(plan: Plan) -> PairSampler:
    return PairSampler(
        plan.pack, plan.protocol, seed=plan.identity.seed, device=plan.context.device, labels=plan.labels
    )


def stage_cache_of(plan: Plan) -> StageCache | None:
    """The cache of stages the run has in common with others; None unless ``run.share`` names a folder."""
    if plan.trainer.share is None:
        return None
    identity = plan.identity.model_dump(mode="json")
    settings = ("translator", "train_dataset", "protocol", "seed", "budget", "ancestors", "supervision")
    translators = [module for module in plan.context.modules.values() if isinstance(module, Translator)]
    computed_by = {
        "pairs": asdict(plan.context.info),
        "precision": plan.context.precision,
        "device": str(plan.context.device.type),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "regbench": __version__,
        "code": code_hash("regbench", *(type(m).__module__.partition(".")[0] for m in translators)),
    }
    if plan.context.device.type != "cpu":
        computed_by["tf32"] = tf32()
    if plan.context.world.processes > 1:
        computed_by["processes"] = plan.context.world.processes
    basis = {name: identity[name] for name in settings} | computed_by
    return StageCache(plan.trainer.share, basis, identity["strategy"], plan.stages, plan.context.modules)


def _judge(plan: Plan, test_pairs: TestPairs, pairs: Pairs) -> tuple[dict[str, dict[str, Any]], Any]:
    """Metrics and verdict; without truth, the label-free metrics."""
    if plan.manifest.truth == "none":
        return assess(test_pairs, plan.deployed, pairs), "unjudged"
    return judge(pairs, _metrics())


def _metrics() -> dict[str, Any]:
    """The registered metrics by name."""
    return {c.name: c.load() for c in registry().all("metric")}


def _training_record(plan: Plan, state: TrainingState) -> dict[str, Any]:
    """How the run was trained, for ``result.json``."""
    stages = [stage_record(stage, plan.context.modules, state) for stage in plan.stages]
    pairs = [stage["pairs_seen"] for stage in stages]
    record = {
        "parameters": sum(p.numel() for p in plan.deployed.parameters()),
        "seconds": round(state.seconds, 3),
        "stages": stages,
        "pairs_seen": None if None in pairs else sum(pairs),
        "images_seen": sum(stage["images_seen"] for stage in stages),
        "budget": plan.budget.summary,
        "pairs": asdict(plan.context.info),
        "ranges": learned_ranges(plan),
        "precision": plan.context.precision,
        "of_no_paper": plan.unpublished_combination,
        "peak_memory_mb": round(peak_mb(), 1),
    }
    if plan.given is not None:
        record["weights"] = {"run_id": plan.given.run_id, "supervision": plan.given.supervision}
    if plan.context.device.type == "cuda":
        record["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(plan.context.device) / 2**20, 1)
    if plan.context.world.processes > 1:
        record["processes"] = plan.context.world.processes
    return record


def _provenance(plan: Plan) -> dict[str, Any]:
    """Code, machine, device; ``strategy``: what the strategy adds; ``third_party``: hashes of the code of others."""
    facts = dict(plan.strategy.provenance()) if plan.strategy else {}
    parts = {role: getattr(plan.identity, role) for role in ROLES}
    names = {role: part.name for role, part in parts.items() if part} | {"dataset": plan.pack.name}
    used = [component for role, name in names.items() if (component := registry().find(role, name)) is not None]
    more = {"strategy": facts, "third_party": third_party([*used, *registry().all("metric")])}
    return collect(device=plan.context.device.type) | {name: value for name, value in more.items() if value}


def learned_ranges(plan: Plan) -> dict[str, str]:
    """Which stored values of source and target the deployed network knows as black and white.

    A user's own images are read alike. Weights that are given say what they learned from; else it is the pack.
    """
    if plan.stages or plan.context.weights is None:
        return ranges_of(plan)
    metadata = read_metadata(plan.context.weights)
    return {side: metadata[f"range_{side}"] for side in ("source", "target") if f"range_{side}" in metadata}


def ranges_of(plan: Plan) -> dict[str, str]:
    """Which stored values of source and target are black and white in the plan's pack."""
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


def _record_failure(plan: Plan, path: Path, status: Any, reason: str) -> None:
    """Write a failed or interrupted run as a result; a full disk must not hide the first error."""
    result = Result(
        run_id=plan.run_id,
        status=status,
        reason=reason,
        identity=plan.identity,
        lineage=plan.lineage,
        provenance=collect(device=plan.context.device.type),
    )
    try:
        write_result(path, result)
    except (OSError, RegbenchError):
        return


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run's lock; raises RegbenchError where another process works on the run."""
    try:
        with locked(folder / LOCK, wait=False):
            yield
    except HeldError:
        raise RegbenchError(f"another process is working on {folder}; wait for it or choose another --out") from None
