"""Boards as CSV, for spreadsheets and scripts."""

from __future__ import annotations

from collections.abc import Sequence

from regbench.report.board import BOARD_METRICS, Board, Section
from regbench.report.columns import METRICS_WITH_INTERVALS, peak_memory, trust_of, verdict_of
from regbench.report.printed import matches_method
from regbench.report.ranking import RankedRow, ranked_sections
from regbench.report.render import tables


def to_csv(boards: Sequence[Board]) -> str:
    """One line for each row of each board, numbers unrounded; ``reported`` holds the numbers printed in papers."""
    lines = [
        _line(board, section, ranked)
        for board in boards
        for section, ranking in ranked_sections(board)
        for ranked in ranking.rows
    ]
    heads = list(lines[0]) if lines else []
    return tables.comma_separated(heads, [list(line.values()) for line in lines])


def _line(board: Board, section: Section, ranked: RankedRow) -> dict[str, object]:
    row, identity, names = ranked.row, ranked.row.identity, ranked.names
    line: dict[str, object] = {
        "board": board.name,
        "dataset": section.dataset,
        "manifest_sha256": section.manifest,
        "patch": section.patch,
        "rho": section.rho,
        "source": section.source,
        "rank": ranked.rank,
        "translator": names.translator,
        "registrator": names.registrator,
        "strategy": names.strategy,
        "supervision": identity.supervision,
        "pairing": identity.protocol.pairs_in_words,
        "budget": identity.budget,
        "trained_on": names.trained_on,
        "seeds": len(row.finished),
        "failed_seeds": len(row.failures),
    }
    for metric in BOARD_METRICS:
        line[metric] = ranked.values.get(metric)
        if metric in METRICS_WITH_INTERVALS:
            for where, bounds in (("", ranked.intervals), ("_seeds", ranked.seed_intervals)):
                line[f"{metric}{where}_low"], line[f"{metric}{where}_high"] = bounds.get(metric) or (None, None)
    line["over_identity"] = ranked.ratio if ranked.values else None
    line["over_identity_low"], line["over_identity_high"] = ranked.ratio_interval or (None, None)
    line["parameters"] = row.mean_over_runs("training", "parameters")
    line["register_ms"] = row.mean_over_runs("timing", "register_ms")
    line["memory_mb"], line["memory_of"] = peak_memory(ranked) or (None, None)
    for name in ("pairs_seen", "images_seen"):
        line[name] = row.mean_over_runs("training", name)
    line["training_seconds"] = row.mean_over_runs("training", "seconds")
    line["verdict"] = verdict_of(ranked)
    line["trust"] = trust_of(ranked)
    line["reported"] = _printed(board, section, ranked)
    return line


def _printed(board: Board, section: Section, ranked: RankedRow) -> str:
    """``MACE 0.61 (CoLReg, table 2: MCNet); …`` of the methods that a row reproduces."""
    return "; ".join(
        f"MACE {line.values['MACE']} ({line.source}, table {line.table}: {line.method})"
        for paper in board.papers
        for line in paper.lines.get(section.dataset, [])
        if "MACE" in line.values
        and matches_method(ranked.row.identity, paper.methods.get(line.method, {}), ranked.row.lineage)
    )
