"""``regbench bench``: what it times, what it prints, and that it leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.e2e.command_line import TINY

QUICKLY = ["--budget", "smoke", "--threads", "1", "--repeats", "2", "--warmup", "0", "--device", "cpu", *TINY]
MCNET = ["--registrator", "mcnet", "--set", "registrator.preset=tiny"]


def test_a_registrator_is_timed_at_every_batch_size(inline, tmp_path):
    done = inline("bench", *MCNET, "--batch", "1,3", *QUICKLY, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert [(r["role"], r["name"], r["call"], r["batch"]) for r in found["rows"]] == [
        ("registrator", "mcnet", "register", 1),
        ("registrator", "mcnet", "register", 3),
    ]
    for row in found["rows"]:
        assert row["median_ms"] > 0
        assert row["pairs_per_s"] == pytest.approx(1e3 * row["batch"] / row["median_ms"], rel=0.01)
        assert row["peak_memory_mb"] is None  # nothing counts it on a CPU
    assert found["settings"]["registrator"]["dim"] == 16  # of the preset that was asked for
    assert (found["device"], found["threads"], found["repeats"], found["protocol"]["patch"]) == ("cpu", 1, 2, 64)
    assert found["provenance"]["versions"]["torch"]
    assert not list(tmp_path.iterdir())


def test_each_stage_of_a_strategy_is_timed_with_and_without_its_update(inline, tmp_path):
    done = inline("bench", *MCNET, "--strategy", "cudhn", "--set", "strategy.batch=2", "--batch", "1", *QUICKLY)
    assert done.code == 0, done.err
    said, _, head, _, *rows = done.out.strip().splitlines()
    assert said.startswith("cpu (")
    assert "1 threads, fp32, torch " in said
    names = [cell.strip() for cell in head.strip("|").split("|")]
    table = [dict(zip(names, (cell.strip() for cell in row.strip("|").split("|")), strict=True)) for row in rows]
    assert [(row["component"], row["call"], row["batch"]) for row in table] == [
        ("mcnet", "register", "1"),
        ("cudhn", "cudhn-alike: sampler", "2"),
        ("cudhn", "cudhn-alike: step", "2"),
        ("cudhn", "cudhn-masked: sampler", "2"),
        ("cudhn", "cudhn-masked: step", "2"),
    ]
    # A step draws its batch too, and updates all of the network.
    assert float(table[2]["ms/call"]) > float(table[1]["ms/call"])
    assert table[2]["parameters"] == table[0]["parameters"]
    assert not list(tmp_path.iterdir())


def test_a_translator_is_timed_alone(inline):
    done = inline("bench", "--translator", "unet", "--batch", "2", *QUICKLY, "--json")
    assert done.code == 0, done.err
    assert [(r["role"], r["call"], r["batch"]) for r in done.json["rows"]] == [("translator", "translate", 2)]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "nothing to time"),
        (["--strategy", "supervised"], 2, "add --registrator"),
        (["--registrator", "mcnett"], 2, "did you mean 'mcnet'"),
        ([*MCNET, "--batch", "one"], 2, "--batch one: write whole numbers"),
        ([*MCNET, "--batch", "0"], 2, "at least 1"),
        ([*MCNET, "--batch", "100000"], 2, "test pairs"),
        ([*MCNET, "--set", "strategy.steps=1"], 2, "unknown section of --set where no strategy is named 'strategy'"),
        (["--translator", "unet", "--weights", "x.safetensors"], 2, "add --registrator NAME"),
        ([*MCNET, "--teacher", "none"], 2, "add --strategy NAME"),
        ([*MCNET, "--weights", "none.safetensors"], 1, "none.safetensors"),
    ],
    ids=lambda value: " ".join(value[:5]) if isinstance(value, list) else None,
)  # fmt: skip
def test_bad_requests_are_one_line_with_the_right_exit_code(inline, args, code, said):
    done = inline("bench", *args, *QUICKLY)
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
