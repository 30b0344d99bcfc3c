"""Benchmarks are run by hand, so that a name that has moved would be noticed too late: here each is imported."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_it_can_be_imported(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)  # as Python does for a script
    runpy.run_path(str(script), run_name="imported")
