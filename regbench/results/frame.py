"""Finished runs as a table, a row a run, for analysis of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from regbench.errors import UsageError
from regbench.results.layout import RESULT
from regbench.results.schema import ROLES, Result
from regbench.results.store import find_runs, load_result

if TYPE_CHECKING:
    import pandas


def records(*folders: Path | str) -> list[dict[str, Any]]:
    """One flat record for each run at or below the folders, in order of their paths.

    Keys: ``run_id``, ``folder``, ``status``, ``verdict``; the names of the components and data sets; the protocol;
    every metric, with ``METRIC_low`` and ``METRIC_high`` where it has an interval; ``register_ms``, ``parameters``,
    ``train_seconds``; and every setting, as ``registrator.scales``.

    Raises:
        DataError: a ``result.json`` cannot be read.
    """
    runs = dict.fromkeys(run for folder in folders for run in find_runs(Path(folder)))
    return [_record(run, load_result(run / RESULT)) for run in runs]


def to_frame(*folders: Path | str) -> pandas.DataFrame:
    """The records as a DataFrame: ``to_frame("runs").groupby("strategy")["mace"].mean()``.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UsageError("a table of runs needs pandas: pip install pandas (or use regbench.results.records)") from None
    return pandas.DataFrame(records(*folders))


def _record(folder: Path, result: Result) -> dict[str, Any]:
    identity, protocol = result.identity, result.identity.protocol
    parts = identity.components
    row: dict[str, Any] = {
        "run_id": result.run_id,
        "folder": str(folder),
        "status": result.status,
        "verdict": result.verdict,
        **{role: parts[role].name if role in parts else None for role in ROLES},
        "train_dataset": identity.train_dataset.name if identity.train_dataset else None,
        "test_dataset": identity.test_dataset.name,
        "manifest_sha256": identity.test_dataset.manifest_sha256,
        "supervision": identity.supervision,
        "budget": identity.budget,
        "seed": identity.seed,
        **{name: getattr(protocol, name) for name in ("patch", "rho", "pairing", "source")},
    }
    for name, measure in result.metrics.items():
        row[name] = measure.value
        if measure.ci95 is not None:
            row[f"{name}_low"], row[f"{name}_high"] = measure.ci95
    row["register_ms"] = result.timing.get("register_ms")
    row["parameters"] = result.training.get("parameters")
    row["train_seconds"] = result.training.get("seconds")
    for role, part in parts.items():
        row |= {f"{role}.{name}": value for name, value in part.config.items()}
    return row
