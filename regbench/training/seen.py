"""How much a stage shows to the networks it trains: pairs to registrators, images to translators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.training.checkpoint import TrainingState

_SIDES = {"pair": "st", "self_source": "s", "self_target": "t", "unpaired": "st"}
"""Whose images a view holds. Self-pairs are made of the images of ``pair``, and bring no others."""


def trained(stage: Stage, modules: Mapping[str, nn.Module], kind: type[nn.Module]) -> list[nn.Module]:
    """The modules of a kind that a stage updates, in whole or in part.

    Args:
        stage: the stage.
        modules: those of the run, by name.
        kind: :class:`regbench.Registrator` or :class:`regbench.Translator`.
    """
    names = dict.fromkeys(name.partition(".")[0] for name in stage.updated)
    return [module for name in names if isinstance(module := modules.get(name), kind)]


def stage_record(stage: Stage, modules: Mapping[str, nn.Module], state: TrainingState) -> dict[str, Any]:
    """A stage that was trained, for ``result.json``.

    ``pairs_seen`` are the pairs its registrators learned from, None where it was trained before they were counted;
    ``images_seen`` are the images its translators were shown.
    """
    in_a_step = state.step_pairs.get(stage.name)
    if in_a_step is None and not trained(stage, modules, Registrator):
        in_a_step = 0  # it may have been taken over from another run
    return {
        "name": stage.name,
        "steps": stage.steps,
        "batch": stage.batch,
        "seconds": round(state.stage_seconds.get(stage.name, 0), 3),
        "pairs_seen": None if in_a_step is None else stage.steps * in_a_step,
        "images_seen": images_seen(stage, modules),
    }


def images_seen(stage: Stage, modules: Mapping[str, nn.Module]) -> int:
    """Images in the batches of a stage that trains a translator, over all steps; 0 for another stage."""
    if not trained(stage, modules, Translator):
        return 0
    return stage.steps * stage.batch * len({side for view in stage.views for side in _SIDES[view]})


@contextmanager
def counting_pairs(stage: Stage, modules: Mapping[str, nn.Module]) -> Iterator[list[int]]:
    """While entered, the list receives the number of pairs of every estimate that the stage's registrators learn from.

    An estimate without a gradient, such as of a frozen network or a label for somebody else, is not counted.
    """
    counts: list[int] = []

    def count(module: nn.Module, images: tuple[torch.Tensor, ...], _: object) -> None:
        if torch.is_grad_enabled():
            counts.append(len(images[0]))

    hooks = [module.register_forward_hook(count) for module in trained(stage, modules, Registrator)]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()
