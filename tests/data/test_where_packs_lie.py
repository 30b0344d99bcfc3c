"""Where packs are written: the folder of REGBENCH_DATA, and what is said when it cannot be written."""

import errno
import os
from pathlib import Path

import pytest

from regbench.data.packs.prepare import data_dir, ensure
from regbench.errors import DataError

TINY = {"train": 6, "test": 6, "size": 112}


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", "~/packs")
    assert data_dir() == Path.home() / "packs"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match=rf"written to {tmp_path}: .*name another folder in REGBENCH_DATA"):
        ensure("synthetic", settings=TINY)


def test_a_file_in_place_of_the_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=f"file: {os.strerror(errno.EEXIST)}; name another folder in REGBENCH_DATA"):
        ensure("synthetic", settings=TINY)
