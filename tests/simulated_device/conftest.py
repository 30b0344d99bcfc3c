"""The slow suite ends with a table of what it counted: one row for each stage of each combination."""

from __future__ import annotations

from typing import Any

import pytest
from tabulate import tabulate

HEADERS = ("combination", "stage", "waits", "blocking copies", "pageable copies", "launches")


@pytest.fixture(scope="session")
def counted(request) -> list[tuple[Any, ...]]:
    """The rows of that table, to which each test adds its own."""
    rows: list[tuple[Any, ...]] = []
    request.config.stash[_ROWS] = rows
    return rows


_ROWS = pytest.StashKey[list[tuple[Any, ...]]]()


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Print it."""
    if rows := config.stash.get(_ROWS, None):
        terminalreporter.section("counted on the simulated device, in one step of each stage")
        terminalreporter.write_line(tabulate(rows, HEADERS, tablefmt="pipe"))
