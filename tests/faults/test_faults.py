"""The small size of every part of the fault suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.table import Line, all_parts, in_words

PARTS = all_parts()


@pytest.mark.parametrize("name", PARTS)
def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    lines = list(PARTS[name]("small", tmp_path))
    assert lines
    assert all(line.tries for line in lines)
    assert not [what for line in lines for what in line.losses], "\n".join(in_words(lines))
    assert not sum(line.tracebacks for line in lines)


def test_a_loss_is_counted_and_named() -> None:
    line = Line("a fault")
    line.count(True, "held")
    line.count(False, "a number was wrong")
    assert (line.tries, line.survived) == (2, 1)
    table, loss = in_words([line])
    assert "| a fault |       2 |          1 |      1 |" in table
    assert loss == "LOST a fault: a number was wrong"
