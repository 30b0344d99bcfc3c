"""Lineage of a run: the identities of its ancestors, stored in its result so that a board needs no other folder.

A run id is the hash of an identity, so a changed ancestor no longer matches its run id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from regbench.results.schema import Identity, Result, run_id_of

Lineage = Mapping[str, Mapping[str, Any]]
"""Identities by run id, exactly as stored in the ancestors' results."""


def lineage_of(ancestors: Iterable[Result]) -> dict[str, dict[str, Any]]:
    """The identities of results and of all their ancestors, by run id."""
    lineage: dict[str, dict[str, Any]] = {}
    for result in ancestors:
        # A file that was written before a field existed lacks the field, and so does the content of its hash.
        for exclude_unset in (False, True):
            identity = result.identity.model_dump(mode="json", exclude_unset=exclude_unset)
            if run_id_of(identity) == result.run_id:
                lineage[result.run_id] = identity
        lineage |= {run_id: dict(identity) for run_id, identity in result.lineage.items()}
    return lineage


def hidden_supervision(result: Result) -> list[str]:
    """Run ids of ancestors that had labels, for a result that claims ``supervision: none``."""
    if result.identity.supervision != "none":
        return []
    return [run_id for run_id, raw in result.lineage.items() if raw["supervision"] != "none"]


def declared_unlabelled(result: Result) -> bool:
    """Whether nothing but the word of who imported its weights says that they saw no labels."""
    given = result.training.get("weights") or {}
    imported = result.identity.registrator.weights_sha256 is not None and given.get("run_id") is None
    return result.identity.supervision == "none" and imported


def seedless(identity: Identity, lineage: Lineage) -> dict[str, Any]:
    """An identity without its seed and metric version; each run id of an ancestor is replaced by its own description.

    Two runs with equal descriptions differ in seeds alone: their own and those of their ancestors. An ancestor that
    ``lineage`` does not hold (weights, or a run recorded before lineages existed) stays a hash.
    """
    description = identity.model_dump(mode="json", exclude={"seed", "metric_version"})
    description["ancestors"] = [
        seedless(Identity.model_validate(lineage[name]), lineage) if name in lineage else name
        for name in identity.ancestors
    ]
    return description


def row_key(result: Result) -> str:
    """The key of a run's row on a board: everything that decides its result except seeds, as canonical JSON."""
    return json.dumps(seedless(result.identity, result.lineage), sort_keys=True)
