"""What a run logged, as numbers and as event files; also of a run that still trains."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from regbench.cli.tensorboard import command
from regbench.errors import UsageError
from regbench.results import Logged, LogReader


@pytest.fixture
def run(tmp_path):
    """A run that has logged losses, a check of its health and a score."""
    folder = tmp_path / "runs" / "r1"
    folder.mkdir(parents=True)
    write(folder / "log.jsonl", {"stage": "s", "step": 20, "loss": 2.5, "taken_over": True})
    write(folder / "health.jsonl", {"stage": "s", "step": 20, "deploys": "r", "state": "ok", "valid": 0.5})
    write(folder / "curve.jsonl", {"stage": "s", "step": 20, "deploys": "r", "mace": 9})
    return folder


def write(path, *entries):
    with path.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def test_every_number_comes_once(run):
    reader = LogReader(run)
    assert list(reader.new()) == [
        Logged("losses/s/loss", 20, 2.5),
        Logged("health/s/r/valid", 20, 0.5),
        Logged("scores/s/r/mace", 20, 9.0),
    ]
    assert list(reader.new()) == []
    write(run / "log.jsonl", {"stage": "s", "step": 40, "loss": 2.0})
    assert list(reader.new()) == [Logged("losses/s/loss", 40, 2.0)]


def test_a_run_begun_afresh_is_read_from_its_first_line(run):
    reader = LogReader(run)
    write(run / "log.jsonl", {"stage": "s", "step": 40, "loss": 2.0})
    list(reader.new())
    (run / "log.jsonl").unlink()
    write(run / "log.jsonl", {"stage": "s", "step": 20, "loss": 7.0})
    assert list(reader.new()) == [Logged("losses/s/loss", 20, 7.0)]


def test_event_files_hold_the_numbers(run, tmp_path, monkeypatch):
    tensorboardX = pytest.importorskip("tensorboardX")
    out = tmp_path / "events"
    for _ in range(2):  # a second call writes the files anew
        done = CliRunner().invoke(command, [str(run.parent), "--out", str(out)], catch_exceptions=False)
        assert done.exit_code == 0
    (file,) = (out / "r1").iterdir()
    records, data = [], file.read_bytes()
    while data:  # length, its checksum, the record, its checksum
        length = int.from_bytes(data[:8], "little")
        records.append(tensorboardX.proto.event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    values = {v.tag: (record.step, v.simple_value) for record in records for v in record.summary.value}
    assert values == {"losses/s/loss": (20, 2.5), "health/s/r/valid": (20, 0.5), "scores/s/r/mace": (20, 9.0)}


def test_what_is_missing_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"pip install 'regbench\[tensorboard\]'"):
        CliRunner().invoke(command, [str(run)], catch_exceptions=False)
