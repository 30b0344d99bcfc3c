"""What is left of a run whose files were damaged or lost, and what can be made again from it.

Weights at the end of a training are enough to judge a run again; a checkpoint is enough to write the weights again.
"""

from __future__ import annotations

from pathlib import Path

from regbench.errors import DataError
from regbench.results.layout import PAIRS, WEIGHTS
from regbench.results.pairs import read_pairs
from regbench.results.schema import Result
from regbench.runs.plan import Plan
from regbench.training.checkpoint import TrainingState
from regbench.weights.files import load_modules, read_tensors
from regbench.weights.used import file_sha256


def damage_of(folder: Path, result: Result) -> str | None:
    """What of a finished run's files is lost or not what it was judged with, in one line; None where all is whole."""
    try:
        pairs = read_pairs(folder / PAIRS, {"run_id": result.run_id})
        if result.pairs_sha256 is not None and pairs.sha256 != result.pairs_sha256:
            return f"{folder / PAIRS} does not hold the pairs of the result"
        if result.weights_sha256 is not None and file_sha256(folder / WEIGHTS) != result.weights_sha256:
            return f"{folder / WEIGHTS} holds other weights than the run was judged with"
    except DataError as error:
        return str(error).partition(";")[0]
    return None


def trained_state(plan: Plan, earlier: Result | None) -> TrainingState | None:
    """Load what an earlier execution of a plan trained to its end.

    Args:
        plan: its modules are loaded.
        earlier: the result of that execution, where it can be read.

    Returns:
        How far training is; None where the weights are not there or not whole, so that the checkpoint is looked at.
    """
    path = plan.folder / WEIGHTS
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path)
        if metadata.get("run_id") != plan.run_id:
            return None
        if earlier is not None and earlier.weights_sha256 is not None and file_sha256(path) != earlier.weights_sha256:
            return None
        state = TrainingState.from_json(metadata["state"]) if "state" in metadata else _recorded(plan, earlier)
        if state is not None and state.stage == len(plan.stages):
            load_modules(plan.context.modules, tensors, path)
            return state
    except (DataError, ValueError, TypeError):
        pass
    return None


def _recorded(plan: Plan, earlier: Result | None) -> TrainingState | None:
    """The state that an earlier result tells of; an earlier regbench did not write it into the weights."""
    if earlier is None:
        return None
    seconds = {stage["name"]: float(stage["seconds"]) for stage in earlier.training.get("stages", [])}
    return TrainingState(len(plan.stages), 0, float(earlier.training.get("seconds", 0)), seconds)
