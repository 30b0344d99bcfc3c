"""From words on the command line to typed, complete settings.

The settings of a component come from, in this order (a later source overrides an earlier one): published defaults, the
alias's own settings, the budget's preset (or its factor on every step count), ``--set``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from regbench.api.config import ComponentConfig, StepCount
from regbench.api.dataset import RANGE_SETTINGS
from regbench.errors import PluginError, UsageError, unknown_name
from regbench.plugins.registry import Component


@dataclass(frozen=True)
class Budget:
    """How much of the published schedule is run, and at which size."""

    name: str
    summary: str
    factor: float = 1.0
    preset: str | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)


_SMALL = {"patch": 64, "rho": 16}
BUDGETS = {
    "smoke": Budget("smoke", "every part once, 64 px, tiny networks: proves it runs", 1 / 6000, "smoke", _SMALL),
    "quick": Budget("quick", "minutes on 2 CPU cores: 64 px, ±16 px, small networks", 1 / 80, "quick", _SMALL),
    "hour": Budget("hour", "an hour on 1 CPU core: 64 px, ±16 px, networks of middle size", 1 / 40, "hour", _SMALL),
    "short": Budget("short", "published size, 1/20 of the published schedule", 1 / 20),
    "full": Budget("full", "the published size and schedule"),
}


def budget_of(text: str) -> Budget:
    """A named budget, or a factor on the published schedule at published size; raises UsageError."""
    if text in BUDGETS:
        return BUDGETS[text]
    try:
        factor = float(text)
    except ValueError:
        raise unknown_name("budget", text, BUDGETS, "A number is a factor on the published schedule.") from None
    if not 0 < factor <= 100:
        raise UsageError(f"budget {text}: a factor on the published schedule lies in (0, 100]")
    return Budget(text, f"published size, {factor:g} x the published schedule", factor)


class Written(str):
    """A value as somebody wrote it on the command line; the type of its setting says what it means."""


def parse_sets(pairs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``["registrator.scales=4"]`` to ``{"registrator": {"scales": Written("4")}}``; :func:`meant` reads the values."""
    parsed: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        section, dot, name = key.partition(".")
        if not (equals and dot and section and name):
            raise UsageError(f"--set {pair!r}: write SECTION.NAME=VALUE, such as registrator.scales=4")
        parsed.setdefault(section, {})[name] = Written(value)
    return parsed


def parse_value(text: str) -> Any:
    """A value as JSON if it parses, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or numbers and nesting that no setting has
        return str(text)


def write_value(value: Any) -> str:
    """A value of a recipe as ``--set`` takes it. A text stays as it is: the type of its setting says what it means."""
    return value if isinstance(value, str) else json.dumps(value)


def meant(cls: type[BaseModel], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What written settings mean, by the types of the fields that ``cls`` has for them; other values stay.

    A value is read as JSON, and what the field does not take as such is the text as it was written: ``2017`` is a
    number where the field takes one, else the text ``2017``. ``~`` at the start of a path is the home folder.
    """
    return {
        name: _meant(value, cls.model_fields[name].annotation)
        if isinstance(value, Written) and name in cls.model_fields
        else value
        for name, value in settings.items()
    }


def _meant(text: str, annotation: Any) -> Any:
    value = parse_value(text)
    try:
        of_field: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticUserError:  # a type that pydantic knows only together with its field
        return value
    refused: list[tuple[int | str, ...]] = []
    try:
        # Strict: else true would be the number 1, and 2017 would be true.
        meaning = of_field.validate_json(json.dumps(value), strict=True)
        if type(meaning) is bool or type(value) is not bool:  # a choice of numbers takes true for 1 all the same
            return _at_home(meaning, value)
    except ValidationError as error:
        refused = [item["loc"] for item in error.errors()]
    texts = _as_texts(value, text, refused)
    try:
        return _at_home(of_field.validate_json(json.dumps(texts), strict=True), texts)
    except ValidationError:  # the whole class has the last word, but takes true for no number
        return _as_texts(value, text, refused, only=bool)


def _as_texts(value: Any, text: str, places: Iterable[tuple[Any, ...]], only: type = object) -> Any:
    """JSON with the values at these places (of the type ``only``) as they are written in ``text``; or all of it."""
    changed, done = parse_value(text), False
    written = changed if changed == text else json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    for place in places:
        node: Any = changed
        texts: Any = written
        for step in place:
            listed = isinstance(node, list) and isinstance(step, int) and step < len(node)
            if listed or (isinstance(node, dict) and step in node):
                if isinstance(node[step], list | dict):
                    node, texts = node[step], texts[step]
                elif isinstance(node[step], only):
                    node[step] = texts[step] if isinstance(texts[step], str) else json.dumps(texts[step])
                    done = True
                    break
            # Other steps name the member of a union that refused the value.
    return changed if done or not isinstance(value, only) else str(text)


def _at_home(meaning: Any, value: Any) -> Any:
    """The value of a setting, with the home folder in place of ``~`` where it means a path."""
    if isinstance(meaning, Path):
        return meaning.expanduser()
    if isinstance(meaning, list | tuple) and any(isinstance(item, Path) for item in meaning):
        return [item.expanduser() if isinstance(item, Path) else item for item in meaning]
    return value


def build_config(
    component: Component, settings: Mapping[str, Any] | None = None, budget: Budget | None = None
) -> ComponentConfig:
    """Resolve a component's settings.

    Args:
        component: what is configured.
        settings: the ``--set`` values of its section; ``preset`` picks a preset by name.
        budget: its preset is used where the class has one; otherwise its factor scales every step count.

    Raises:
        UsageError: an unknown setting or a bad value, naming the setting and what is allowed.
        PluginError: the class has no valid ``Config``.
    """
    cls = getattr(component.load(), "Config", ComponentConfig)
    if not (isinstance(cls, type) and issubclass(cls, ComponentConfig)):
        raise PluginError(f"{component.role} {component.name!r}: Config must derive from regbench.ComponentConfig")
    wanted = meant(cls, settings or {})
    preset = wanted.pop("preset", None)
    if preset is not None and preset not in cls.presets:
        raise unknown_name(f"preset of {component.name}", str(preset), cls.presets)
    if preset is None and budget and budget.preset in cls.presets:
        preset = budget.preset
    values: dict[str, Any] = dict(component.config)
    if budget and (budget.preset is None or preset != budget.preset):
        values |= scaled_steps(cls, budget.factor, values)
    if preset is not None:
        values |= cls.presets[preset]
    for name in wanted:
        if name not in cls.model_fields:
            others = RANGE_SETTINGS if component.role == "dataset" else ("preset",)
            raise unknown_name(f"setting of {component.role} {component.name!r}", name, [*cls.model_fields, *others])
    try:
        return cls.model_validate(values | wanted)
    except ValidationError as error:
        raise UsageError(f"{component.role} {component.name!r}: {first_line(error)}") from None


def scaled_steps(cls: type[ComponentConfig], factor: float, alias: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Step counts multiplied by a factor, and not below their floors.

    Args:
        cls: a Config class; its fields marked StepCount are step counts.
        factor: of the budget.
        alias: settings that replace the defaults of the class.

    Returns:
        The step counts by setting; empty for a factor of 1.
    """
    if factor == 1.0:
        return {}
    steps_of: dict[str, int] = {}
    for name, info in cls.model_fields.items():
        mark = next((m for m in info.metadata if isinstance(m, StepCount)), None)
        steps = (alias or {}).get(name, info.default)
        if mark and isinstance(steps, int):
            steps_of[name] = max(min(mark.floor, steps), round(steps * factor))
    return steps_of


def published_settings(component: Component, published: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """What is left of the settings of a published training under a budget.

    The budget treats them as it treats a component's defaults: it multiplies step counts by its factor, or, where the
    component has a preset for it, replaces what that preset sets.

    Args:
        component: what is trained.
        published: its settings as published.
        budget: such as ``quick``.
    """
    cls = getattr(component.load(), "Config", ComponentConfig)
    preset = cls.presets.get(budget.preset) if budget.preset is not None else None
    if preset is not None:
        return {name: value for name, value in published.items() if name not in preset}
    scaled = scaled_steps(cls, budget.factor, published)
    return {name: scaled.get(name, value) for name, value in published.items()}


def first_line(error: ValidationError) -> str:
    """A pydantic error as one line: setting, what is wrong, what was given."""
    parts = []
    for item in error.errors():
        where = ".".join(str(p) for p in item["loc"])
        text = item["msg"].removeprefix("Value error, ")
        parts.append(f"{where}={item['input']!r}: {text}" if where else text)
    return "; ".join(parts)
