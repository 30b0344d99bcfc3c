"""How far a number can be trusted: printed in a paper, submitted with its pairs, or computed again from the weights.

``<run_id>.recomputed.json`` beside a result says that ``regbench leaderboard verify`` opened the run, estimated the
test pairs again with its weights, and came to the pairs of the board. It is bound to them by their hash.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regbench.errors import DataError
from regbench.results.schema import RunId, Sha256

MARK = ".recomputed.json"
"""How the name of a mark ends, after the run id."""


class Mark(BaseModel):
    """What ``regbench leaderboard verify`` found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: RunId
    pairs_sha256: Sha256
    """Hash of the content of the board's pairs."""
    weights_sha256: Sha256 | None
    """Of the weights that gave them again; None for a method that has none."""
    agree: Annotated[float, Field(ge=0, le=1)]
    """Share of pairs whose estimates agree."""
    mace: float
    """As computed again, px."""
    provenance: dict[str, Any]
    """Of the machine that computed."""


def records_in(folder: Path) -> list[Path]:
    """``<run_id>.json`` of every run in the folder of a board, without the marks beside them."""
    return sorted(path for path in folder.glob("*.json") if not path.name.endswith(MARK))


def mark_of(result: Path) -> Path:
    """Where the mark of a board's ``<run_id>.json`` lies."""
    return result.with_name(result.stem + MARK)


def read_mark(path: Path) -> Mark:
    """Read a mark; raises DataError where it is none."""
    try:
        return Mark.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else type(error).__name__
        raise DataError(
            f"{path} is no mark of a run that was computed again ({reason}); verify the run again"
        ) from None
