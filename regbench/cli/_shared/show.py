"""Printing of results, and of the settings of components, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from regbench.cli._shared.output import echo, echo_json
from regbench.errors import DataError, PluginError

if TYPE_CHECKING:
    from regbench.plugins.registry import Component
    from regbench.results.schema import Measure, Result


def interval(measure: Measure) -> str:
    """A measure as ``6.91 [6.52, 7.30]``; a dash where it is not finite."""
    if measure.value is None:
        return "-"
    text = f"{measure.value:.3f}" if abs(measure.value) < 1 else f"{measure.value:.2f}"
    if measure.ci95 is None:
        return text
    low, high = measure.ci95
    return f"{text} [{low:.3g}, {high:.3g}]"


def print_result(result: Result, folder: Path, as_json: bool) -> None:
    """Print a finished run to stdout, as JSON or in words that end with its run directory ``folder``."""
    if as_json:
        echo_json(result.model_dump_json(indent=1))
        return
    try:
        _print_words(result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder}: its result lacks what is shown here ({type(error).__name__}: {error})") from error
    echo(f"  {folder}")


def _print_words(result: Result) -> None:
    """All but the run directory."""
    identity, protocol = result.identity, result.identity.protocol
    echo(
        f"\n{' x '.join(identity.component_names)} on {identity.test_dataset.name} "
        f"({protocol.patch} px, ±{protocol.rho} px, pairing {protocol.pairs_in_words}, budget {identity.budget}, "
        f"seed {identity.seed}, supervision {identity.supervision})"
        + ("; no paper reports this combination" if result.training.get("of_no_paper") else "")
    )
    if result.truth == "none":
        _print_label_free(result)
    else:
        _print_errors(result)


def _print_errors(result: Result) -> None:
    from regbench.metrics.corner import VERDICT_WORDS

    metrics = result.metrics
    if result.truth == "tie points":
        echo("  errors are distances at tie points, not at corners")
    echo(
        f"  MACE {interval(metrics['mace'])} px of {metrics['mace'].n} pairs; "
        f"identity {interval(metrics['identity_mace'])}; "
        f"ratio {interval(metrics['mace_over_identity'])}  ->  {VERDICT_WORDS.get(str(result.verdict), result.verdict)}"
    )
    echo("  " + "  ".join(f"AUC@{k} {interval(metrics[f'auc@{k}'])}" for k in (3, 5, 10, 20)))
    echo(
        f"  worse than identity {interval(metrics['worse_than_identity'])} %  "
        f"failed {interval(metrics['failed'])} %  "
        f"{result.training['parameters']:,} parameters  {result.timing['register_ms']:.1f} ms/pair  "
        f"trained {result.training['seconds']:.0f} s"
    )
    if "aurc" in metrics:
        echo(
            f"  confidence: AURC {interval(metrics['aurc'])} px (MACE where it tells nothing), "
            f"{interval(metrics['excess_aurc'])} above the best order; 0.5 or more for {interval(metrics['trusted'])} %"
        )
    _print_stage_scores(result.training.get("deploys", []))
    _print_translation(result.training.get("translation"))


def _print_label_free(result: Result) -> None:
    metrics = result.metrics
    echo(
        f"  no labels, so no error: edge agreement {interval(metrics['edge_agreement'])} of "
        f"{metrics['edge_agreement'].n} pairs; unregistered {interval(metrics['identity_edge_agreement'])}; "
        f"gain {interval(metrics['edge_gain'])}"
    )
    echo(
        f"  cycle error {interval(metrics['cycle_error'])} px of {metrics['cycle_error'].n} pairs answered both ways  "
        f"overlap {interval(metrics['overlap'])}  failed {interval(metrics['failed'])} %  "
        f"{result.timing['register_ms']:.1f} ms/pair"
    )
    if "trusted" in metrics:
        echo(f"  confidence of 0.5 or more for {interval(metrics['trusted'])} % of the pairs")
    echo("  compare with other methods on the same pairs: regbench consistency RUN RUN")


def _print_stage_scores(entries: list[dict[str, Any]]) -> None:
    """The scores of what each stage deploys, if there are at least two."""
    from regbench.results.schema import Measure

    if len(entries) < 2:
        return
    for entry in entries:
        ratio = Measure(**entry["mace_over_identity"])
        line = f"  {entry['module']} after {entry['stage']}: {interval(ratio)} of identity"
        for key, other in (("minus_previous", "the one before"), ("minus_last", "the last")):
            if key in entry:
                line += f"; MACE minus {other} {interval(Measure(**entry[key]))}"
        echo(line)


def _print_translation(scores: dict[str, Any] | None) -> None:
    """Distances of translations from the aligned target, and their differences from those of plain copies."""
    if scores is None:
        return
    from regbench.results.schema import Measure

    for distance, name in (("l1", "L1"), ("perceptual", f"perceptual ({scores['features']['backend']})")):
        of = {image: interval(Measure(**entry)) for image, entry in scores[distance].items()}
        echo(
            f"  translation to aligned target, {name}: {of['translation']}; "
            f"minus the source's {of['minus_source']}; minus the unaligned target's {of['minus_target']}"
        )
    follows = [interval(Measure(**scores[f"follows_{name}"])) for name in ("source", "target")]
    echo(f"  translation follows the source's structure by {follows[0]}, the target's by {follows[1]}")


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
