"""A board as one static page: everything in one file, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from regbench.report.board import Board, Group
from regbench.report.columns import COLUMNS, main_table, seed_table
from regbench.report.figures.curves import REACH, cumulative
from regbench.report.figures.overlay import Scene, extremes
from regbench.report.figures.style import line_style
from regbench.report.ranking import Ranked, Ranking
from regbench.report.render import tables
from regbench.report.render.markdown import STALE, ranked_sections, stale_table
from regbench.report.statements import (
    LEGEND,
    NOTE,
    facts,
    machines,
    missing_controls,
    of_no_paper,
    reported,
    supported,
    title,
    warnings,
)

Draw = Callable[[Ranked, int], Scene]
"""Draws a pair, by its number, as the first run of a row sees it."""


def to_html(board: Board, scenes: Mapping[Group, Draw | str] | None = None) -> str:
    """The page of a board.

    Args:
        board: what is shown.
        scenes: for each section what draws its test pairs, or why none are shown; sections it lacks say nothing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regbench.report.render"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = _code
    sections = ranked_sections(board)
    return environment.get_template("board.html").render(
        title=board.settings.title or board.name,
        description=" ".join(board.settings.description.split()),
        notes=board.settings.notes,
        legend=LEGEND,
        warnings=warnings(sections),
        sections=[
            _section(number, board, group, ranking, (scenes or {}).get(group, ""))
            for number, (group, ranking) in enumerate(sections, 1)
        ],
        stale=stale_table(board) if board.stale else None,
        stale_note=STALE,
        note=NOTE,
    )


def _section(number: int, board: Board, group: Group, ranking: Ranking, draw: Draw | str) -> dict[str, Any]:
    finished = [(n, ranked) for n, ranked in enumerate(ranking.rows, 1) if ranked.values]
    return {
        "number": number,
        "title": title(group),
        "facts": facts(group, ranking),
        "missing": missing_controls(ranking),
        "table": main_table(ranking),
        "rows": [
            {"supervision": ranked.row.identity.supervision, "sorts": _sorts(n, ranked)}
            for n, ranked in enumerate(ranking.rows, 1)
        ],
        "seeds": seed_table(ranking),
        "supported": supported(ranking),
        "notes": [note for note in (of_no_paper(ranking), machines(ranking)) if note],
        "data": _data(finished, ranking),
        "ticks": [
            {"x": _x(REACH * i / 4), "px": f"{REACH * i / 4:g}", "y": _y(25.0 * i), "percent": 25 * i} for i in range(5)
        ],
        "lines": [_line(n, ranked, i) for i, (n, ranked) in enumerate(finished)],
        "examples": [] if isinstance(draw, str) else [e for n, ranked in finished for e in _examples(n, ranked, draw)],
        "no_examples": draw if isinstance(draw, str) else "",
        "printed": reported(board.papers, group.dataset, ranking),
    }


def _code(text: str) -> Markup:
    """A person's text, with what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _sorts(number: int, ranked: Ranked) -> list[str]:
    """What each cell of a row is sorted by; empty for none."""
    values = [float(number), *(column.value(ranked) if column.value else None for column in COLUMNS)]
    return ["" if value is None else f"{value:.6g}" for value in values]


def _data(finished: Sequence[tuple[int, Ranked]], ranking: Ranking) -> Markup:
    """Errors of every pair and who is better than whom, as JSON that cannot end its element."""
    rows = [
        {"row": n, "name": str(ranked.names), "errors": [round(float(e), 2) for e in ranked.row.scores["mace"]]}
        for n, ranked in finished
    ]
    better = {
        f"{i + 1},{j + 1}": f"Row {i + 1} is better than row {j + 1} by {tables.apart(bounds)} px."
        for (i, j), bounds in sorted(ranking.better.items())
    }
    doing_nothing = [entry.pairs.identity_error.max() for _, r in finished for entry in r.row.finished if entry.pairs]
    limit = 10 * math.ceil(max(doing_nothing, default=5.0) / 5)  # twice what doing nothing errs at most, in tens
    text = json.dumps({"rows": rows, "better": better, "limit": limit}, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))


def _line(number: int, ranked: Ranked, order: int) -> dict[str, Any]:
    at = np.linspace(0.0, REACH, 81)
    colour, dashes = line_style(order)
    points = zip(at, cumulative(ranked.row, at), strict=True)
    return {
        "number": number,
        "name": str(ranked.names),
        "colour": colour,
        "dashes": " ".join(f"{length:g}" for length in dashes),
        "points": " ".join(f"{_x(px):g},{_y(percent):g}" for px, percent in points),
    }


def _x(px: float) -> float:
    return round(40 + 430 * px / REACH, 1)


def _y(percent: float) -> float:
    return round(290 - 2.7 * percent, 1)


def _examples(number: int, ranked: Ranked, draw: Draw) -> list[dict[str, Any]]:
    pairs = ranked.row.finished[0].pairs
    assert pairs is not None
    found = []
    for which, index in extremes(pairs).items():
        scene = draw(ranked, index)
        assert scene.found is not None  # extremes have an answer
        found.append(
            {
                "number": number,
                "name": str(ranked.names),
                "which": which,
                "error": tables.number(scene.error),
                "identity": tables.number(scene.identity),
                "side": len(scene.target),
                "target": _png(scene.target),
                "laid": _png(scene.laid),
                "truth": _points(scene.truth),
                "found": _points(scene.found),
            }
        )
    return found


def _points(ring: Any) -> str:
    return " ".join(f"{x + 0.5:.1f},{y + 0.5:.1f}" for x, y in ring)  # a pixel's centre is half a pixel from its edge


def _png(picture: Any) -> str:
    import cv2

    ok, encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    assert ok
    return base64.b64encode(encoded.tobytes()).decode()
