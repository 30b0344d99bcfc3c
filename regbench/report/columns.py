"""The tables of a board: the columns of the main table, intervals over seeds, stale runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regbench.metrics.corner import verdict
from regbench.metrics.selective import at_coverage, aurc, excess_aurc, trusted, trusted_mace
from regbench.metrics.uncertainty import Images
from regbench.plugins.registry import registry
from regbench.report.board import Board
from regbench.report.ranking import RankedRow, Ranking
from regbench.report.table import DASH, Table, number, with_interval
from regbench.results.lineage import declared_unlabelled
from regbench.results.provenance import without_folders

METRICS_WITH_INTERVALS = {"mace": "MACE", "auc@3": "AUC@3", "auc@5": "AUC@5", "auc@10": "AUC@10", "auc@20": "AUC@20"}
"""Metrics that are shown with their intervals, and their heads."""
COVERAGES = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Shares of the pairs, the most confident ones, of which MACE is shown."""
VERDICTS = ("aligned", "collapsed", "diverged")
"""In ascending order of MACE over identity's MACE."""


@dataclass(frozen=True)
class Column:
    """A column of the main table."""

    head: str
    cell: Callable[[RankedRow], str]
    """The text of a row's cell."""
    value: Callable[[RankedRow], float | None] | None = None
    """The number by which rows are sorted; None for columns of words."""
    optional: bool = False
    """Left out where no row has a value."""


def main_table(ranking: Ranking) -> Table:
    """All rows of a section, numbered."""
    columns = columns_of(ranking)
    rows = [[str(n), *(c.cell(ranked) for c in columns)] for n, ranked in enumerate(ranking.rows, 1)]
    return Table(["#", *(c.head for c in columns)], [False, *(c.value is None for c in columns)], rows)


def columns_of(ranking: Ranking) -> list[Column]:
    """The columns of a section: those that runs of an earlier regbench leave empty are shown where one row has them."""
    return [c for c in COLUMNS if not c.optional or any(c.cell(ranked) != DASH for ranked in ranking.rows)]


def seed_table(ranking: Ranking) -> Table | None:
    """Intervals over seeds of the rows that have three or more; None where none has."""
    rows = []
    for n, ranked in enumerate(ranking.rows, 1):
        if ranked.seed_intervals.get("mace") is not None:
            cells = [
                with_interval(ranked.values[metric], ranked.seed_intervals[metric], digits(metric))
                for metric in METRICS_WITH_INTERVALS
            ]
            rows.append([str(n), str(ranked.names), str(len(ranked.row.finished)), *cells])
    heads = ["#", "row", "seeds", *METRICS_WITH_INTERVALS.values()]
    return Table(heads, [False, True, *[False] * (len(heads) - 2)], rows) if rows else None


def confidence_table(ranking: Ranking) -> Table | None:
    """Risk over coverage of the rows whose runs all have confidences, means over seeds; None where none has."""
    rows = []
    for n, ranked in enumerate(ranking.rows, 1):
        errors = [run.pairs.errors for run in ranked.row.finished if run.pairs is not None]
        if not errors or any(e.confidence is None for e in errors):
            continue
        images = Images(errors[0].image)
        bounds = images.metric(aurc, errors[0]) if len(errors) == 1 else None
        risks = [number(float(np.mean([at_coverage(e, share) for e in errors]))) for share in COVERAGES]
        found = with_interval(float(np.mean([aurc(e) for e in errors])), bounds)
        scores = (np.mean([metric(e) for e in errors]) for metric in (excess_aurc, trusted, trusted_mace))
        excess, share, mace = (float(score) for score in scores)
        told = [found, number(excess), number(share, 1), DASH if np.isnan(mace) else number(mace)]
        rows.append([str(n), str(ranked.names), *risks, *told])
    heads = ["#", "row", *(f"MACE of {100 * share:.0f} %" for share in COVERAGES)]
    heads += ["AURC", "above best order", "trusted %", "MACE of trusted"]
    return Table(heads, [False, True, *[False] * (len(heads) - 2)], rows) if rows else None


def stale_table(board: Board) -> Table:
    """Runs that no section holds, and why."""
    heads = ["run", "translator", "registrator", "strategy", "test set", "manifest", "MACE then", "why stale"]
    rows = []
    for result, why in sorted(board.stale, key=lambda item: item[0].run_id):
        i, test, mace = result.identity, result.identity.test_dataset, result.metrics.get("mace")
        components = [c.name if c else DASH for c in (i.translator, i.registrator, i.strategy)]
        then = number(mace.value if mace else None)
        rows.append([result.run_id, *components, test.name, test.manifest_sha256[:12], then, why])
    return Table(heads, [True] * len(heads), rows)


def digits(metric: str) -> int:
    """Number of decimals of a metric: two for pixels, one for percent."""
    return 2 if metric == "mace" else 1


def verdict_of(ranked: RankedRow) -> str:
    """Every verdict within the interval of MACE over identity's MACE, ``open`` without one; why a row failed."""
    if not ranked.values:
        first = ranked.row.failures[0]
        return f"{first.status}: {' '.join(without_folders(word) for word in str(first.reason).split())}"
    if is_identity(ranked):
        return "doing nothing"
    if ranked.ratio_interval is None:
        return "open"
    ends = [VERDICTS.index(verdict(ratio, 1.0)) for ratio in ranked.ratio_interval]
    return " or ".join(VERDICTS[min(ends) : max(ends) + 1])


def trust_of(ranked: RankedRow) -> str:
    """``recomputed`` where the weights of all runs gave their pairs again, else ``submitted``; a dash without any."""
    finished = ranked.row.finished
    if not finished:
        return DASH
    again = sum(run.recomputed for run in finished)
    words = (
        "recomputed" if again == len(finished) else f"recomputed {again} of {len(finished)}" if again else "submitted"
    )
    return f"{words}, weights as declared" if any(declared_unlabelled(run.result) for run in finished) else words


def is_identity(ranked: RankedRow) -> bool:
    """Whether the row does nothing, and so is the line every method must beat.

    The registrator is registered as the control ``identity``; where it is not installed, its errors tell.
    """
    registered = registry().find("registrator", ranked.row.identity.registrator.name)
    if registered is None:
        return ranked.row.identity.strategy is None and ranked.ratio == 1 and not ranked.values["failed"]
    return registered.control == "identity"


def is_control(ranked: RankedRow) -> bool:
    """Whether the row shows what is learned without a translator.

    The strategy is registered as the control ``no-translator``; where it is not installed, every row that was trained
    without labels, translator and teacher counts.
    """
    identity = ranked.row.identity
    if identity.translator is not None or identity.strategy is None:
        return False
    registered = registry().find("strategy", identity.strategy.name)
    if registered is None:
        return identity.supervision == "none" and not identity.ancestors
    return registered.control == "no-translator"


def peak_memory(ranked: RankedRow) -> tuple[float, str] | None:
    """Peak memory of the run in MB, training included: ``GPU`` where one was used, else ``RAM`` of the process."""
    for name, where in (("peak_gpu_memory_mb", "GPU"), ("peak_memory_mb", "RAM")):
        megabytes = ranked.row.mean_over_runs("training", name)
        if megabytes is not None:
            return megabytes, where
    return None


def _score_column(metric: str, head: str) -> Column:
    def cell(ranked: RankedRow) -> str:
        value, bounds = ranked.values.get(metric), ranked.intervals.get(metric)
        return with_interval(value, bounds if metric in METRICS_WITH_INTERVALS else None, digits(metric))

    return Column(head, cell, lambda ranked: ranked.values.get(metric))


def _measurement_column(
    head: str,
    block: Literal["timing", "training"],
    name: str,
    unit: float,
    decimals: int,
    suffix: str = "",
    *,
    optional: bool = False,
) -> Column:
    def cell(ranked: RankedRow) -> str:
        mean = ranked.row.mean_over_runs(block, name)
        return DASH if mean is None else number(mean / unit, decimals) + suffix

    return Column(head, cell, lambda ranked: ranked.row.mean_over_runs(block, name), optional)


def _ratio(ranked: RankedRow) -> str:
    return with_interval(ranked.ratio, ranked.ratio_interval) if ranked.values else DASH


def _seeds(ranked: RankedRow) -> str:
    row = ranked.row
    few = " (fewer than 3)" if row.identity.strategy and len(row.finished) < 3 else ""
    failed = f", {len(row.failures)} failed" if row.failures else ""
    return f"{len(row.finished)}{few}{failed}"


def _memory(ranked: RankedRow) -> str:
    peak = peak_memory(ranked)
    return f"{number(peak[0] / 1000, 1)} GB {peak[1]}" if peak else DASH


COLUMNS: tuple[Column, ...] = (
    Column("rank", lambda r: DASH if r.rank is None else str(r.rank), lambda r: r.rank),
    Column("translator", lambda r: r.names.translator or DASH),
    Column("registrator", lambda r: r.names.registrator),
    Column("strategy", lambda r: r.names.strategy or DASH),
    Column("supervision", lambda r: r.row.identity.supervision),
    Column("pairing", lambda r: r.row.identity.protocol.pairs_in_words),
    Column("budget", lambda r: r.row.identity.budget),
    Column("trained on", lambda r: r.names.trained_on or DASH),
    Column("seeds", _seeds, lambda r: float(len(r.row.finished))),
    *(_score_column(metric, head) for metric, head in METRICS_WITH_INTERVALS.items()),
    Column("× identity", _ratio, lambda r: r.ratio if r.values else None),
    _score_column("worse_than_identity", "worse %"),
    _score_column("failed", "failed %"),
    _measurement_column("parameters", "training", "parameters", unit=1e6, decimals=2, suffix=" M"),
    _measurement_column("ms/pair", "timing", "register_ms", unit=1, decimals=1),
    Column("memory", _memory, lambda r: (peak_memory(r) or (None,))[0]),
    _measurement_column("pairs seen (R)", "training", "pairs_seen", unit=1, decimals=0, optional=True),
    _measurement_column("images seen (T)", "training", "images_seen", unit=1, decimals=0, optional=True),
    _measurement_column("train s", "training", "seconds", unit=1, decimals=0),
    Column("verdict", verdict_of),
    Column("trust", trust_of),
)
