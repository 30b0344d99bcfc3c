"""regbench: how well does (translator x registrator x strategy) align this pair of modalities, and how sure are we?

Plugin authors need three things: ``hookimpl`` to register components, the base classes of the roles, and
``ComponentConfig`` for their settings. Everything heavy is imported on first use, so that ``import regbench``
(which every plugin does when it is discovered) costs no torch import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from regbench.api.config import ComponentConfig as ComponentConfig
    from regbench.api.config import Steps as Steps
    from regbench.api.dataset import Card as Card
    from regbench.api.dataset import Dataset as Dataset
    from regbench.api.registrator import Registrator as Registrator
    from regbench.api.stage import Objective as Objective
    from regbench.api.stage import Stage as Stage
    from regbench.api.strategy import TrainingStrategy as TrainingStrategy
    from regbench.api.translator import Translator as Translator
    from regbench.api.types import PairInfo as PairInfo
    from regbench.api.types import Registration as Registration

__version__ = "0.1.0"

API_VERSION = 1
"""Version of the plugin interface. A plugin module may state ``regbench_api_version``; an unknown one is refused."""

hookimpl = pluggy.HookimplMarker("regbench")

_EXPORTS = {
    "Card": "regbench.api.dataset",
    "ComponentConfig": "regbench.api.config",
    "Dataset": "regbench.api.dataset",
    "Objective": "regbench.api.stage",
    "PairInfo": "regbench.api.types",
    "Registration": "regbench.api.types",
    "Registrator": "regbench.api.registrator",
    "Stage": "regbench.api.stage",
    "Steps": "regbench.api.config",
    "TrainingStrategy": "regbench.api.strategy",
    "Translator": "regbench.api.translator",
}

__all__ = ["API_VERSION", "__version__", "hookimpl", *_EXPORTS]


def __getattr__(name: str) -> Any:
    """Import a public class on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'regbench' has no attribute {name!r}")
