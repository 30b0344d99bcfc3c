"""What stands below a board and is never ranked with it: stale runs, and numbers printed in papers."""

from __future__ import annotations

from regbench.report import tables
from regbench.report.board import Reported
from regbench.report.tables import escape
from regbench.results import Result


def stale_section(stale: list[tuple[Result, str]]) -> list[str]:
    """Runs the sections do not hold, and why; nothing where there are none."""
    if not stale:
        return []
    header = [
        "run",
        "translator",
        "registrator",
        "strategy",
        "test set",
        "manifest",
        "MACE then",
        "why stale",
    ]
    rows = []
    for result, why in sorted(stale, key=lambda item: item[0].run_id):
        i, test, mace = result.identity, result.identity.test_dataset, result.metrics.get("mace")
        parts = [part.name if part else tables.NONE for part in (i.translator, i.registrator, i.strategy)]
        cells = [*map(escape, parts), escape(test.name), test.manifest_sha256[:12]]
        rows.append([result.run_id, *cells, tables.number(mace.value if mace else None), why])
    note = "Runs on another test manifest or metric version. They compare with nothing above; run them again."
    return ["## Stale", note, tables.markdown(header, rows, left=len(header))]


def reported_section(reported: Reported) -> list[str]:
    """Numbers as printed in papers: pivoted to a line a method, kept as strings."""
    if not reported:
        return []
    metrics = list(dict.fromkeys(row["metric"] for row in reported))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in reported:
        key = (row["dataset"], row["paper"], row.get("table") or "", row["method"], row.get("category") or "")
        lines.setdefault(key, {})[row["metric"]] = row["value"]
    header = ["test set", "paper", "table", "method", "category", *map(escape, metrics)]
    rows = [
        [*(escape(cell) or tables.NONE for cell in (*key, *(values.get(m, "") for m in metrics)))]
        for key, values in sorted(lines.items())
    ]
    note = "Printed in papers, on their own test pairs and training: they do not rank with the rows above."
    return ["## Reported", note, tables.markdown(header, rows, left=5)]
