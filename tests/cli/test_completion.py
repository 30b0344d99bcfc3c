"""The shell completes names of components, recipes and runs, not commands and options alone."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from regbench.cli import app


def completed(line: str) -> list[str]:
    """What is offered for the last word of a command line."""
    *args, incomplete = line.split(" ")
    found = ShellComplete(app, {}, "regbench", "_REGBENCH_COMPLETE").get_completions(args, incomplete)
    return [item.value for item in found if item.type == "plain"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("run --registrator ident", ["identity"]),
        ("run --strategy contr", ["contrast-randomised"]),
        ("run --translator mimg", ["mimgcd"]),
        ("evaluate --dataset synth", ["synthetic"]),
        ("datasets info synth", ["synthetic"]),
        ("ablate colreg-table5", ["colreg-table5"]),
        ("recipes show colreg-table5", ["colreg-table5"]),
        ("plugins info worse_", ["worse_than_identity"]),
        ("run --strategy no-such", []),
    ],
)
def test_names_are_offered(line, offered):
    assert completed(line) == offered


def test_finished_runs_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("colreg-a", "colreg-b", "unfinished"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("colreg-a", "colreg-b"):
        (tmp_path / "runs" / name / "result.json").touch()
    assert completed("report ") == ["runs/colreg-a", "runs/colreg-b"]
    assert completed("compare runs/colreg-b") == ["runs/colreg-b"]
    assert completed("evaluate --run runs/unf") == []
