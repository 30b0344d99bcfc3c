"""The training of a plan: its trainer, its data, and the stages it shares with other runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from regbench import __version__
from regbench.api.translator import Translator
from regbench.data.sampler import PairSampler
from regbench.results.provenance import tf32
from regbench.runs.plan import Plan
from regbench.training.checkpoint import TrainingState
from regbench.training.stage_cache import StageCache, code_hash
from regbench.training.trainer import Trainer
from regbench.weights.used import known_weights_only

Train = Callable[..., TrainingState]
"""Trains the run in all its processes; takes the keyword arguments of :func:`train_plan`."""


def train_plan(plan: Plan, sampler: PairSampler | None = None, **first: Any) -> TrainingState:
    """Train the run's stages, in every process; ``first`` is what the first one reports, scores and watches with."""
    trainer = Trainer(
        plan.stages,
        plan.context.modules,
        sampler or sampler_of(plan),
        seed=plan.identity.seed,
        folder=plan.folder,
        config=plan.trainer,
        stage_cache=stage_cache_of(plan),
        world=plan.context.world,
        bound=_binding(plan),
        **first,
    )
    components = (plan.identity.translator, plan.identity.registrator, plan.identity.strategy)
    with known_weights_only({sha256 for part in components if part for sha256 in part.files.values()}):
        return trainer.fit()


def sampler_of(plan: Plan) -> PairSampler:
    """The training pairs of a plan."""
    return PairSampler(
        plan.pack, plan.protocol, seed=plan.identity.seed, device=plan.context.device, labels=plan.labels
    )


def _binding(plan: Plan) -> dict[str, str]:
    """What a checkpoint must have been made with for this run to go on from it."""
    device = plan.context.device.type
    facts = {"run_id": plan.run_id, "precision": plan.context.precision, "device": device}
    return facts if device == "cpu" else facts | {"tf32": json.dumps(tf32())}


def stage_cache_of(plan: Plan) -> StageCache | None:
    """The cache of stages the run has in common with others; None unless ``run.share`` names a folder."""
    if plan.trainer.share is None:
        return None
    identity = plan.identity.model_dump(mode="json")
    settings = ("translator", "train_dataset", "protocol", "seed", "budget", "ancestors", "supervision")
    translators = [module for module in plan.context.modules.values() if isinstance(module, Translator)]
    computed_by = {
        "pairs": asdict(plan.context.info),
        "precision": plan.context.precision,
        "device": str(plan.context.device.type),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "regbench": __version__,
        "code": code_hash("regbench", *(type(m).__module__.partition(".")[0] for m in translators)),
    }
    if plan.context.device.type != "cpu":
        computed_by["tf32"] = tf32()
    if plan.context.world.processes > 1:
        computed_by["processes"] = plan.context.world.processes
    basis = {name: identity[name] for name in settings} | computed_by
    return StageCache(plan.trainer.share, basis, identity["strategy"], plan.stages, plan.context.modules)
