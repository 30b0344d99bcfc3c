"""A strategy of a plugin, held to what it promises before anything is trained."""

from __future__ import annotations

from typing import Literal

from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.strategy import TrainingStrategy
from regbench.errors import PluginError
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.texts import is_folder_name

Supervision = Literal["none", "homography"]
SUPERVISION: tuple[Supervision, ...] = ("none", "homography")
"""Weakest first."""


def strategy_of(configured: ConfiguredComponent) -> TrainingStrategy:
    """An instance of a configured strategy; raises PluginError where it is none."""
    cls = configured.component.load()
    if not (isinstance(cls, type) and issubclass(cls, TrainingStrategy)):
        raise PluginError(f"{_of_plugin(configured)}: {configured.component.target} is no TrainingStrategy")
    return cls(configured.config)


def supervision_of(built: TrainingStrategy, configured: ConfiguredComponent) -> Supervision:
    """What a strategy says of the labels it sees; raises PluginError where that is none of the known words.

    A text that only compares equal to a word would be handed labels under another name.
    """
    own = getattr(built, "supervision", None)
    if type(own) is not str or own not in SUPERVISION:
        raise PluginError(f"{_of_plugin(configured)}: supervision must be {' or '.join(map(repr, SUPERVISION))}")
    return "homography" if own == "homography" else "none"


def deployed_of(built: TrainingStrategy, context: RunContext, configured: ConfiguredComponent) -> Registrator:
    """Build a strategy's networks; raises PluginError where it deploys no registrator."""
    deployed = built.build(context)
    if not isinstance(deployed, Registrator):
        raise PluginError(f"{_of_plugin(configured)}: build gave a {type(deployed).__name__}, no Registrator")
    return deployed


def stages_of(built: TrainingStrategy, context: RunContext, configured: ConfiguredComponent) -> tuple[Stage, ...]:
    """A strategy's stages; raises PluginError where there are none, or their names cannot be those of files."""
    stages = built.stages(context)
    if not isinstance(stages, list | tuple) or not all(isinstance(stage, Stage) for stage in stages) or not stages:
        raise PluginError(f"{_of_plugin(configured)}: stages must give a tuple of at least one Stage")
    for stage in stages:
        for name in (stage.name, *stage.deploys):
            if not is_folder_name(name):
                raise PluginError(
                    f"{_of_plugin(configured)}: stages and what they deploy have plain names, no {name!r}"
                )
        if wrong := [name for name, module in stage.deploys.items() if not isinstance(module, Registrator)]:
            raise PluginError(f"{_of_plugin(configured)}: stage {stage.name!r} deploys {wrong[0]!r}, no Registrator")
    return tuple(stages)


def _of_plugin(configured: ConfiguredComponent) -> str:
    component = configured.component
    return f"{component.role} {component.name!r} of {component.distribution}"
