"""``regbench datasets info``."""

from __future__ import annotations

import json

import click

from regbench.cli._shared.options import Named
from regbench.cli._shared.output import echo, echo_json
from regbench.cli._shared.show import Setting, print_settings, settings_of
from regbench.cli.datasets._common import json_option

RANGES = {
    name: Setting(
        None,
        "string or null",
        f"stored values of {name[-1].upper()} that are black and white: full, WHITE, LOW..HIGH, percentile:P over the "
        "training images, or image:P (of each by itself); what the reader says, else full, when not set",
    )
    for name in ("range_a", "range_b")
}
"""What every data set has beside its reader's own settings."""


@click.command("info")
@click.argument("name", type=Named("dataset"))
@json_option
def command(name: str, as_json: bool) -> None:
    """Describe a data set: its card, its settings, and the folder it expects."""
    from regbench.plugins.registry import registry

    component = registry().get("dataset", name)
    cls = component.load()
    card = cls.card.model_dump(mode="json")
    settings = settings_of(component) | RANGES
    if as_json:
        facts = {
            "name": name,
            "distribution": component.distribution,
            "version": component.version,
            "needs_root": cls.needs_root,
            "card": card,
            "settings": {key: setting._asdict() for key, setting in settings.items()},
        }
        echo_json(json.dumps(facts, indent=2))
        return
    echo(f"{name} ({component.distribution} {component.version}): {component.summary}\n")
    card["modalities"] = " / ".join(card["modalities"])
    layout = card.pop("layout")
    for key, value in card.items():
        if value is None:
            continue
        echo(f"{key.replace('_', ' '):<12} {value}")
    echo("\nlayout\n" + "\n".join(f"  {line}" for line in layout.splitlines()))
    if settings:
        echo("\nsettings (--set dataset.KEY=VALUE)")
        print_settings(settings)
