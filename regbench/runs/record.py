"""What a result says of how its run was made: its training, its code and machine, its value ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from regbench.data.value_ranges import same_range
from regbench.metrics.memory import peak_mb
from regbench.plugins.others import third_party
from regbench.plugins.registry import registry
from regbench.results.provenance import collect
from regbench.runs.plan import Plan
from regbench.runs.request import ROLES
from regbench.training.checkpoint import TrainingState
from regbench.training.seen import stage_record
from regbench.weights.files import read_metadata


def training_record(plan: Plan, state: TrainingState) -> dict[str, Any]:
    """How the run was trained, for ``result.json``."""
    stages = [stage_record(stage, plan.context.modules, state) for stage in plan.stages]
    pairs = [stage["pairs_seen"] for stage in stages]
    record = {
        "parameters": sum(p.numel() for p in plan.deployed.parameters()),
        "seconds": round(state.seconds, 3),
        "stages": stages,
        "pairs_seen": None if None in pairs else sum(pairs),
        "images_seen": sum(stage["images_seen"] for stage in stages),
        "budget": plan.budget.summary,
        "pairs": asdict(plan.context.info),
        "ranges": learned_ranges(plan),
        "precision": plan.context.precision,
        "of_no_paper": plan.unpublished_combination,
        "peak_memory_mb": round(peak_mb(), 1),
    }
    if plan.given is not None:
        record["weights"] = {"run_id": plan.given.run_id, "supervision": plan.given.supervision}
    if plan.context.device.type == "cuda":
        record["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(plan.context.device) / 2**20, 1)
    if plan.context.world.processes > 1:
        record["processes"] = plan.context.world.processes
    return record


def provenance_of(plan: Plan) -> dict[str, Any]:
    """Code, machine, device; ``strategy``: what the strategy adds; ``third_party``: hashes of the code of others."""
    facts = dict(plan.strategy.provenance()) if plan.strategy else {}
    parts = {role: getattr(plan.identity, role) for role in ROLES}
    names = {role: part.name for role, part in parts.items() if part} | {"dataset": plan.pack.name}
    used = [component for role, name in names.items() if (component := registry().find(role, name)) is not None]
    more = {"strategy": facts, "third_party": third_party([*used, *registry().all("metric")])}
    return collect(device=plan.context.device.type) | {name: value for name, value in more.items() if value}


def learned_ranges(plan: Plan) -> dict[str, str]:
    """Which stored values of source and target the deployed network knows as black and white.

    A user's own images are read alike. Weights that are given say what they learned from; else it is the pack.
    """
    if plan.stages or plan.context.weights is None:
        return ranges_of(plan)
    metadata = read_metadata(plan.context.weights)
    return {side: metadata[f"range_{side}"] for side in ("source", "target") if f"range_{side}" in metadata}


def ranges_of(plan: Plan) -> dict[str, str]:
    """Which stored values of source and target are black and white in the plan's pack."""
    a, b = plan.pack.recorded_ranges
    return {"source": a, "target": b} if plan.protocol.source == "A" else {"source": b, "target": a}


def other_ranges(plan: Plan, recorded: Mapping[str, str]) -> list[str]:
    """A line for each side that a plan reads with another value range than its network learned with.

    Args:
        plan: of a finished run on a data set.
        recorded: the ranges of source and target it learned with; empty where nothing is known.
    """
    letters = "AB" if plan.protocol.source == "A" else "BA"
    return [
        f"warning: the {side} was read with {recorded[side]} when this network learned, and is read with {own} here; "
        f"if the sensor is the same, add --set dataset.range_{letter.lower()}={recorded[side].partition(' of ')[0]}"
        for letter, (side, own) in zip(letters, ranges_of(plan).items(), strict=True)
        if side in recorded and not same_range(recorded[side], own)
    ]
