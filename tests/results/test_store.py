"""Files: atomic, byte-stable, and one clear line when broken."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pytest

from regbench.errors import DataError
from regbench.metrics.corner import mace
from regbench.results import (
    Identity,
    Pairs,
    Result,
    find_runs,
    load_result,
    read_pairs,
    run_id_of,
    write_json,
    write_pairs,
    write_result,
    write_text,
)


def make_pairs(n=400, seed=0) -> Pairs:
    rng = np.random.default_rng(seed)
    truth = rng.integers(-32, 33, (n, 4, 2))
    estimate = truth + rng.normal(0, 2, (n, 4, 2))
    return Pairs.of(truth, estimate, rng.random(n) > 0.1, np.arange(n) // 6)


def make_result(seed=0) -> Result:
    identity = Identity.model_validate(
        {
            "translator": None,
            "registrator": {"name": "sift", "version": "1", "distribution": "d"},
            "strategy": None,
            "train_dataset": None,
            "test_dataset": {"name": "synthetic", "manifest_sha256": "a" * 64},
            "protocol": {"patch": 128, "rho": 32, "pairing": "frozen"},
            "seed": seed,
            "budget": "full",
            "metric_version": 1,
            "supervision": "none",
        }
    )
    return Result(
        run_id=run_id_of(identity),
        status="ok",
        verdict="aligned",
        identity=identity,
        metrics={"mace": {"value": 1.0}},
        training={"loss": float("nan")},
    )


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_pairs_come_back_small_and_to_the_byte(tmp_path):
    path, pairs = tmp_path / "pairs.h5", make_pairs()
    write_pairs(path, pairs)
    content = path.read_bytes()
    assert len(content) < 100_000
    write_pairs(path, pairs)
    assert path.read_bytes() == content
    stored_pairs = read_pairs(path)
    for name in ("displacement", "estimate", "error", "identity_error", "ok", "image"):
        stored, given = getattr(stored_pairs, name), getattr(pairs, name)
        assert stored.dtype == given.dtype
        assert np.array_equal(stored, given)
    assert mace(stored_pairs.errors) == mace(pairs.errors)


def test_confidences_are_optional(tmp_path):
    """Files without them stay what they were, to the byte."""
    plain, path = make_pairs(), tmp_path / "pairs.h5"
    write_pairs(path, plain)
    before = path.read_bytes()
    assert read_pairs(path).confidence is None
    assert read_pairs(path).errors.confidence is None
    given = np.linspace(0, 1, len(plain.ok), dtype=np.float32)
    write_pairs(path, dataclasses.replace(plain, confidence=given))
    assert path.read_bytes() != before
    assert np.array_equal(read_pairs(path).confidence, given)
    with pytest.raises(ValueError, match="outside of 0 to 1"):
        write_pairs(path, dataclasses.replace(plain, confidence=given + 0.5))
    with pytest.raises(ValueError, match="has shape"):
        write_pairs(path, dataclasses.replace(plain, confidence=given[1:]))


def test_errors_are_those_of_the_corners():
    shift = np.tile([3.0, 4.0], (1, 4, 1))
    pairs = Pairs.of(shift, np.zeros_like(shift), [True], [0])
    assert pairs.error.tolist() == pairs.identity_error.tolist() == [5.0]
    lost = Pairs.of(shift, np.full_like(shift, np.nan), [False], [0])
    assert mace(lost.errors) == 5.0


@pytest.mark.parametrize("keep", [0, 100, 20_000])
def test_truncated_pairs(tmp_path, keep):
    path = tmp_path / "pairs.h5"
    write_pairs(path, make_pairs())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="truncated or broken") as error:
        read_pairs(path)
    assert str(path) in one_line(error)


def test_pairs_of_another_shape_format_or_version(tmp_path):
    path = tmp_path / "pairs.h5"
    with pytest.raises(DataError, match="does not exist"):
        read_pairs(path)
    write_pairs(path, make_pairs(4))
    with h5py.File(path, "a") as file:
        del file["image"]
        file["image"] = np.zeros(3, "i4")
    with pytest.raises(DataError, match="image has shape"):
        read_pairs(path)
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 2
    with pytest.raises(DataError, match="upgrade"):
        read_pairs(path)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "other"
    with pytest.raises(DataError, match="not a regbench-pairs file"):
        read_pairs(path)


def test_result_comes_back(tmp_path):
    result, path = make_result(), tmp_path / "run" / "result.json"
    write_result(path, result)
    loaded = load_result(path)
    assert loaded.identity == result.identity
    assert loaded.training == {"loss": None}  # JSON has no nan
    assert find_runs(tmp_path) == [path.parent]


def test_result_under_a_false_id_is_not_written(tmp_path):
    wrong = make_result().model_copy(update={"run_id": "0" * 12})
    with pytest.raises(ValueError, match="not the hash"):
        write_result(tmp_path / "result.json", wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(schema_version=2), "upgrade regbench"),
        (lambda raw: raw.update(status="odd"), "status"),
        (lambda raw: raw["identity"].update(seed=9), "not the hash of the identity"),
        (lambda raw: raw.pop("identity"), "identity: Field required"),
    ],
)
def test_broken_results_are_one_line(tmp_path, change, message):
    path = tmp_path / "result.json"
    write_result(path, make_result())
    raw = json.loads(path.read_text())
    change(raw)
    write_json(path, raw)
    with pytest.raises(DataError, match=message) as error:
        load_result(path)
    assert str(path) in one_line(error)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_what_is_no_result(tmp_path, text):
    path = tmp_path / "result.json"
    with pytest.raises(DataError, match="cannot be read"):
        load_result(path)
    path.write_text(text)
    with pytest.raises(DataError) as error:
        load_result(path)
    one_line(error)


def test_committed_results_are_called_by_their_id(tmp_path):
    result = make_result()
    good, bad = tmp_path / f"{result.run_id}.json", tmp_path / "mine.json"
    write_result(good, result)
    write_result(bad, result)
    assert load_result(good, committed=True) == load_result(bad)
    with pytest.raises(DataError, match="rename it"):
        load_result(bad, committed=True)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr("regbench.disk.os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
