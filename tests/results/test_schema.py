"""The published schema, run ids, and what a record must hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from regbench.results import Identity, Result, json_schema, run_id_of

PUBLISHED = Path(__file__).parents[2] / "docs" / "result.schema.json"
IDENTITY = {
    "translator": None,
    "registrator": {
        "name": "sift",
        "version": "0.1.0",
        "distribution": "regbench-matchers",
        "config": {"ratio": 0.8},
    },
    "strategy": None,
    "train_dataset": None,
    "test_dataset": {"name": "synthetic", "manifest_sha256": "a" * 64},
    "protocol": {"patch": 128, "rho": 32, "pairing": "frozen", "source": "A"},
    "seed": 0,
    "budget": "full",
    "metric_version": 1,
    "supervision": "none",
}


def record(**changes) -> dict:
    identity = Identity.model_validate(IDENTITY)
    content = {
        "run_id": run_id_of(identity),
        "status": "ok",
        "verdict": "aligned",
        "identity": identity.model_dump(mode="json"),
        "metrics": {"mace": {"value": 1.0, "ci95": [0.5, 1.5], "n": 4}},
    }
    return {**content, **changes}


def test_published_schema_is_true():
    """The file is ``json.dumps(json_schema(), indent=2)`` and a line end."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json_schema()


def test_run_id_is_the_hash_anyone_can_compute():
    identity = Identity.model_validate(IDENTITY)
    text = json.dumps(identity.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    assert run_id_of(identity) == hashlib.sha256(text.encode()).hexdigest()[:12] == "4bd50f711ecb"


def test_run_id_does_not_depend_on_order_but_on_every_value():
    identity = Identity.model_validate(IDENTITY)
    again = Identity.model_validate(dict(reversed(IDENTITY.items())))
    assert run_id_of(again) == run_id_of(identity)
    assert run_id_of(Identity.model_validate({**IDENTITY, "seed": 1})) != run_id_of(identity)


def test_fields_that_old_runs_lack_are_left_out_of_their_ids():
    """At the value that every old run had; any other value changes the id."""
    identity = Identity.model_validate(IDENTITY)
    registrator = identity.registrator.model_copy(update={"files": {"vgg.pth": "d" * 64}})
    assert not {"precision", "files"} & {*identity.model_dump(mode="json"), *identity.model_dump()["registrator"]}
    others = [identity.model_copy(update=more) for more in ({"precision": "bf16"}, {"registrator": registrator})]
    assert len({run_id_of(i) for i in (identity, *others)}) == 3
    for other in others:
        assert Identity.model_validate(other.model_dump(mode="json")) == other


def test_record_survives_json():
    result = Result.model_validate(record())
    assert Result.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "surprise"),
        ({"verdict": None}, "verdict"),
        ({"metrics": {}}, "mace"),
        ({"status": "failed"}, "reason"),
        ({"status": "fine"}, "status"),
        ({"run_id": "../../../etc"}, "run_id"),
        ({"identity": {**IDENTITY, "protocol": {**IDENTITY["protocol"], "pairing": "sometimes"}}}, "pairing"),
    ],
)
def test_wrong_records_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Result.model_validate(record(**changes))
