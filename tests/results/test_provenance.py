from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from regbench.results.provenance import collect, git_state, without_folders


def test_facts_are_there_and_serialise():
    provenance = collect(["/opt/env/bin/regbench", "run", "--out=/home/someone/runs"])
    assert provenance["versions"]["python"]
    assert provenance["versions"]["torch"]
    assert "regbench" in provenance["distributions"]
    assert provenance["cpu"]["cores"] >= 1
    assert provenance["utc"].endswith("+00:00")
    assert provenance["argv"] == ["regbench", "run", "--out=runs"]
    assert str(Path.home()) not in json.dumps(provenance)


def test_what_computed_is_told():
    """TensorFloat-32 rounds to ten bits, which moves the numbers of a GPU."""
    before = torch.get_float32_matmul_precision()
    try:
        for precision, rounds in (("highest", False), ("high", True)):
            torch.set_float32_matmul_precision(precision)
            provenance = collect([], device="cuda")
            assert provenance["device"] == "cuda"
            assert provenance["tf32"] == {"matmul": rounds, "cudnn": torch.backends.cudnn.allow_tf32}
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/data/x.png", "x.png"),
        ("--root=/data/set", "--root=set"),
        ("strategy.teacher=/runs/ab12", "strategy.teacher=ab12"),
        (r"C:\Users\me\a.png", "a.png"),
        ("runs/ab12", "runs/ab12"),
        ("protocol.patch=64", "protocol.patch=64"),
        ("--json", "--json"),
        ("/", ""),
    ],
)
def test_absolute_paths_lose_their_folders(given, kept):
    assert without_folders(given) == kept


def test_git_state(tmp_path):
    def git(*args: str) -> None:
        author = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *author, *args], check=True, capture_output=True)

    assert git_state(tmp_path) is None
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    clean = git_state(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == {**clean, "dirty": True}
