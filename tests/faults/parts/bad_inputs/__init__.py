"""Generated bad inputs: each is taken, or refused in one line that names the file or the setting."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.command import Said
from tests.faults.parts.bad_inputs.arrays import hdf5, images, weights
from tests.faults.parts.bad_inputs.documents import boards, label_files, recipes, results
from tests.faults.parts.bad_inputs.generated import Inputs, Try
from tests.faults.parts.bad_inputs.words import command_lines, environments, settings
from tests.faults.table import Line, Size


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Every kind of input, 5,000 and more in all (``small``: a fortieth of them)."""
    kinds: dict[str, tuple[Callable[[Inputs], Try], int]] = {
        "words on the command line": (command_lines, 700),
        "values of --set": (settings, 1400),
        "environment variables": (environments, 150),
        "result.json": (results, 700),
        "board.toml, paper.toml and paper.csv": (boards, 400),
        "recipes": (recipes, 700),
        "pairs.csv and label files": (label_files, 400),
        "weights and checkpoints": (weights, 500),
        "HDF5: pairs and packs": (hdf5, 400),
        "images": (images, 400),
    }
    for number, (name, (prepared, count)) in enumerate(kinds.items()):
        place = folder / str(number)
        place.mkdir()
        inputs = Inputs(random.Random(f"bad inputs {number}"), place)
        attempt, line = prepared(inputs), Line(f"bad inputs: {name}")
        for i in range(count if size == "full" else max(4, count // 40)):
            said, words = attempt(inputs, i)
            _count(line, said, words)
        yield line


def _count(line: Line, said: Said, words: tuple[str, ...]) -> None:
    line.tracebacks += said.trace
    line.generic += said.generic
    line.generic_said += [said.err.strip()[-300:]] * said.generic
    lines = [text for text in said.err.splitlines() if text.strip()]
    usage = any(text.startswith("Usage:") for text in lines)  # what click says of options
    fine = said.code == 0 or (said.code in (1, 2) and (len(lines) == 1 or usage) and (usage or said.names(*words)))
    line.count(fine and not said.trace, f"code {said.code}, no word of {words}: {said.err[-400:]!r}")
