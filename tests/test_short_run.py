"""The script for a borrowed GPU, rehearsed on a CPU: two runs, the second of which goes on from the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
MOST_FILES = 7


def rehearse(out: Path, data: Path, *more: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.gpu.short_run", "--device", "cpu", "--rehearse", "--out", str(out)]
    environment = os.environ | {"REGBENCH_DATA": str(data), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert 2 < len([path for path in out.iterdir() if path.is_file()]) <= MOST_FILES
    return json.loads((out / "run.json").read_text())


@pytest.mark.slow
def test_every_part_is_kept_and_the_next_run_goes_on(tmp_path):
    first = rehearse(tmp_path / "1", tmp_path, "--until", "240")
    wrong = {name: value for name, value in first.items() if "FAILED" in str(value) or "not begun" in str(value)}
    assert not wrong
    assert not first["agreement"]["failed"]
    assert all(entry["relative"] == 0 for entry in first["agreement"]["difference"].values()), "CPU against itself"
    assert first["evaluation"] == {"mcnet": 0.0}
    assert all(row["ms"] > 0 and row["hours"] > 0 for row in first["times"].values())
    cell = first["cell unet"]
    assert cell["steps"][0] == 0 < cell["steps"][1]
    assert {"follows_source", "follows_target", "l1 translation"} < set(cell["curve"][0])

    after = json.loads((tmp_path / "1" / "next.json").read_text())
    assert after["queue"][0] == ["r-self", "r-self-control"]
    assert after["steps"] == {"unet": cell["steps"][1]}
    weights = [load_file(tmp_path / "1" / file) for file in after["files"]["unet"]]
    assert sum(len(shard) for shard in weights) > 20

    second = rehearse(tmp_path / "2", tmp_path, "--until", "90", "--after", str(tmp_path / "1"))
    assert "times" not in second, "measured once"
    for name in ("r-self", "r-self-control"):
        assert {"mace", "identity"} < set(second[f"cell {name}"]["curve"][0]), second[f"cell {name}"]
    coming = json.loads((tmp_path / "2" / "next.json").read_text())
    assert coming["runs"] == 2
    assert set(coming["files"]) == {"unet", "r-self"}, "no later run starts from the control"
    assert coming["steps"]["unet"] == cell["steps"][1]
    assert all((tmp_path / "2" / file).is_file() for files in coming["files"].values() for file in files)


def test_no_run_of_the_queue_writes_more_than_seven_files():
    """Beside two files of facts: shards of what later runs start from. The U-Net's 22 M weights take four at most."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.gpu.cells import CELLS, Progress
    finally:
        sys.path.remove(str(ROOT))
    progress, trained = Progress(), set()
    while progress.queue:
        assert all(need in trained for name in progress.queue[0] for need in CELLS[name].needs), progress.queue[0]
        trained |= set(progress.queue[0])
        shards = {"unet": 4} | {name: 1 for name in CELLS if name != "unet"}
        assert 2 + sum(shards[name] for name in progress.wanted & trained) <= MOST_FILES
        progress.queue = progress.queue[1:]
