"""Leaderboards: pages built from committed results, and checks that pages and results are correct.

``leaderboards/results/<board>/`` holds ``<run_id>.json`` and ``<run_id>.pairs.h5`` of each run, and optionally
``board.toml`` (:class:`~regbench.report.board.BoardSettings`). ``leaderboards/recipes/<paper>/`` holds numbers
printed in papers. ``leaderboards/<board>.md`` is a pure function of these files: it does not depend on the time, on
paths or on the order of files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from regbench.contained import refuse_link, refuse_links, safe_name
from regbench.disk import remove_leftovers
from regbench.errors import DataError, RegbenchError, UsageError, unknown_name
from regbench.locks import locked
from regbench.report.board import BoardRow, load_board, read_settings
from regbench.report.render.comma_separated import to_csv
from regbench.report.render.latex import IN_PAPERS, to_latex
from regbench.report.render.markdown import GENERATED, to_markdown
from regbench.results import Result, load_result, read_pairs, write_bytes, write_text
from regbench.results.layout import PAIRS, RESULT

if TYPE_CHECKING:
    from regbench.report.figures.overlay import Scene
    from regbench.report.ranking import RankedRow
    from regbench.report.render.html import Painter


def boards(root: Path, names: Iterable[str] = ()) -> list[str]:
    """Names of the boards under ``root``, or those of ``names`` after checking that they exist.

    Raises:
        DataError: there is no ``results`` folder.
        UsageError: a name is unknown.
    """
    results = root / "results"
    if not results.is_dir():
        raise DataError(f"{results} does not exist; point --root at the folder of the leaderboards")
    known = sorted(
        path.name
        for path in results.iterdir()
        if path.is_dir() and not (path.is_symlink() or path.name.startswith("."))
    )
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise unknown_name("board", name, known)
    return wanted or known


def check_name(name: str) -> None:
    """Raise UsageError for a name that no board can have: it is the name of a folder and of a page."""
    safe_name(name, "board")


def render(root: Path, name: str) -> str:
    """The markdown of a board; raises DataError where a committed file is broken."""
    return to_markdown(load_board(root / "results" / name))


def build(root: Path, names: Iterable[str] = ()) -> list[Path]:
    """Write ``<board>.md`` of every board (or of ``names``); returns the files whose content changed."""
    changed = []
    listed = boards(root, names)
    with locked(root, wait=True, work="writes boards"):
        remove_leftovers(root)
        for name in listed:
            path, text = root / f"{name}.md", render(root, name)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
                changed.append(path)
    return changed


def check(root: Path, names: Iterable[str] = ()) -> list[str]:
    """Problems of the committed boards, one a line: wrong results, then a diff of each outdated page."""
    listed = boards(root, names)
    problems = [] if names else _pages_without_results(root, listed)
    for name in listed:
        wrong_results = verify(root / "results" / name)
        problems += wrong_results
        if wrong_results:
            continue  # a page built from wrong results needs no diff
        path = root / f"{name}.md"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        try:
            new = render(root, name)
        except RegbenchError as error:
            problems.append(str(error))
            continue
        diff = difflib.unified_diff(
            old.splitlines(), new.splitlines(), path.name, f"{path.name} (rebuilt)", lineterm=""
        )
        problems += diff
    return problems


def _pages_without_results(root: Path, known: Sequence[str]) -> list[str]:
    """Pages that say they were built from results, and have none."""
    return [
        f"{path} belongs to no results; delete it or commit {root / 'results' / path.stem}"
        for path in sorted(root.glob("*.md"))
        if path.stem not in known and path.read_text(encoding="utf-8", errors="replace").startswith(GENERATED)
    ]


def verify(folder: Path) -> list[str]:
    """Check every committed run of a board by what its files decide, see :mod:`regbench.report.checks`."""
    from regbench.report.checks import problems_of

    try:
        refuse_links(folder)
        return problems_of(folder, read_settings(folder))
    except DataError as error:
        return [str(error)]


def add(root: Path, name: str, runs: Sequence[Path], *, failed: bool = False, replace: bool = False) -> list[Path]:
    """Copy finished runs into a board, which is made if it is new; returns the result files written.

    Args:
        root: folder of the leaderboards.
        name: name of the board.
        runs: run directories.
        failed: also take runs that are not ok; they become rows that show the reason.
        replace: replace a run of the board by one of the same id and other numbers.

    Raises:
        DataError: a file is missing or broken, or the board holds other numbers under a run's id; nothing is written.
        UsageError: a run is not ok and ``failed`` is not set, or was not judged with exact labels; or the name is no
            plain folder name.
    """
    check_name(name)
    refuse_link(root / "results" / name)
    taken = []
    for run in runs:
        if run.is_dir():
            refuse_links(run)
        result = load_result(run / RESULT)
        if result.truth != "labels":
            truth = "tie points" if result.truth == "tie points" else "no truth"
            raise UsageError(f"{run} was judged with {truth}; a board ranks errors against exact labels")
        if result.status != "ok" and not failed:
            raise UsageError(f"{run} is {result.status} ({result.reason}); add --failed to show it as a failed row")
        target = root / "results" / name / f"{result.run_id}.json"
        if result.status == "ok":
            read_pairs(run / PAIRS, {"run_id": result.run_id})  # a broken file is refused here, not in the next build
        if target.is_file() and not replace and _other_numbers(target, run, result):
            raise DataError(
                f"{target} holds other numbers under the id of {run}: one of the two is not what its id says; add "
                "--replace to take the new ones"
            )
        taken.append((run, result.status, target))
    folder = root / "results" / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True, work=f"adds to board {name}"):
        remove_leftovers(folder)
        for run, status, target in taken:
            if status == "ok":
                write_bytes(target.with_suffix(".pairs.h5"), (run / PAIRS).read_bytes())
            write_bytes(target, (run / RESULT).read_bytes())
    return [target for *_, target in taken]


def _other_numbers(target: Path, run: Path, result: Result) -> bool:
    """Whether a board's run that is ok has other errors or metrics than ``result``, in ``run``; times may differ."""
    before = load_result(target)
    if before.status != "ok":
        return False
    known = (before.status, before.verdict, before.truth, before.metrics)
    if (result.status, result.verdict, result.truth, result.metrics) != known:
        return True
    pairs = target.with_suffix(".pairs.h5")
    return not pairs.is_file() or read_pairs(pairs).sha256 != read_pairs(run / PAIRS).sha256


def export(root: Path, names: Iterable[str], form: Literal["csv", "latex"], columns: Sequence[str] = IN_PAPERS) -> str:
    """Boards as CSV (unrounded numbers, all columns) or LaTeX (rounded as on the page; ``columns`` of it).

    Raises:
        UsageError: a section has no column of that head.
    """
    loaded = [load_board(root / "results" / name) for name in boards(root, names)]
    return to_csv(loaded) if form == "csv" else "\n".join(to_latex(board, columns) for board in loaded)


def write_html(root: Path, names: Iterable[str], out: Path, *, pictures: bool = True) -> list[Path]:
    """Write each board as one static page, ``<out>/<board>.html``.

    Args:
        root: folder of the leaderboards.
        names: names of boards; empty for all.
        out: folder for the pages.
        pictures: draw the best, median and worst pair of each row, where the test data are embedded.

    Returns:
        The files written.
    """
    from regbench.report.render.html import to_html

    written = []
    for name in boards(root, names):
        board = load_board(root / "results" / name)
        painters = {section: painter_of(rows) for section, rows in board.sections.items()} if pictures else {}
        written.append(out / f"{name}.html")
        write_text(written[-1], to_html(board, painters))
    return written


def painter_of(rows: Sequence[BoardRow]) -> Painter | str:
    """The function that draws the test pairs of a section, or a sentence that says why none are shown."""
    from regbench.report.figures.overlay import DifferentPairsError, is_embedded, scenes_of

    first = next((run for row in rows for run in row.finished), None)
    if first is None or first.pairs is None:
        return ""
    identity = first.result.identity
    if not is_embedded(identity):
        return f"No pictures: they are shown of embedded data alone, not of {identity.test_dataset.name}."
    try:
        scenes = scenes_of(identity, len(first.pairs.ok))
    except DifferentPairsError:
        return "No pictures: the embedded data at their default settings do not give these test pairs."

    def paint(ranked: RankedRow, index: int) -> Scene:
        pairs = ranked.row.finished[0].pairs
        assert pairs is not None
        return scenes.scene(pairs, index)

    return paint
