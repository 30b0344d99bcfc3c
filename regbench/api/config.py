"""Typed component settings: what ``--set registrator.scales=4`` is checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict

from regbench.results.schema import LeavesOut


@dataclass(frozen=True)
class StepCount:
    """Marks a setting as a number of training steps, which a budget may scale.

    ``floor`` is the smallest number that a budget scales it down to, so that no stage vanishes.
    """

    floor: int = 50


Steps = Annotated[int, StepCount()]
"""A number of training steps. The default is the published schedule; a budget factor multiplies it."""


class ComponentConfig(LeavesOut):
    """Base of every component's settings, a pydantic model. Unknown keys are refused; values are immutable.

    The defaults are the published algorithm at its published size. ``presets`` maps the name of a preset to values that
    replace defaults; a budget of the same name (``smoke``, ``quick``) selects it, as does ``--set ROLE.preset=NAME``.

    Example::

        class MineConfig(ComponentConfig):
            steps: Steps = Field(100_000, ge=1, description="training steps")
            width: int = Field(64, ge=1, description="channels of the network")

            presets = {"smoke": {"steps": 20, "width": 8}}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    formerly: ClassVar[Mapping[str, Any]] = {}
    """What runs did that were made before a setting existed, where its default is something else: name to value. A
    finished run that does not record the setting is opened with this value."""

    left_out: ClassVar[Mapping[str, Any]] = {}
    """Settings that are not recorded at their default, which is what runs did before the setting existed: name to that
    default. Such runs keep their id."""
