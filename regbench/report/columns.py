"""The columns of a board: what each is called, how it reads, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from regbench.metrics.corner import verdict
from regbench.plugins.registry import registry
from regbench.report.ranking import Ranked, Ranking
from regbench.report.render import tables
from regbench.report.render.tables import NONE, Table
from regbench.results.provenance import without_folders

SHOWN = {"mace": "MACE", "auc@3": "AUC@3", "auc@5": "AUC@5", "auc@10": "AUC@10", "auc@20": "AUC@20"}
"""Metrics that stand with their intervals."""
VERDICTS = ("aligned", "collapsed", "diverged")
"""In the order of MACE over identity's MACE."""


@dataclass(frozen=True)
class Column:
    """A column of the main table."""

    head: str
    cell: Callable[[Ranked], str]
    value: Callable[[Ranked], float | None] | None = None
    """What the column is sorted by; None for columns of words."""


def main_table(ranking: Ranking) -> Table:
    """All rows of a section, numbered."""
    rows = [[str(n), *(c.cell(ranked) for c in COLUMNS)] for n, ranked in enumerate(ranking.rows, 1)]
    return Table(["#", *(c.head for c in COLUMNS)], [False, *(c.value is None for c in COLUMNS)], rows)


def seed_table(ranking: Ranking) -> Table | None:
    """Intervals over seeds of the rows that have three or more; None where none has."""
    rows = []
    for n, ranked in enumerate(ranking.rows, 1):
        if ranked.seed_intervals.get("mace") is not None:
            cells = [tables.with_interval(ranked.values[m], ranked.seed_intervals[m], digits(m)) for m in SHOWN]
            rows.append([str(n), str(ranked.names), str(len(ranked.row.finished)), *cells])
    heads = ["#", "row", "seeds", *SHOWN.values()]
    return Table(heads, [False, True, *[False] * (len(heads) - 2)], rows) if rows else None


def digits(metric: str) -> int:
    """Decimals of a metric: pixels have two, percent one."""
    return 2 if metric == "mace" else 1


def verdict_of(ranked: Ranked) -> str:
    """Every verdict that the interval of MACE over identity's reaches; of a failed row, its reason."""
    if not ranked.values:
        first = ranked.row.failures[0]
        return f"{first.status}: {' '.join(without_folders(word) for word in str(first.reason).split())}"
    if is_identity(ranked):
        return "doing nothing"
    low, high = ranked.ratio_interval or (ranked.ratio, ranked.ratio)
    ends = [VERDICTS.index(verdict(ratio, 1.0)) for ratio in (low, high)]
    return " or ".join(VERDICTS[min(ends) : max(ends) + 1])


def is_identity(ranked: Ranked) -> bool:
    """Whether the row does nothing, and so is the line every method must beat.

    The registrator is registered as the control ``identity``; where it is not installed, its errors tell.
    """
    registered = registry().find("registrator", ranked.row.identity.registrator.name)
    if registered is None:
        return ranked.row.identity.strategy is None and ranked.ratio == 1 and not ranked.values["failed"]
    return registered.control == "identity"


def is_control(ranked: Ranked) -> bool:
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


def memory(ranked: Ranked) -> tuple[float, str] | None:
    """Peak memory in MB, and of what: the GPU where one was used, else the whole process; training included."""
    for name, where in (("peak_gpu_memory_mb", "GPU"), ("peak_memory_mb", "RAM")):
        found = ranked.row.mean_of("training", name)
        if found is not None:
            return found, where
    return None


def _score(metric: str, head: str) -> Column:
    def cell(ranked: Ranked) -> str:
        value, bounds = ranked.values.get(metric), ranked.intervals.get(metric)
        return tables.with_interval(value, bounds if metric in SHOWN else None, digits(metric))

    return Column(head, cell, lambda ranked: ranked.values.get(metric))


def _measured(head: str, block: str, name: str, unit: float, decimals: int, suffix: str = "") -> Column:
    def cell(ranked: Ranked) -> str:
        found = ranked.row.mean_of(block, name)
        return NONE if found is None else tables.number(found / unit, decimals) + suffix

    return Column(head, cell, lambda ranked: ranked.row.mean_of(block, name))


def _ratio(ranked: Ranked) -> str:
    return tables.with_interval(ranked.ratio, ranked.ratio_interval) if ranked.values else NONE


def _seeds(ranked: Ranked) -> str:
    row = ranked.row
    few = " (fewer than 3)" if row.identity.strategy and len(row.finished) < 3 else ""
    failed = f", {len(row.failures)} failed" if row.failures else ""
    return f"{len(row.finished)}{few}{failed}"


def _memory(ranked: Ranked) -> str:
    found = memory(ranked)
    return f"{tables.number(found[0] / 1000, 1)} GB {found[1]}" if found else NONE


COLUMNS: tuple[Column, ...] = (
    Column("rank", lambda r: NONE if r.rank is None else str(r.rank), lambda r: r.rank),
    Column("translator", lambda r: r.names.translator or NONE),
    Column("registrator", lambda r: r.names.registrator),
    Column("strategy", lambda r: r.names.strategy or NONE),
    Column("supervision", lambda r: r.row.identity.supervision),
    Column("pairing", lambda r: r.row.identity.protocol.pairs_in_words),
    Column("budget", lambda r: r.row.identity.budget),
    Column("trained on", lambda r: r.names.trained_on or NONE),
    Column("seeds", _seeds, lambda r: float(len(r.row.finished))),
    *(_score(metric, head) for metric, head in SHOWN.items()),
    Column("× identity", _ratio, lambda r: r.ratio if r.values else None),
    _score("worse_than_identity", "worse %"),
    _score("failed", "failed %"),
    _measured("parameters", "training", "parameters", 1e6, 2, " M"),
    _measured("ms/pair", "timing", "register_ms", 1, 1),
    Column("memory", _memory, lambda r: (memory(r) or (None,))[0]),
    _measured("training", "training", "seconds", 60, 1, " min"),
    Column("verdict", verdict_of),
)
