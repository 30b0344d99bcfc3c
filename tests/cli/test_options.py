"""Options that verbs share: paths with ~, runs among other things, devices."""

from __future__ import annotations

import re

import click
import pytest

from regbench.cli import VERBS
from regbench.cli._shared.options import PathType, RunType, WeightsType, finished_runs
from regbench.errors import UsageError
from tests.e2e.conftest import inline, packs  # noqa: F401  (fixtures)

RUN_ID = "0123456789ab"


def paths_of(command: click.Command, name: str = ""):
    """Every parameter of a command and its subcommands that is a path."""
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            yield f"{name} {parameter.name}", parameter.type
    for sub in getattr(command, "commands", {}).values():
        yield from paths_of(sub, f"{name} {sub.name}")


@pytest.mark.parametrize("verb", VERBS)
def test_every_path_expands_the_home_folder(verb, monkeypatch, tmp_path):
    from importlib import import_module

    monkeypatch.setenv("HOME", str(tmp_path))
    for name, kind in paths_of(import_module(f"regbench.cli.{verb}").command, verb):
        assert isinstance(kind, PathType), f"{name} is a click.Path of its own"
        assert kind.convert("~/x", None, None) == tmp_path / "x", name


@pytest.fixture
def runs(tmp_path):
    """A folder with a run and much else."""
    (tmp_path / f"as-is-sift-{RUN_ID}").mkdir()
    for name in ("result.json", "weights.safetensors", "pairs.h5"):
        (tmp_path / f"as-is-sift-{RUN_ID}" / name).write_text("{}")
    (tmp_path / "boards").mkdir()
    (tmp_path / "table5-quick" / "cell" / "run").mkdir(parents=True)
    (tmp_path / "table5-quick" / "cell" / "run" / "result.json").write_text("{}")
    (tmp_path / f"{RUN_ID}.json").write_text("{}")
    (tmp_path / f"{RUN_ID}.pairs.h5").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "board.toml").write_text("")
    return tmp_path


def test_of_many_paths_the_runs_are_taken_and_the_others_told(runs, capsys):
    taken = finished_runs(sorted(runs.iterdir()))
    assert [path.name for path in taken] == [f"{RUN_ID}.json", f"as-is-sift-{RUN_ID}"]
    told = capsys.readouterr().err
    assert {line.split(":")[0].rsplit("/", 1)[1] for line in told.splitlines()} == {
        "boards", "table5-quick", f"{RUN_ID}.pairs.h5", "notes.txt", "board.toml",
    }  # fmt: skip
    assert "table5-quick: holds no result.json, but 1 runs" in told


def test_one_path_and_a_missing_one_are_left_to_the_verb(runs, capsys):
    assert finished_runs([runs / "boards"]) == [runs / "boards"]
    assert finished_runs([runs / "none", runs / f"{RUN_ID}.json"]) == [runs / "none", runs / f"{RUN_ID}.json"]
    assert finished_runs([runs / f"as-is-sift-{RUN_ID}" / "result.json"]) == [runs / f"as-is-sift-{RUN_ID}"]
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match=r"none of these 2 paths is a finished run: .*boards holds no"):
        finished_runs([runs / "boards", runs / "notes.txt"])


def test_a_file_of_a_run_stands_for_the_run(runs):
    run = runs / f"as-is-sift-{RUN_ID}"
    for path in (run, run / "result.json", run / "weights.safetensors"):
        assert RunType().convert(str(path), None, None) == run
    assert RunType().convert(str(runs / "none"), None, None) == runs / "none"
    with pytest.raises(UsageError, match=re.escape(f"is no run but holds 1, such as {run}")):
        RunType().convert(str(runs), None, None)
    for name in ("w.pth", "w.safetensors"):
        (runs / name).write_text("")
        with pytest.raises(UsageError, match="is a weights file, and a run directory is wanted"):
            RunType().convert(str(runs / name), None, None)


def test_a_run_is_no_weights_file(runs):
    run = runs / f"as-is-sift-{RUN_ID}"
    with pytest.raises(UsageError, match=re.escape(f"name {run / 'weights.safetensors'}")):
        WeightsType().convert(str(run), None, None)


@pytest.mark.parametrize(
    "device", ["mps", "xpu", "cpu:7", "cuda:", "cuda:x", "cuda:99999999999", "CUDA", "", "\x1b[2J"]
)
@pytest.mark.parametrize("verb", ["evaluate", "register", "bench", "ablate"])
def test_devices_that_nothing_runs_on(inline, verb, device):  # noqa: F811
    words = {
        "evaluate": ["--registrator", "identity"],
        "register": ["a.png", "b.png", "--registrator", "sift"],
        "bench": ["--registrator", "identity"],
        "ablate": ["none.toml"],
    }
    done = inline(verb, *words[verb], "--device", device)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "use --device cpu" in done.err
    assert "\x1b" not in done.err
