from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.command_line import TINY, Outcome, Regbench


@pytest.fixture
def inline(tmp_path, packs, monkeypatch, capsys):
    """The same command line in this process: for what ends before any work is done."""
    from regbench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGBENCH_DATA", str(packs))

    def run(*args: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["regbench", *args])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def packs(tmp_path_factory) -> Path:
    """Packs are prepared once for all end-to-end tests."""
    folder = tmp_path_factory.mktemp("packs")
    prepared = Regbench(folder, folder)("datasets", "prepare", "synthetic", *TINY)
    assert prepared.code == 0, prepared.err
    return folder


@pytest.fixture
def regbench(tmp_path, packs) -> Regbench:
    return Regbench(tmp_path, packs)


@pytest.fixture(scope="module")
def regbench_once(tmp_path_factory, packs) -> Regbench:
    """A folder that tests of a module share."""
    return Regbench(tmp_path_factory.mktemp("shared"), packs)
