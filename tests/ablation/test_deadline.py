"""No cell is started that would end too late."""

from __future__ import annotations

import datetime

import pytest

from regbench.ablation.cells import Cell
from regbench.ablation.deadline import Deadline, moment_of
from regbench.ablation.launch import Local, run_cells
from regbench.ablation.recipe import RecipeRow
from regbench.errors import UsageError


def cell(name: str, needed: str | None = None) -> Cell:
    return Cell(name, RecipeRow(name=name, registrator="identity"), "synthetic", ("evaluate",), needed_cell=needed)


@pytest.mark.parametrize(("seconds", "allowed"), [(None, True), (0.0, True), (59.0, True), (60.0, True), (61.0, False)])
def test_a_cell_starts_if_it_is_expected_to_end_in_time(seconds, allowed):
    assert Deadline(1060.0, lambda cell: seconds, now=lambda: 1000.0).allows(cell("a")) is allowed
    assert not Deadline(999.0, lambda cell: seconds, now=lambda: 1000.0).allows(cell("a"))


def at(clock: str, day: int = 5) -> float:
    return datetime.datetime.strptime(f"2024-01-{day:02} {clock}", "%Y-%m-%d %H:%M").timestamp()


def test_a_time_of_day_is_the_next_one():
    assert moment_of("18:30", None, at("18:29")) == at("18:30")
    assert moment_of("18:30", None, at("18:30")) == at("18:30", day=6)
    assert moment_of("06:00", None, at("18:30")) == at("06:00", day=6)
    assert moment_of(None, 90, 1000.0) == 1000.0 + 5400
    assert moment_of(None, None, 1000.0) is None


@pytest.mark.parametrize("clock", ["25:00", "six", "18.30", ""])
def test_what_is_no_time_of_day_is_refused(clock):
    with pytest.raises(UsageError, match=f"--end-before {clock}: write a time of day as HH:MM"):
        moment_of(clock, None, 0.0)


def test_both_limits_are_refused():
    with pytest.raises(UsageError, match="give one of them"):
        moment_of("18:30", 5, 0.0)


def test_a_launcher_leaves_what_may_not_start_and_what_needs_it(tmp_path, monkeypatch):
    started = []

    class Ended:
        returncode = 1

        def poll(self):
            return 1

    def start(cell, out, environment):
        started.append((cell.name, environment))
        cell.record(out, "running")
        return Ended()

    monkeypatch.setattr("regbench.ablation.launch.start_cell", start)
    cells = [cell("long"), cell("short"), cell("student", needed="long")]
    ended = []
    launcher = Local(environment={"OMP_NUM_THREADS": "1"}, may_start=lambda cell: cell.name != "long")
    left = run_cells(cells, tmp_path, launcher, lambda cell: ended.append(cell.name))
    assert started == [("short", {"OMP_NUM_THREADS": "1"})]
    assert ended == ["short"]
    assert [cell.name for cell in left] == ["long", "student"]
    assert not (tmp_path / "student").exists(), "what is left for later has not failed"


def test_the_clock_is_asked_before_each_cell(tmp_path, monkeypatch):
    """The second of two cells no longer fits when the first has ended."""
    clock = [0.0]

    class Process:
        returncode = 1

        def poll(self):
            clock[0] += 40
            return 1

    def start(cell, out, environment):
        cell.record(out, "running")
        return Process()

    monkeypatch.setattr("regbench.ablation.launch.start_cell", start)
    deadline = Deadline(60.0, lambda cell: 30.0, now=lambda: clock[0])
    left = run_cells([cell("a"), cell("b")], tmp_path, Local(may_start=deadline.allows), lambda cell: None)
    assert [cell.name for cell in left] == ["b"]
