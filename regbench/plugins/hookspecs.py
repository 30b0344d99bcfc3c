"""What a plugin may implement. Each hook gets a ``register`` callback; the harness owns the store.

Targets are strings ``"package.module:Name"``, imported only when the component is used, so that listing plugins
never imports torch. A plugin module is advertised in its distribution's ``pyproject.toml``::

    [project.entry-points.regbench]
    my_plugin = "my_package.plugin"

and contains, for example::

    from regbench import hookimpl

    @hookimpl
    def register_registrators(register):
        register("mine", "my_package.mine:Mine", summary="one line", provides=("train",))

Keywords every ``register`` takes: ``summary`` (one line), ``paper`` (the source), ``config`` (settings that make
this name an alias of its class, such as ``{"scales": 4}``), ``provides`` and ``requires`` (capabilities, below).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import pluggy

hookspec = pluggy.HookspecMarker("regbench")


class Register(Protocol):
    """The callback a hook receives; each call registers one name."""

    def __call__(
        self,
        name: str,
        target: str,
        *,
        summary: str = "",
        paper: str = "",
        config: Mapping[str, Any] | None = None,
        provides: Iterable[str] = (),
        requires: Mapping[str, Iterable[str]] | None = None,
        published: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Register ``target`` (``"package.module:Name"``) under ``name``; raises PluginError for a bad target."""


@hookspec
def register_translators(register: Register) -> None:
    """Register :class:`regbench.Translator` classes.

    ``provides``: any of ``unpaired_training``, ``aligned_training``, ``differentiable``, ``features`` (offers
    ``features(image)``).
    """


@hookspec
def register_registrators(register: Register) -> None:
    """Register :class:`regbench.Registrator` classes.

    ``provides``: ``train`` (has parameters and a loss), ``features`` (offers ``features(image)``).
    """


@hookspec
def register_strategies(register: Register) -> None:
    """Register :class:`regbench.TrainingStrategy` classes.

    ``requires``: ``{"registrator": ("train",), "translator": ("unpaired_training",)}``; a role left out is not used.
    ``published``: ``{"registrator": ("mcnet4",)}``, the names papers report it with; others are labelled so in results.
    """


@hookspec
def register_datasets(register: Register) -> None:
    """Register :class:`regbench.Dataset` classes, each the reader of one published layout."""


@hookspec
def register_metrics(register: Register) -> None:
    """Register functions ``(errors: regbench.metrics.PairErrors) -> float``, lower-is-better unless
    ``provides=("higher_is_better",)``.
    """


@hookspec
def register_commands(register: Register) -> None:
    """Register click commands: ``register("verb", "package.module:command", summary="one line")``."""
