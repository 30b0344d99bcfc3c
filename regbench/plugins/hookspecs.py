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

:class:`regbench.Register` describes the keywords; the base class of each role says what to implement.
"""

from __future__ import annotations

import pluggy

from regbench.plugins.register import Register

hookspec = pluggy.HookspecMarker("regbench")


@hookspec
def register_translators(register: Register) -> None:
    """Register :class:`regbench.Translator` classes.

    ``provides``: any of ``unpaired_training``, ``aligned_training``, ``differentiable``, ``features`` (offers
    ``features(image)``).
    ``control``: ``no-translation``.
    """


@hookspec
def register_registrators(register: Register) -> None:
    """Register :class:`regbench.Registrator` classes.

    ``provides``: ``train`` (has parameters and a loss), ``features`` (offers ``features(image)``).
    ``control``: ``identity`` or ``no-training``.
    """


@hookspec
def register_strategies(register: Register) -> None:
    """Register :class:`regbench.TrainingStrategy` classes.

    ``requires``: ``{"registrator": ("train",), "translator": ("unpaired_training",)}``; a role left out is not used.
    ``published``: ``{"registrator": ("mcnet4",)}``, the names papers report it with; others are labelled so in results.
    ``control``: ``no-translator`` or ``supervised``.
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
