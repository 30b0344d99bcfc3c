"""Makes the outcome of a plan: trains what is left to train, keeps the weights, judges, and fills in the result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from regbench.api.translator import Translator
from regbench.data.test_pairs import TestPairs
from regbench.errors import DataError
from regbench.evaluation.confidence import with_confidence
from regbench.evaluation.evaluator import Evaluator, judge
from regbench.evaluation.label_free import assess
from regbench.evaluation.stage_scores import StageScores
from regbench.evaluation.translation import assess_translation
from regbench.metrics.types import Metric
from regbench.plugins.registry import registry
from regbench.report.figures.gallery import write_gallery
from regbench.results.layout import CHECKPOINT, GALLERY, PAIRS, WEIGHTS
from regbench.results.pairs import Pairs, write_pairs
from regbench.results.schema import Measure, Result
from regbench.runs.learning import Train, sampler_of
from regbench.runs.plan import Plan
from regbench.runs.record import learned_ranges, provenance_of, training_record
from regbench.runs.recovery import trained_state
from regbench.training.checkpoint import TrainingState
from regbench.training.health import Health
from regbench.training.progress import Reporter
from regbench.weights.files import module_tensors, write_weights
from regbench.weights.used import file_sha256


@dataclass(frozen=True)
class _Trained:
    """What training left; that of a plan without stages by default.

    Attributes:
        state: how far it came.
        kept: whether the weights file holds it already.
        health: for the result.
        pairs: the estimates of what is deployed, where the last stage's end kept them.
    """

    state: TrainingState = field(default_factory=TrainingState)
    kept: bool = False
    health: list[dict[str, Any]] = field(default_factory=list)
    pairs: Pairs | None = None


def outcome_of(plan: Plan, reporter: Reporter, train: Train, earlier: Result | None = None) -> Result:
    """Train, judge, write everything but the result, and return that.

    Args:
        plan: of the run.
        reporter: what a person sees.
        train: trains the stages.
        earlier: the result of an execution that trained them to their end, where it can be read: they are not trained
            again.
    """
    device = plan.context.device
    test_pairs = TestPairs(plan.pack, plan.manifest, plan.protocol, device)
    evaluator = Evaluator(test_pairs)
    scores = StageScores(plan.folder, evaluator, plan.run_id)
    trained = _trained(plan, reporter, train, earlier, scores) if plan.stages else _Trained()
    weights_sha256 = file_sha256(plan.folder / WEIGHTS) if trained.kept else _keep_weights(plan, trained.state)
    pairs = evaluator.pairs(plan.deployed) if trained.pairs is None else trained.pairs
    if plan.confidence:
        reporter.say("confidence of each test pair")
        pairs = with_confidence(test_pairs, plan.deployed, pairs)
    metrics, verdict = _judge(plan, test_pairs, pairs)
    write_pairs(plan.folder / PAIRS, pairs, {"run_id": plan.run_id})
    timing = evaluator.time(plan.deployed)
    training = training_record(plan, trained.state)
    training |= {"deploys": scores.summary(plan.stages), "health": trained.health}
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
        provenance=provenance_of(plan),
    )


def _trained(plan: Plan, reporter: Reporter, train: Train, earlier: Result | None, scores: StageScores) -> _Trained:
    """Load what was trained to its end, or train; make again what files of the last stage's end are lost.

    Raises:
        DataError: it was trained to its end, and neither weights nor checkpoint are there any more.
    """
    sampler, last = sampler_of(plan), plan.stages[-1]
    watch = Health(plan.folder, sampler, plan.run_id)
    found = trained_state(plan, earlier)
    if found is None and earlier is not None and not (plan.folder / CHECKPOINT).is_file():
        raise DataError(
            f"{plan.folder}: its {WEIGHTS} is lost and it has no {CHECKPOINT}: its training is lost; "
            "add --force to train it again"
        )
    state = train(sampler=sampler, reporter=reporter, score=scores, watch=watch) if found is None else found
    for name in watch.missing(last):
        watch(last.deploys[name], name, last, last.steps)
    for name, module in last.deploys.items():
        if scores.kept(last, module) is None:
            scores(module, name, last.name)
    if not last.deploys:  # such as a translator's stage, before a registrator that needs no training
        watch(plan.deployed, "deployed", last, last.steps)
    return _Trained(state, found is not None, watch.summary(plan.stages), scores.kept(last, plan.deployed))


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


def _judge(plan: Plan, test_pairs: TestPairs, pairs: Pairs) -> tuple[dict[str, dict[str, Any]], Any]:
    """Metrics and verdict; without truth, the label-free metrics."""
    if plan.manifest.truth == "none":
        return assess(test_pairs, plan.deployed, pairs), "unjudged"
    return judge(pairs, registered_metrics())


def registered_metrics() -> dict[str, Metric]:
    """The registered metrics by name."""
    return {c.name: c.load() for c in registry().all("metric")}
