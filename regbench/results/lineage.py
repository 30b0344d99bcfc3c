"""Where a run comes from: the identities of its ancestors, kept in its result so that a board needs no other folder.

A run id is the hash of an identity, so nobody can change a recorded ancestor without its name giving it away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from regbench.results.schema import Identity, Result, run_id_of

Lineage = Mapping[str, Mapping[str, Any]]
"""Identities by run id, as their own results hold them."""


def lineage_of(ancestors: Iterable[Result]) -> dict[str, dict[str, Any]]:
    """The identities of results, and of everything those start from, by run id."""
    found: dict[str, dict[str, Any]] = {}
    for result in ancestors:
        # A file written before a field was added lacks it, and its hash is without it.
        for missing in (False, True):
            identity = result.identity.model_dump(mode="json", exclude_unset=missing)
            if run_id_of(identity) == result.run_id:
                found[result.run_id] = identity
        found |= {run_id: dict(identity) for run_id, identity in result.lineage.items()}
    return found


def hidden_supervision(result: Result) -> list[str]:
    """Run ids of ancestors that had labels although the result says that nothing had."""
    if result.identity.supervision != "none":
        return []
    return [run_id for run_id, raw in result.lineage.items() if raw["supervision"] != "none"]


def seedless(identity: Identity, lineage: Lineage) -> dict[str, Any]:
    """An identity without its seed and with each ancestor described the same way in the place of its run id.

    Two runs with equal descriptions differ in nothing but seeds: their own and those of what they start from. An
    ancestor that ``lineage`` does not hold (weights, or a run recorded before there was a lineage) stays as its hash.
    """
    told = identity.model_dump(mode="json", exclude={"seed"})
    told["ancestors"] = [
        seedless(Identity.model_validate(lineage[name]), lineage) if name in lineage else name
        for name in identity.ancestors
    ]
    return told


def row_key(result: Result) -> str:
    """What makes a row of a board: everything that decides the run but seeds, as canonical JSON."""
    return json.dumps(seedless(result.identity, result.lineage), sort_keys=True)
