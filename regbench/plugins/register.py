"""The ``register`` callback that every hook receives, typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

Control = Literal["identity", "no-training", "no-translation", "no-translator", "supervised"]
"""What a component is the reference for: doing nothing, and what is found without training (registrators); what is
learned although nothing is translated (a translator); what is learned without a translator, and with true homographies
(strategies). Recipes with ``controls = true`` run every registered control, but for translators: how a strategy works
with one that learns nothing is for the recipe to say."""


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
        control: Control | None = None,
    ) -> None:
        """Register ``target`` (``"package.module:Name"``) under ``name``.

        ``summary`` is one line, ``paper`` the source. ``config`` holds settings that make the name an alias of its
        class, such as ``{"scales": 4}``. The hook says which ``provides``, ``requires`` and ``control`` it takes.

        Raises:
            PluginError: a value is not valid or the name is taken; the whole plugin is then refused.
        """
