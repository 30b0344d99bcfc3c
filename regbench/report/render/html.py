"""A board as one static page: everything in one file, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from regbench.report.board import Board, Section
from regbench.report.columns import Column, confidence_table, seed_table, stale_table
from regbench.report.figures.curves import LARGEST_ERROR, cumulative_percent
from regbench.report.figures.overlay import Picture, Scene, best_median_worst
from regbench.report.figures.style import line_style
from regbench.report.ranking import RankedRow, Ranking, ranked_sections
from regbench.report.render.bibtex import to_bibtex
from regbench.report.render.comma_separated import to_csv
from regbench.report.render.latex import to_latex
from regbench.report.render.page_table import page_table
from regbench.report.statements import (
    CONFIDENCE_NOTE,
    PAGE_LEGEND,
    REPORTED_NOTE,
    STALE_NOTE,
    commits,
    facts,
    machines,
    missing_controls,
    reported,
    supported,
    third_party,
    title,
    unpublished_combinations,
    warnings,
)
from regbench.report.table import number, range_in_words

if TYPE_CHECKING:
    from jinja2 import Environment

Painter = Callable[[RankedRow, int], Scene]
"""Draws a test pair, given by its number, with the estimate of a row's first run."""


def to_html(board: Board, painters: Mapping[Section, Painter | str] | None = None) -> str:
    """The page of a board.

    Args:
        board: the board.
        painters: by section: the function that draws its test pairs, or a sentence that says why none are shown.
            Sections that are absent show neither.
    """
    sections = ranked_sections(board)
    return (
        environment()
        .get_template("board.html")
        .render(
            title=board.settings.title or board.name,
            description=" ".join(board.settings.description.split()),
            notes=board.settings.notes,
            links=list(board.settings.links.items()),
            legend=PAGE_LEGEND,
            downloads=_downloads(board),
            warnings=warnings(sections, board.settings.controls),
            sections=[
                _section_variables(n, board, section, ranking, (painters or {}).get(section, ""))
                for n, (section, ranking) in enumerate(sections, 1)
            ],
            stale=stale_table(board) if board.stale else None,
            stale_note=STALE_NOTE,
            note=REPORTED_NOTE,
        )
    )


def environment() -> Environment:
    """The templates of pages; text of unknown origin is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("regbench.report.render"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters["code"] = _code
    return made


def section_plots(ranking: Ranking, painter: Painter | str) -> dict[str, Any]:
    """The variables of curves and of pictures of pairs.

    Args:
        ranking: of one section.
        painter: draws its test pairs, or a sentence that says why none are shown.
    """
    finished = [(n, ranked) for n, ranked in enumerate(ranking.rows, 1) if ranked.values]
    return {
        "ticks": [
            {"x": _x(px), "px": f"{px:g}", "y": _y(25.0 * i), "percent": 25 * i}
            for i, px in enumerate(np.linspace(0.0, LARGEST_ERROR, 5).tolist())
        ],
        "lines": [_line(n, ranked, i) for i, (n, ranked) in enumerate(finished)],
        "examples": []
        if isinstance(painter, str)
        else [example for n, ranked in finished for example in _examples(n, ranked, painter)],
        "no_examples": painter if isinstance(painter, str) else "",
    }


def _section_variables(
    section_number: int, board: Board, section: Section, ranking: Ranking, painter: Painter | str
) -> dict[str, Any]:
    """The variables of the template for one section."""
    shown = page_table(ranking)
    finished = [(n, ranked) for n, ranked in enumerate(ranking.rows, 1) if ranked.values]
    return {
        "number": section_number,
        "title": title(section),
        "facts": facts(section, ranking),
        "missing": missing_controls(ranking, board.settings.controls),
        "table": shown.table,
        "shared": shown.shared,
        "rows": [
            {"supervision": ranked.row.identity.supervision, "sorts": _sort_keys(n, ranked, shown.columns)}
            for n, ranked in enumerate(ranking.rows, 1)
        ],
        "seeds": seed_table(ranking),
        "confidence": confidence_table(ranking),
        "confidence_note": CONFIDENCE_NOTE,
        "supported": [_with_name(line, ranking) for line in supported(ranking)],
        "notes": [
            note
            for note in (unpublished_combinations(ranking), third_party(ranking), machines(ranking), commits(ranking))
            if note
        ],
        "data": _data(finished, ranking),
        **section_plots(ranking, painter),
        "printed": reported(board.papers, section.dataset, ranking),
    }


def _with_name(statement: str, ranking: Ranking) -> str:
    """A statement that says which method its first row is; the table with the others may be off the screen."""
    return re.sub(r"^row (\d+) is", lambda m: f"row {m[1]}, {ranking.rows[int(m[1]) - 1].names}, is", statement)


def _downloads(board: Board) -> list[dict[str, str]]:
    """Files that the page holds: what it shows, for spreadsheets and papers."""
    texts = {"csv": to_csv([board]), "tex": to_latex(board), "bib": to_bibtex(board)}
    return [
        {"name": f"{board.name}.{suffix}", "data": base64.b64encode(text.encode()).decode()}
        for suffix, text in texts.items()
    ]


def _code(text: str) -> Markup:
    """Escaped text, with parts in backticks as code elements."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _sort_keys(row_number: int, ranked: RankedRow, columns: Sequence[Column]) -> list[str]:
    """The sort key of each cell of a row; empty for none."""
    values = [float(row_number), *(column.value(ranked) if column.value else None for column in columns)]
    return ["" if value is None else f"{value:.6g}" for value in values]


def _data(finished: Sequence[tuple[int, RankedRow]], ranking: Ranking) -> Markup:
    """Errors of every pair, and which row is better than which, as JSON that cannot end its script element."""
    rows = [
        {"row": n, "name": str(ranked.names), "errors": [round(float(e), 2) for e in ranked.row.pair_scores["mace"]]}
        for n, ranked in finished
    ]
    better = {
        f"{i + 1},{j + 1}": f"Row {i + 1} is better than row {j + 1} by {range_in_words(bounds)} px."
        for (i, j), bounds in sorted(ranking.better.items())
    }
    doing_nothing = [run.pairs.identity_error.max() for _, r in finished for run in r.row.finished if run.pairs]
    limit = 10 * math.ceil(max(doing_nothing, default=5.0) / 5)  # twice the largest error of identity, in tens
    text = json.dumps({"rows": rows, "better": better, "limit": limit}, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))


def _line(row_number: int, ranked: RankedRow, order: int) -> dict[str, Any]:
    thresholds = np.linspace(0.0, LARGEST_ERROR, 81)
    colour, dashes = line_style(order)
    points = zip(thresholds, cumulative_percent(ranked.row, thresholds), strict=True)
    return {
        "number": row_number,
        "name": str(ranked.names),
        "colour": colour,
        "dashes": " ".join(f"{length:g}" for length in dashes),
        "points": " ".join(f"{_x(px):g},{_y(percent):g}" for px, percent in points),
    }


def _x(px: float) -> float:
    return round(40 + 430 * px / LARGEST_ERROR, 1)


def _y(percent: float) -> float:
    return round(290 - 2.7 * percent, 1)


def _examples(row_number: int, ranked: RankedRow, painter: Painter) -> list[dict[str, Any]]:
    pairs = ranked.row.finished[0].pairs
    assert pairs is not None
    examples = []
    for which, index in best_median_worst(pairs).items():
        scene = painter(ranked, index)
        assert scene.estimate is not None  # best_median_worst chooses pairs with an answer
        examples.append(
            {
                "number": row_number,
                "name": str(ranked.names),
                "which": which,
                "error": number(scene.error),
                "identity": number(scene.identity_error),
                "side": len(scene.target),
                "target": _png(scene.target),
                "checkerboard": _png(scene.checkerboard),
                "truth": _points(scene.truth),
                "estimate": _points(scene.estimate),
            }
        )
    return examples


def _points(quadrilateral: NDArray[np.float64]) -> str:
    """Corners as SVG points: the centre of a pixel is half a pixel from its edge."""
    return " ".join(f"{x + 0.5:.1f},{y + 0.5:.1f}" for x, y in quadrilateral)


def _png(picture: Picture) -> str:
    """The PNG of an RGB picture in base64."""
    import cv2

    ok, encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    assert ok
    return base64.b64encode(encoded.tobytes()).decode()
