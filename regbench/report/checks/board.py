"""All runs of a board: each alone, then together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from regbench.errors import DataError
from regbench.report.board import BoardSettings, Section, StoredRun
from regbench.report.checks import descent, drawn, numbers, record
from regbench.report.trust import MARK, read_mark, records_in
from regbench.results import load_result, read_pairs
from regbench.results.lineage import row_key

MAX_PAIRS_BYTES = 100_000
"""Largest size of a file of 400 test pairs; more pairs may take proportionally more."""


def problems_of(folder: Path, settings: BoardSettings) -> list[str]:
    """Problems of the committed runs of a board, one a line.

    Each run against itself: its name, its settings, its descent, its pairs, its numbers. All together: test pairs and
    the names of data sets agree, no seed is a copy of another. No file may be too large or belong to no result.
    """
    problems: list[str] = []
    runs: dict[Path, StoredRun] = {}
    paths = records_in(folder)
    for path in paths:
        try:
            result = load_result(path, committed=True)
            stored = path.with_suffix(".pairs.h5")
            pairs = read_pairs(stored, {"run_id": result.run_id}) if result.status == "ok" else None
        except DataError as error:
            problems.append(str(error))
            continue
        runs[path] = StoredRun(result, pairs)
        if pairs is not None and stored.stat().st_size > MAX_PAIRS_BYTES * max(1.0, len(pairs.ok) / 400):
            problems.append(f"{stored} is larger than {MAX_PAIRS_BYTES // 1000} kB for 400 pairs")
    packs = _packs(list(runs.values()))
    for path, run in runs.items():
        impossible = list(record.problems(run.result))
        problems += [f"{path}: {problem}" for problem in (*impossible, *descent.problems(run.result))]
        if run.pairs is not None:
            wrong = list(numbers.problems(run.result, run.pairs, path, path.with_suffix(".pairs.h5")))
            if not wrong and not impossible:  # an impossible protocol draws no pairs
                known = packs[run.result.identity.test_dataset.manifest_sha256]
                wrong = [f"{path}: {problem}" for problem in drawn.problems(run.result, run.pairs, known)]
            problems += wrong
    problems += _copies(runs)
    problems += _test_pairs(folder, [run for run in runs.values() if run.pairs is not None], settings)
    problems += _left_over(folder, {path.stem for path in paths}, runs)
    return problems


def _packs(runs: Sequence[StoredRun]) -> dict[str, set[str]]:
    """Hashes of the packs that runs name, by the test pairs they were judged on."""
    packs: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        identity = run.result.identity
        # A run that is judged again may be so on another pack of the same name.
        if identity.train_dataset and identity.train_dataset.name == identity.test_dataset.name:
            packs[identity.test_dataset.manifest_sha256].add(identity.train_dataset.pack_sha256)
    return packs


def _copies(runs: dict[Path, StoredRun]) -> Iterator[str]:
    """Trained runs of one row whose estimates are the same to the last bit, though their seeds differ."""
    seen: dict[tuple[str, bytes], Path] = {}
    for path, run in runs.items():
        if run.pairs is None or run.result.identity.strategy is None:
            continue
        estimate = run.pairs.estimate
        if np.array_equal(estimate, np.broadcast_to(estimate[:1], estimate.shape)):
            continue  # a network that says one thing may say it under every seed
        first = seen.setdefault((row_key(run.result), estimate.tobytes()), path)
        if first != path:
            yield f"{path}: holds the estimates of {first.name}, a run of another seed, to the last bit; run it again"


def _test_pairs(folder: Path, runs: Sequence[StoredRun], settings: BoardSettings) -> Iterator[str]:
    """A hash of test pairs belongs to one data set; a data set has one on a board, unless ``board.toml`` says which."""
    by_manifest: dict[str, set[tuple[str, int, int, str]]] = defaultdict(set)
    by_section: dict[tuple[str, int, int, str], set[str]] = defaultdict(set)
    for run in runs:
        section = Section.of(run.result.identity)
        by_manifest[section.manifest].add(section.without_manifest)
        by_section[section.without_manifest].add(section.manifest)
    for manifest, sections in sorted(by_manifest.items()):
        if len(sections) > 1:
            names = "; ".join(f"{name}, {patch} px, ±{rho} px, {side}" for name, patch, rho, side in sorted(sections))
            yield f"{folder}: the test pairs {manifest[:12]} cannot be those of several sets: {names}"
    for (name, *_), manifests in sorted(by_section.items()):
        if len(manifests) > 1 and not settings.manifest_sha256:
            listed = ", ".join(sorted(manifest[:12] for manifest in manifests))
            yield (
                f"{folder}: its runs on {name} name different test pairs ({listed}); say in board.toml, as "
                "manifest_sha256, which are current"
            )


def _left_over(folder: Path, names: set[str], runs: dict[Path, StoredRun]) -> Iterator[str]:
    """Files that belong to no result, and marks that are not of the pairs they lie beside."""
    for path in sorted(folder.glob("*.h5")):
        if path.name.removesuffix(".pairs.h5") not in names:
            yield f"{path} belongs to no result; delete it or commit {path.name.split('.')[0]}.json"
    for path in sorted(folder.glob(f"*{MARK}")):
        run = runs.get(folder / f"{path.name.removesuffix(MARK)}.json")
        try:
            mark = read_mark(path)
        except DataError as error:
            yield str(error)
            continue
        if run is None or run.pairs is None:
            yield f"{path} belongs to no result; delete it"
        elif (mark.run_id, mark.pairs_sha256) != (run.result.run_id, run.pairs.sha256):
            yield f"{path} was made of other numbers than are here; delete it, or verify the run again"
