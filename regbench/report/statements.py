"""What may be said about a section, in sentences. None claims an order whose interval contains zero."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regbench.installed import is_official
from regbench.metrics.agreement import ENOUGH, Agreement, agreement
from regbench.metrics.corner import VERDICT_WORDS
from regbench.metrics.uncertainty import LEAST_IMAGES
from regbench.report.board import Section
from regbench.report.columns import is_control, is_identity
from regbench.report.printed import METRICS, Paper, PrintedLine, matches_method
from regbench.report.ranking import Ranking
from regbench.report.table import DASH, Table, number, range_in_words, with_interval
from regbench.results import Identity, Result

_VERDICTS = (
    "A verdict names all that its interval reaches, and is open without one: {aligned} is below 0.9 × identity,"
    " {diverged} above 1.1, {collapsed} in between."
)
LEGEND = (
    "MACE is the mean average corner error in pixels; × identity divides it by that of doing nothing; AUC and shares"
    " are in percent. Brackets are 95 % intervals over test images, taken to be independent, for the networks at hand"
    " (studentised, corrected for skewness); only those over seeds speak of training again. Fewer than"
    f" {LEAST_IMAGES} images, or one image that decides, allow none. Rank is one more than the number of rows"
    " significantly better: paired test over images (the larger p of Student's and Hall's t), Holm over the section,"
    " 5 %, and a lead that would last if the better row did nothing on all images of a kind that may be unseen. It"
    " counts, and only the supported statements order two rows. "
    + _VERDICTS.format(aligned="aligned", collapsed="collapsed", diverged="diverged")
    + " Memory is the peak of the run, training included. Trust: submitted numbers follow from the pairs beside them,"
    " recomputed ones came out of the run's weights again; those of papers are reported."
)
PAGE_LEGEND = LEGEND.replace(
    _VERDICTS.format(aligned="aligned", collapsed="collapsed", diverged="diverged"),
    _VERDICTS.format(**{verdict: f"“{words}”" for verdict, words in VERDICT_WORDS.items()}),
)
"""The legend of a page, which shows verdicts in words."""
CONFIDENCE_NOTE = (
    "Failures found by confidence (docs/confidence.md): MACE of the most confident pairs, px. AURC is its mean over all"
    " coverages: MACE where confidence tells nothing, lower where it finds failures. Trusted: a confidence from 0.5 on"
    " (the column trust says something else: how numbers came here)."
)
STALE_NOTE = "Runs on another test manifest or metric version. They compare with nothing above."


def title(section: Section) -> str:
    """The heading of a section."""
    return f"{section.dataset}, source {section.source}, {section.patch} px patches, offsets up to {section.rho} px"


def facts(section: Section, ranking: Ranking) -> str:
    """Manifest, number of test pairs and number of images, and what these may not show."""
    finished = next((run for ranked in ranking.rows for run in ranked.row.finished), None)
    pairs = finished.pairs if finished else None
    size = f", {len(pairs.image)} pairs of {len(set(pairs.image.tolist()))} images" if pairs else ""
    unseen = (
        f" A kind of failure on up to {number(100 * ranking.images.unseen, 0)} % of images may be unseen."
        if ranking.images and not ranking.images.too_few
        else ""
    )
    return f"Test manifest {section.manifest[:12]}{size}.{unseen}"


def missing_controls(ranking: Ranking, named: Sequence[str] = ()) -> list[str]:
    """The required rows that this section lacks; a row without a finished run does not count.

    Args:
        ranking: the rows of the section.
        named: the components whose rows are required, of ``board.toml``; empty: one of each kind is.
    """
    rows = [ranked for ranked in ranking.rows if ranked.values]
    if named:
        shown = {name for ranked in rows for name in _shows(ranked.row.identity)}
        return [name for name in named if name not in shown]
    present = {
        "identity (doing nothing)": any(map(is_identity, rows)),
        "no-translator control": any(map(is_control, rows)),
        "supervised reference": any(ranked.row.identity.supervision == "homography" for ranked in rows),
    }
    return [name for name, found in present.items() if not found]


def _shows(identity: Identity) -> set[str]:
    """The components a row stands for as a control: a registrator only where nothing was trained."""
    parts = (identity.registrator,) if identity.strategy is None else (identity.strategy, identity.translator)
    return {part.name for part in parts if part is not None}


def warnings(sections: Sequence[tuple[Section, Ranking]], named: Sequence[str] = ()) -> list[str]:
    """One line for each section that lacks a control, for the top of the page; ``named`` as above."""
    return [
        f"{title(section)}: lacks {', '.join(missing)}; without it nobody can tell whether a method learned anything."
        for section, ranking in sections
        if (missing := missing_controls(ranking, named))
    ]


def supported(ranking: Ranking) -> list[str]:
    """Which rows are better than which and by how much, which neighbours are not separated, and what stays unsaid."""
    if ranking.images and ranking.images.too_few:
        return [f"No interval is given and no order claimed: {ranking.images.too_few}."]
    winners: dict[int, list[str]] = {}
    for (i, j), bounds in sorted(ranking.better.items()):
        winners.setdefault(i, []).append(f"row {j + 1} by {range_in_words(bounds)} px")
    lines = [f"row {i + 1} is better than {', '.join(losers)}." for i, losers in winners.items()]
    places = [place for place, ranked in enumerate(ranking.rows) if ranked.rank is not None]
    even = [f"row {i + 1} and row {j + 1}" for i, j in itertools.pairwise(places) if (i, j) not in ranking.better]
    unknown = [f"row {n}" for n, ranked in enumerate(ranking.rows, 1) if ranked.decided_by_one]
    reason = "one image makes up four fifths of the variance of its MACE, so no interval is given"
    return [
        *lines,
        *([f"Not separated: {'; '.join(even)}."] if even else []),
        *([f"{', '.join(unknown)}: {reason}."] if unknown else []),
    ]


def machines(ranking: Ranking) -> str:
    """On which machine each row was timed, because times of two machines are not comparable; empty without times."""
    where: dict[str, list[int]] = {}
    for n, ranked in enumerate(ranking.rows, 1):
        timed = [run.result for run in ranked.row.finished if run.result.timing]
        for machine in sorted({_machine(result) for result in timed} - {""}):
            where.setdefault(machine, []).append(n)
    listed = [f"{machine} (rows {', '.join(map(str, numbers))})" for machine, numbers in sorted(where.items())]
    return f"Timed on: {'; '.join(listed)}." if listed else ""


def commits(ranking: Ranking) -> str:
    """Which commit made which rows, because code of one version may change; empty where no commit is recorded."""
    made: dict[str, list[int]] = {}
    for n, ranked in enumerate(ranking.rows, 1):
        for commit in sorted({_commit(run.result) for run in ranked.row.finished} - {""}):
            made.setdefault(commit, []).append(n)
    listed = [f"{commit} (rows {', '.join(map(str, rows))})" for commit, rows in sorted(made.items())]
    return f"Code: {'; '.join(listed)}." if listed else ""


def _commit(result: Result) -> str:
    git = result.provenance.get("git") or {}
    return str(git.get("commit", ""))[:10] + (" with changes" if git.get("dirty") else "")


def unpublished_combinations(ranking: Ranking) -> str:
    """Which rows cannot be compared with a printed number, because no paper reports their combination."""
    rows = [str(number) for number, ranked in enumerate(ranking.rows, 1) if ranked.row.unpublished_combination]
    return f"Of combinations no paper reports: row {', '.join(rows)}." if rows else ""


def third_party(ranking: Ranking) -> str:
    """Which rows were made with components, or beside plugins, that are not this project's."""
    said = []
    for row, ranked in enumerate(ranking.rows, 1):
        used: dict[str, None] = {}
        beside: dict[str, None] = {}
        for run in ranked.row.runs:
            identity, provenance = run.result.identity, run.result.provenance
            hashes = provenance.get("third_party")
            for part in (identity.translator, identity.registrator, identity.strategy):
                if part is not None and not is_official(part.distribution):
                    sha256 = _hash_of(hashes, part.distribution)
                    used[f"{part.name} of {part.distribution} {part.version}{sha256}"] = None
            installed = provenance.get("distributions")
            for name, version in installed.items() if isinstance(installed, Mapping) else ():
                if not is_official(str(name)) and not any(f" of {name} " in text for text in used):
                    beside[f"{name} {version}"] = None
        if used or beside:
            also = f"made beside {', '.join(beside)}" if beside else ""
            said.append(f"row {row}: {'; '.join([*used, also] if also else used)}")
    return f"With code of others, which this project does not know: {'. '.join(said)}." if said else ""


def _hash_of(hashes: Any, distribution: str) -> str:
    """`` (sha256 0123456789ab)`` of the files of a distribution, where the result has it."""
    sha256 = hashes.get(distribution) if isinstance(hashes, Mapping) else None
    return f" (sha256 {sha256[:12]})" if isinstance(sha256, str) else ""


def _machine(result: Result) -> str:
    gpus, cpu = result.provenance.get("gpu") or [], result.provenance.get("cpu") or {}
    if gpus and result.timing.get("device") != "cpu":
        return str(gpus[0].get("name", ""))
    return str(cpu.get("model", ""))


@dataclass(frozen=True)
class Reported:
    """The numbers that papers print for the data set of a section."""

    table: Table
    """One line for each printed method, with our MACE where we have run it; never ranked."""
    sentences: list[str]
    """For each printed table: whether our order of its methods agrees with the printed one."""


REPORTED_NOTE = (
    "Printed in papers, on their own test pairs and training: not ranked with ours. Rows say where we have run it."
)


def reported(papers: Sequence[Paper], dataset: str, ranking: Ranking) -> Reported | None:
    """The printed numbers for a data set; None where there are none."""
    rows, sentences = [], []
    for paper in papers:
        lines = paper.lines.get(dataset, [])
        for line in lines:
            own = _own_rows(paper, line, ranking)
            ours = "; ".join(
                with_interval(ranking.rows[n].values["mace"], ranking.rows[n].intervals["mace"]) for n in own
            )
            places = ", ".join(str(n + 1) for n in own)
            printed = [line.values.get(metric, DASH) for metric in METRICS]
            rows.append([line.method, line.category, line.source, line.table, *printed, places or DASH, ours or DASH])
        for source, table in dict.fromkeys((line.source, line.table) for line in lines):
            ordered = [line for line in lines if (line.source, line.table) == (source, table)]
            order = _agreement(paper, ordered, ranking)
            if order is not None:
                sentences.append(_agreement_sentence(order, f"{source}, table {table}"))
    if not rows:
        return None
    heads = ["method", "category", "source", "table", *METRICS[:-1], "ms/pair", "our rows", "our MACE"]
    return Reported(Table(heads, [*[True] * 4, *[False] * (len(heads) - 4)], rows), sentences)


def _own_rows(paper: Paper, line: PrintedLine, ranking: Ranking) -> list[int]:
    pattern = paper.methods.get(line.method, {})
    return [
        n
        for n, ranked in enumerate(ranking.rows)
        if ranked.values and matches_method(ranked.row.identity, pattern, ranked.row.lineage)
    ]


def _agreement(paper: Paper, lines: Sequence[PrintedLine], ranking: Ranking) -> Agreement | None:
    """Kendall's tau-b of our MACE and the printed one over the methods of a table; None for fewer than two."""
    scores, theirs = [], []
    for line in lines:
        own, mace = _own_rows(paper, line, ranking), line.mace()
        if own and mace is not None:
            scores.append(np.mean([ranking.rows[n].row.pair_scores["mace"] for n in own], axis=0))
            theirs.append(mace)
    if len(scores) < 2:
        return None
    pairs = next(run.pairs for ranked in ranking.rows for run in ranked.row.finished if run.pairs)
    return agreement(np.stack(scores, axis=1), pairs.image, theirs)


def _agreement_sentence(order: Agreement, what: str) -> str:
    tau = f"Kendall's tau-b {with_interval(order.tau, order.interval)} over {order.methods} methods"
    if order.claimed:
        return f"Our order by MACE {'agrees with' if order.tau > 0 else 'runs against'} that of {what}: {tau}."
    few = f"; from {ENOUGH} methods on something could be said" if order.methods < ENOUGH else ""
    return f"No agreement or disagreement with the order of {what} is claimed: {tau}{few}."
