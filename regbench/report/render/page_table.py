"""The main table of a page: the result beside the name, and what all rows share said once above it."""

from __future__ import annotations

from dataclasses import dataclass

from regbench.metrics.corner import VERDICT_WORDS
from regbench.report.columns import Column, columns_of, verdict_of
from regbench.report.ranking import RankedRow, Ranking
from regbench.report.table import DASH, Table
from regbench.results.schema import ROLES

SHARED = ("supervision", "pairing", "budget", "trained on", "seeds")
"""Columns that are left out where all rows that have a value have the same; what they share is said above the table."""
LEAD = ("rank", "method", "MACE", "× identity", "verdict")
"""Columns that come first, so that they are seen without scrolling."""


@dataclass(frozen=True)
class PageTable:
    """A table and what is not in it.

    Attributes:
        table: rows are numbered; the columns of :data:`LEAD` come first.
        columns: the columns after the number, for sorting.
        shared: what all rows have in common, such as ``pairing online``.
    """

    table: Table
    columns: tuple[Column, ...]
    shared: tuple[str, ...]


def page_table(ranking: Ranking) -> PageTable:
    """The main table of a section as its page shows it."""
    known = {column.head: column for column in columns_of(ranking)}
    known["method"] = Column("method", lambda ranked: str(ranked.names))
    known["verdict"] = Column("verdict", verdict_in_words)
    shared = {head: value for head in SHARED if (value := _common(known[head], ranking)) is not None}
    left_out = {*ROLES, *shared, *LEAD}
    order = tuple(known[head] for head in LEAD) + tuple(c for head, c in known.items() if head not in left_out)
    rows = [[str(n), *(column.cell(ranked) for column in order)] for n, ranked in enumerate(ranking.rows, 1)]
    table = Table(["#", *(c.head for c in order)], [False, *(c.value is None for c in order)], rows)
    return PageTable(table, order, tuple(f"{head} {value}" for head, value in shared.items()))


def verdict_in_words(ranked: RankedRow) -> str:
    """The verdict of a row in words that need no legend; those of the results stay in files and in CSV."""
    told = verdict_of(ranked)
    if not ranked.values:
        return told
    return " or ".join(VERDICT_WORDS.get(word, word) for word in told.split(" or "))


def _common(column: Column, ranking: Ranking) -> str | None:
    """What a column holds in every row that has a value; None where rows differ, or where there is but one row."""
    values = {column.cell(ranked) for ranked in ranking.rows} - {DASH}
    return values.pop() if len(values) == 1 and len(ranking.rows) > 1 else None
