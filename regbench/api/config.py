"""Typed component settings: what ``--set registrator.scales=4`` is checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class StepCount:
    """Marks a setting as a number of training steps, which a budget may scale.

    ``floor`` is the least a scaled-down budget leaves, so that a short stage is not scaled to nothing.
    """

    floor: int = 50


Steps = Annotated[int, StepCount()]
"""A number of training steps. The default is the published schedule; a budget factor multiplies it."""


class ComponentConfig(BaseModel):
    """Base of every component's settings. Unknown keys are refused; values are immutable.

    The defaults are the published algorithm at its published size. ``presets`` maps a preset name to overrides;
    a budget of the same name (``smoke``, ``quick``) picks it, and so does ``--set ROLE.preset=NAME``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
