"""regbench: how well does (translator x registrator x strategy) align this pair of modalities, and how sure are we?

This module is the public door. ``align`` and ``load`` align two images of one's own (``docs/align.md``). Everything a
plugin author needs is imported from here too: ``hookimpl`` to register components, the base classes of the roles with
what they hand each other, ``ComponentConfig`` for settings, the errors to raise, and the modules ``geometry``, ``ops``,
``schedules`` and ``whole_batch``. What is not listed in ``__all__`` is internal and may change without notice.

Everything heavy is imported on first use, so that ``import regbench`` (which every plugin does when it is discovered)
costs no torch import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from regbench import geometry as geometry
    from regbench import ops as ops
    from regbench import schedules as schedules
    from regbench.alignment.aligner import Aligner as Aligner
    from regbench.alignment.aligner import align as align
    from regbench.alignment.aligner import load as load
    from regbench.alignment.types import Alignment as Alignment
    from regbench.api.config import ComponentConfig as ComponentConfig
    from regbench.api.config import Steps as Steps
    from regbench.api.dataset import Card as Card
    from regbench.api.dataset import Dataset as Dataset
    from regbench.api.dataset import PairImages as PairImages
    from regbench.api.dataset import Split as Split
    from regbench.api.registrator import Registrator as Registrator
    from regbench.api.stage import Objective as Objective
    from regbench.api.stage import Shared as Shared
    from regbench.api.stage import Stage as Stage
    from regbench.api.stage import module_named as module_named
    from regbench.api.strategy import Context as Context
    from regbench.api.strategy import TrainingStrategy as TrainingStrategy
    from regbench.api.translator import Estimate as Estimate
    from regbench.api.translator import Translator as Translator
    from regbench.api.types import Batch as Batch
    from regbench.api.types import Matches as Matches
    from regbench.api.types import Pair as Pair
    from regbench.api.types import PairInfo as PairInfo
    from regbench.api.types import Registration as Registration
    from regbench.api.types import SelfPair as SelfPair
    from regbench.api.types import Unpaired as Unpaired
    from regbench.distributed import batch
    from regbench.errors import DataError as DataError
    from regbench.errors import PluginError as PluginError
    from regbench.errors import RegbenchError as RegbenchError
    from regbench.errors import UsageError as UsageError
    from regbench.metrics.types import PairErrors as PairErrors
    from regbench.plugins.register import Register as Register

    whole_batch = batch

__version__ = "0.1.0"

API_VERSION = 1
"""Version of the plugin interface. A plugin module may state ``regbench_api_version``; an unknown one is refused."""

hookimpl = pluggy.HookimplMarker("regbench")

_CLASSES = {
    "Aligner": "regbench.alignment.aligner",
    "Alignment": "regbench.alignment.types",
    "Batch": "regbench.api.types",
    "Card": "regbench.api.dataset",
    "ComponentConfig": "regbench.api.config",
    "Context": "regbench.api.strategy",
    "DataError": "regbench.errors",
    "Dataset": "regbench.api.dataset",
    "Estimate": "regbench.api.translator",
    "Matches": "regbench.api.types",
    "Objective": "regbench.api.stage",
    "Pair": "regbench.api.types",
    "PairErrors": "regbench.metrics.types",
    "PairImages": "regbench.api.dataset",
    "PairInfo": "regbench.api.types",
    "PluginError": "regbench.errors",
    "RegbenchError": "regbench.errors",
    "Register": "regbench.plugins.register",
    "Registration": "regbench.api.types",
    "Registrator": "regbench.api.registrator",
    "SelfPair": "regbench.api.types",
    "Shared": "regbench.api.stage",
    "Split": "regbench.api.dataset",
    "Stage": "regbench.api.stage",
    "Steps": "regbench.api.config",
    "TrainingStrategy": "regbench.api.strategy",
    "Translator": "regbench.api.translator",
    "Unpaired": "regbench.api.types",
    "UsageError": "regbench.errors",
    "align": "regbench.alignment.aligner",
    "load": "regbench.alignment.aligner",
    "module_named": "regbench.api.stage",
}
_MODULES = {
    "geometry": "regbench.geometry",
    "ops": "regbench.ops",
    "schedules": "regbench.schedules",
    "whole_batch": "regbench.distributed.batch",
}

__all__ = ["API_VERSION", "__version__", "hookimpl", *_CLASSES, *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public class or module on first use."""
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'regbench' has no attribute {name!r}")
