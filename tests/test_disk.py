"""Files are whole at any moment, have the umask's permissions, and a killed or full write leaves nothing behind."""

from __future__ import annotations

import errno
import os
import stat

import pytest
import torch

from regbench.disk import append_line, in_words, remove_leftovers, replaced
from regbench.results.store import read_json_lines
from regbench.weights.files import write_tensors


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with replaced(tmp_path / "a.json") as partial:
            partial.write_text("{}")
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {})
        append_line(tmp_path / "a.jsonl", "{}")
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def interrupted() -> None:
        with replaced(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "left",
    [".tmpAbC123", ".result.json.0a1b2c3d.partial", "checkpoint.safetensors.partial", ".result.json.ab_12xyz",
     ".pairs.h5.zzzzzzzz", ".board.md.abcdefgh"],
)  # fmt: skip
def test_leftovers_are_removed_and_nothing_else(tmp_path, left):
    keep = ["result.json", ".lock", "checkpoint.safetensors", "synthetic.h5.partial", ".synthetic.h5.checked.json",
            "notes.partial.md", ".hidden", "tmp"]  # fmt: skip
    for name in (left, *keep):
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(keep)
    remove_leftovers(tmp_path / "nowhere")


@pytest.mark.parametrize("half", ['{"b": "val', '{"b"', "x" * 200_000])
def test_half_a_line_is_cut_before_the_next_one(tmp_path, half):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n' + half)
    assert read_json_lines(path) == [{"a": 1}]
    append_line(path, '{"c": 2}')
    assert path.read_text() == '{"a": 1}\n{"c": 2}\n'
    path.write_text(half)
    append_line(path, '{"c": 2}')
    assert path.read_text() == '{"c": 2}\n'


def test_a_damaged_line_between_others_is_left_out_and_told_of(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n\x00\x00garbage\n[1]\n{"c": 2}\n')
    assert read_json_lines(path) == [{"a": 1}, {"c": 2}]
    assert "line 2 is damaged" in caplog.text
    assert "line 3 is damaged" in caplog.text


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_an_error_of_the_disk_says_what_to_do(code):
    words = in_words(OSError(code, os.strerror(code), "/runs/x"))
    assert words.startswith("/runs/x: ")
    assert "; " in words
    assert "Errno" not in words
