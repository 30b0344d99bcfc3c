"""The settings of a component, as ``plugins info`` and ``datasets info`` show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from regbench.cli._output import echo
from regbench.errors import PluginError

if TYPE_CHECKING:
    from regbench.plugins.registry import Component


class Setting(NamedTuple):
    """One setting."""

    default: Any
    """As JSON; an alias's own value where it has one."""
    type: str
    """In words, such as ``integer or null``."""
    description: str


def settings_of(component: Component) -> dict[str, Setting]:
    """The settings of a component's Config class by name, in order; empty for a component without one.

    Raises:
        PluginError: an alias's own settings are not valid.
    """
    config = getattr(component.load(), "Config", None)
    if config is None or not hasattr(config, "model_fields"):
        return {}
    try:
        defaults = config.model_validate(dict(component.config)).model_dump(mode="json")
    except ValueError as error:
        raise PluginError(f"{component.role} {component.name!r}: its own settings are not valid: {error}") from error
    properties = config.model_json_schema().get("properties", {})
    return {
        name: Setting(defaults[name], _type_in_words(schema), schema.get("description", ""))
        for name, schema in properties.items()
    }


def print_settings(settings: Mapping[str, Setting]) -> None:
    """Print one line a setting: name, default as ``--set`` takes it, type and description."""
    for name, setting in settings.items():
        echo(f"  {name} = {json.dumps(setting.default)}  ({setting.type}) {setting.description}".rstrip())


def _type_in_words(schema: Mapping[str, Any]) -> str:
    """A JSON schema's type."""
    if "anyOf" in schema:
        return " or ".join(_type_in_words(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    return str(schema.get("type", "any"))
