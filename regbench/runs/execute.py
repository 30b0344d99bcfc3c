"""Executes a plan: train, judge, write. An ``ok`` run is not repeated, an interrupted one resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from regbench.contained import refuse_links
from regbench.disk import in_words, remove_leftovers
from regbench.errors import DataError, InterruptedRun, NewerError, PluginError, RegbenchError, UsageError
from regbench.locks import HeldError, locked
from regbench.metrics import METRIC_VERSION
from regbench.plugins.blame import at_fault, exited
from regbench.results.layout import CONFIG, DEPLOYS, LOCK, PAIRS, RESULT, remove_outcome
from regbench.results.pairs import read_pairs
from regbench.results.provenance import collect
from regbench.results.remeasure import remeasure
from regbench.results.schema import Result
from regbench.results.store import load_result, write_json, write_result
from regbench.runs.learning import Train, train_plan
from regbench.runs.outcome import outcome_of, registered_metrics
from regbench.runs.plan import Plan
from regbench.runs.recovery import damage_of
from regbench.texts import one_line
from regbench.training.cpu_memory import keep_freed_memory
from regbench.training.progress import Reporter


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
        partial(_execute, plan, reporter or Reporter(), force), together=partial(train_plan, plan)
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
            result = outcome_of(plan, reporter, train, earlier)
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
    remade = remeasure(record, read_pairs(plan.folder / PAIRS), registered_metrics())
    with suppress(OSError):  # on a disk that cannot be written to, the result is summarised at each look
        write_json(path, remade)
    return Result.model_validate(remade)


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
