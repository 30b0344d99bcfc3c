"""What a run starts from: recorded with it, bound to its name, and the same whatever the seeds."""

from __future__ import annotations

import json

import pytest

from regbench.errors import DataError
from regbench.results import Identity, Result, load_result, run_id_of, write_result
from regbench.results.lineage import hidden_supervision, lineage_of, row_key
from tests.results.test_schema import IDENTITY


def result_of(ancestors: list[Result] | None = None, **changes) -> Result:
    ancestors = ancestors or []
    identity = Identity.model_validate({**IDENTITY, "ancestors": [a.run_id for a in ancestors], **changes})
    return Result(
        run_id=run_id_of(identity), status="failed", reason="none", identity=identity, lineage=lineage_of(ancestors)
    )


def test_the_lineage_is_whole_and_survives_the_file(tmp_path):
    first = result_of(seed=1)
    second = result_of([first], seed=2)
    third = result_of([second], seed=3)
    write_result(tmp_path / "result.json", third)
    again = load_result(tmp_path / "result.json")
    assert set(again.lineage) == {first.run_id, second.run_id}
    assert all(run_id_of(identity) == name for name, identity in again.lineage.items())


def test_rows_are_equal_up_to_seeds_at_every_depth():
    def grandchild(*seeds: int, budget: str = "full") -> str:
        first = result_of(seed=seeds[0], budget=budget)
        return row_key(result_of([result_of([first], seed=seeds[1])], seed=seeds[2]))

    assert grandchild(0, 0, 0) == grandchild(1, 2, 3)
    assert grandchild(0, 0, 0) != grandchild(0, 0, 0, budget="quick")


def test_an_ancestor_nothing_is_known_of_stays_itself():
    """Weights, or a run recorded without its lineage: other hashes are other rows."""
    known, other = result_of(seed=1), result_of(seed=2)
    untold = [result_of(ancestors=[a]).model_copy(update={"lineage": {}}) for a in (known, other)]
    assert len({row_key(result_of([known])), *map(row_key, untold)}) == 3


def test_an_identity_written_by_an_older_version_keeps_its_name(tmp_path):
    """A file without a field that has a default today: its hash is without it."""
    raw = {k: v for k, v in IDENTITY.items() if k != "ancestors"}
    old = Result.model_validate({"run_id": run_id_of(raw), "status": "failed", "reason": "none", "identity": raw})
    child = result_of([old])
    assert run_id_of(child.lineage[old.run_id]) == old.run_id
    assert row_key(child) == row_key(result_of([result_of()]))


def test_labels_of_an_ancestor_are_found():
    taught = result_of(supervision="homography")
    assert hidden_supervision(result_of([taught])) == [taught.run_id]
    assert hidden_supervision(result_of([taught], supervision="homography")) == []
    assert hidden_supervision(result_of([result_of(seed=1)])) == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda identity: identity.update(seed=9), "not the hash of the identity it is given"),
        (lambda identity: identity.pop("registrator"), "has no valid identity"),
    ],
)
def test_an_edited_ancestor_is_refused(tmp_path, edit, message):
    path = tmp_path / "result.json"
    write_result(path, result_of([result_of(seed=1)]))
    raw = json.loads(path.read_text())
    (identity,) = raw["lineage"].values()
    edit(identity)
    path.write_text(json.dumps(raw))
    with pytest.raises(DataError, match=message):
        load_result(path)
