"""Boards forged with an editor, see ``tests/report/test_forged.py``: each is caught by ``leaderboard check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from regbench.results import read_pairs
from regbench.results.layout import PAIRS
from tests.faults.table import Line, Size
from tests.report.made_up import MANIFEST, pairs_of
from tests.report.test_forged import PAIRS_FORGED, RECORDS_FORGED, Forger, problems

FACTS = (
    "estimates that no network produced, or another one",
    "weights that learned from test images, or labels that a plugin computed",
    "weights imported as unsupervised",
    "times, memory, names of machines, commits, versions and dates",
    "pairs of data sets whose image size is not known",
)
"""What ``leaderboards/README.md`` names."""


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Forge boards of one run, where no other run can tell, and boards of several."""
    line = Line("boards forged with an editor", documented=list(FACTS))
    forgeries = [*PAIRS_FORGED, *RECORDS_FORGED]
    for name in forgeries if size == "full" else forgeries[::9]:
        forger = Forger(folder / name.replace(" ", "-"))
        run_folder = forger.take(seed=7)
        if name in PAIRS_FORGED:
            forge, message = PAIRS_FORGED[name]
            forger.change(run_folder, lambda _: None, forge(read_pairs(run_folder / PAIRS)))
        else:
            edit, message = RECORDS_FORGED[name]
            forger.change(run_folder, edit)
        line.count(message in problems(forger), name)
    copies = Forger(folder / "copies")
    for seed in range(5):
        copies.take(pairs=pairs_of(0.3, 1), seed=seed)
    line.count("a run of another seed" in problems(copies), "one run copied as five seeds")
    renamed = Forger(folder / "renamed")
    renamed.take()
    renamed.take("dhn", test_dataset={"name": "mine", "manifest_sha256": MANIFEST})
    line.count("cannot be those of several sets" in problems(renamed), "a data set renamed")
    majority = Forger(folder / "majority")
    for seed in range(9):
        other = {"name": "elsewhere", "manifest_sha256": ("e" if seed else "f") * 64}
        majority.take("dhn", seed=seed, test_dataset=other, train_dataset=None)
    line.count("name different test pairs" in problems(majority), "a majority under an invented hash")
    yield line

    line = Line("honest boards")
    honest = Forger(folder / "honest")
    for seed in range(3):
        honest.take(seed=seed)
    line.count(not problems(honest), problems(honest))
    yield line
