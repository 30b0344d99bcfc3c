"""One run as one page: what was run, the result, curves, pairs, settings, and what to try next."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from typing import Any

from regbench.metrics.corner import VERDICT_WORDS
from regbench.report.board import StoredRun, sections_of
from regbench.report.inputs import load_run
from regbench.report.leaderboard import painter_of
from regbench.report.ranking import rank_rows
from regbench.report.render.html import environment, section_plots
from regbench.report.table import number, with_interval
from regbench.results.layout import GALLERY, LOG
from regbench.results.store import read_json_lines

_METRICS = {
    "mace": ("MACE, px", 2),
    "identity_mace": ("MACE of doing nothing, px", 2),
    "mace_over_identity": ("MACE / doing nothing", 2),
    "median_ace": ("median error, px", 2),
    "auc@3": ("AUC@3, %", 1),
    "auc@5": ("AUC@5, %", 1),
    "auc@10": ("AUC@10, %", 1),
    "auc@20": ("AUC@20, %", 1),
    "worse_than_identity": ("pairs made worse, %", 1),
    "failed": ("pairs without an answer, %", 1),
}
"""Heads and decimals; other metrics of a run follow under their own names."""


def run_page(folder: Path) -> str:
    """The page of a finished run, nothing in it fetched from anywhere.

    Args:
        folder: the run directory.

    Raises:
        DataError: there is no finished run.
    """
    stored = load_run(folder)
    result = stored.result
    identity = result.identity
    rows = [
        (*_METRICS.get(name, (name, 2)), measure) for name, measure in sorted(result.metrics.items(), key=_in_order)
    ]
    return (
        environment()
        .get_template("run.html")
        .render(
            title=" × ".join(identity.component_names),
            verdict=VERDICT_WORDS.get(str(result.verdict), str(result.verdict)),
            judged=result.truth != "none",
            facts=_facts(stored),
            metrics=[(head, with_interval(m.value, m.ci95, digits)) for head, digits, m in rows],
            headline=_headline(stored),
            plots=_plots(stored),
            losses=_losses(folder / LOG),
            gallery=_picture(folder / GALLERY),
            settings=_settings(stored),
            next=_next(stored, folder),
            record=base64.b64encode(result.model_dump_json(indent=1).encode()).decode(),
        )
    )


def _in_order(item: tuple[str, Any]) -> tuple[int, str]:
    order = list(_METRICS)
    return (order.index(item[0]) if item[0] in order else len(order), item[0])


def _headline(stored: StoredRun) -> str:
    mace, nothing = (stored.result.metrics.get(name) for name in ("mace", "identity_mace"))
    if mace is None or nothing is None:
        return "no truth is known for these pairs"
    return f"{with_interval(mace.value, mace.ci95)} px, where doing nothing has {number(nothing.value)} px"


def _facts(stored: StoredRun) -> list[tuple[str, str]]:
    """What was run, in words."""
    result, identity, protocol = stored.result, stored.result.identity, stored.result.identity.protocol
    trained = identity.train_dataset.name if identity.train_dataset else "not trained"
    return [
        ("trained on", f"{trained}, supervision {identity.supervision}"),
        ("schedule", f"budget {identity.budget}, seed {identity.seed}"),
        ("judged on", f"{identity.test_dataset.name}, manifest {identity.test_dataset.manifest_sha256[:12]}"),
        ("pairs", f"{protocol.patch} px, ±{protocol.rho} px, source {protocol.source}, {protocol.pairs_in_words}"),
        ("network", f"{result.training.get('parameters') or 0:,} parameters"),
        ("time", f"{result.training.get('seconds') or 0:.0f} s of training, "
                 f"{result.timing.get('register_ms') or 0:.1f} ms a pair on {result.timing.get('device', '?')}"),
        ("run", result.run_id),
    ]  # fmt: skip


def _settings(stored: StoredRun) -> list[tuple[str, str]]:
    return [
        (f"{role}.{name}", json.dumps(value))
        for role, part in stored.result.identity.components.items()
        for name, value in sorted(part.config.items())
    ]


def _plots(stored: StoredRun) -> dict[str, Any] | None:
    """The cumulative error curve and pictures of pairs, as a board shows them; None without test pairs."""
    if stored.pairs is None or stored.result.truth == "none":
        return None
    ((_, rows),) = sections_of([stored]).items()
    return section_plots(rank_rows(rows), painter_of(rows))


def _losses(path: Path) -> list[dict[str, Any]]:
    """The last logged values of each stage."""
    last = {str(entry.get("stage", "")): entry for entry in read_json_lines(path)}
    return [
        {"stage": stage, "values": {k: f"{v:.4g}" for k, v in entry.items() if isinstance(v, float | int)}}
        for stage, entry in last.items()
    ]


def _picture(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""


def _next(stored: StoredRun, folder: Path) -> list[str]:
    """Commands that go on from here."""
    identity, run = stored.result.identity, shlex.quote(str(folder))
    lines = [f"regbench leaderboard add {run} --board mine --root boards"]
    if identity.strategy is not None:
        lines.append(f"regbench register SOURCE TARGET --method {run} --out aligned")
        if identity.supervision == "none" and identity.translator is not None:
            lines.append(
                f"regbench run --registrator {identity.registrator.name} --strategy self-supervised --dataset "
                f"{identity.test_dataset.name} --budget {identity.budget}    # the control without a translator"
            )
    return lines
