"""``regbench plugins``: installed components, their settings, and which of them work together."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from regbench.cli._shared.options import Named, PathType
from regbench.cli._shared.output import echo, echo_json
from regbench.cli._shared.show import print_settings, settings_of
from regbench.errors import RegbenchError
from regbench.tools.new_plugin import KINDS, Kind

ROLES = ("translator", "registrator", "strategy", "dataset", "metric", "command")


@click.group("plugins", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, explain and check what is installed."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@command.command("list")
@click.option("--role", type=click.Choice(ROLES), help="Only this role.")
@click.option("--json", "as_json", is_flag=True)
def list_(role: str | None = None, as_json: bool = False) -> None:
    """List every component by role, and every plugin with its state; a broken plugin is listed with the reason."""
    from regbench.plugins.registry import registry

    installed = registry()
    roles = [role] if role else list(ROLES)
    if as_json:
        components = {r: [_facts(c) for c in installed.all(r)] for r in roles}
        plugins = [asdict(p) for p in installed.plugins]
        echo_json(json.dumps({"plugins": plugins, "components": components}, indent=1))
        return
    for r in roles:
        rows = [(c.name, f"{c.summary}  ({c.distribution} {c.version})") for c in installed.all(r)]
        if rows:
            _section(f"{r}s" if r != "strategy" else "strategies", rows)
    _section("plugins", [(p.name, _state(p, installed.shared_names(p.distribution))) for p in installed.plugins])


@command.command("info")
@click.argument("name", type=Named(*ROLES))
@click.option("--json", "as_json", is_flag=True)
def info(name: str, as_json: bool) -> None:
    """Describe a component: its origin, and its settings with defaults and presets."""
    from regbench.errors import unknown_name
    from regbench.plugins.registry import registry

    components = [c for role in ROLES for c in registry().all(role)]
    namesakes = [c for c in components if c.name == name]
    if not namesakes:
        raise unknown_name("component", name, {c.name for c in components})
    if as_json:
        echo_json(json.dumps([_described(c) for c in namesakes], indent=1, default=str))
        return
    for component in namesakes:
        settings, presets = settings_of(component), _presets(component)
        _section(component.name, [(k, _text(v)) for k, v in _facts(component).items() if k != "name" and v])
        if settings:
            echo("  settings", bold=True)
            print_settings(settings)
        if presets:
            _section("  presets", [(k, _text(v)) for k, v in presets.items()])


@command.command("matrix")
@click.option("--json", "as_json", is_flag=True)
def matrix(as_json: bool) -> None:
    """Show which strategies, translators and registrators work together, and why the others do not."""
    from regbench.plugins.compatibility import incompatible, unpublished_combination
    from regbench.plugins.registry import registry

    installed = registry()
    rows = [
        {
            "strategy": strategy.name,
            "translator": translator.name if translator else None,
            "registrator": registrator.name,
            "reason": incompatible(strategy, translator, registrator),
            "of_no_paper": unpublished_combination(strategy, translator, registrator),
        }
        for strategy in installed.all("strategy")
        for translator in [None, *installed.all("translator")]
        for registrator in installed.all("registrator")
    ]
    if as_json:
        echo_json(json.dumps(rows, indent=1))
        return
    from tabulate import tabulate

    names = [r.name for r in installed.all("registrator")]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    reasons: dict[str, None] = {}
    for row in rows:
        line = cells.setdefault((str(row["strategy"]), str(row["translator"] or "-")), {})
        line[str(row["registrator"])] = "·" if row["reason"] else "new" if row["of_no_paper"] else "yes"
        if row["reason"]:
            reasons[str(row["reason"])] = None
    table = [[*key, *(line[n] for n in names)] for key, line in cells.items() if set(line.values()) > {"·"}]
    echo(tabulate(table, headers=["strategy", "translator", *names], tablefmt="simple", disable_numparse=True))
    echo("\nyes: a paper reports this combination; new: no paper does; ·: not possible")
    echo("\nwhy not:")
    for reason in reasons:
        echo(f"  {reason}")


@command.command("check")
@click.argument("distribution", required=False)
def check(distribution: str | None) -> None:
    """Run the conformance suite over every component, or over those of one distribution."""
    from regbench.testing import run_suite

    code = run_suite(distribution)
    if code:
        raise RegbenchError("the conformance suite failed; see above")


@command.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="The role of the component.")
@click.option(
    "--out", type=PathType(file_okay=False), default=Path("."), show_default=True, help="Where it is written."
)
def new(name: str, kind: Kind, out: Path) -> None:
    """Write a package of one component that installs, passes the conformance suite and runs.

    \b
    Example:
      regbench plugins new my-method --kind strategy    # writes regbench-my-method/
    """
    from regbench.tools.new_plugin import first_commands, new_plugin

    folder = new_plugin(name, kind, out)
    echo(f"wrote {folder}; next:")
    for line in [f"cd {folder}", *first_commands(name, kind)]:
        echo(f"  {line}")


def _facts(c: Any) -> dict[str, Any]:
    return {
        "name": c.name,
        "role": c.role,
        "summary": c.summary,
        "paper": c.paper,
        "class": c.target,
        "distribution": c.distribution,
        "version": c.version,
        "config": dict(c.config),
        "provides": sorted(c.provides),
        "requires": {role: sorted(names) for role, names in c.requires.items()},
        "control": c.control,
    }


def _described(c: Any) -> dict[str, Any]:
    """Everything known of a component, for JSON."""
    settings = {name: {"default": s.default, "description": s.description} for name, s in settings_of(c).items()}
    return _facts(c) | {"settings": settings, "presets": _presets(c)}


def _presets(c: Any) -> dict[str, Any]:
    return dict(getattr(getattr(c.load(), "Config", None), "presets", {}))


def _state(plugin: Any, shared: list[str]) -> str:
    where = f"{plugin.distribution} {plugin.version} ({plugin.module})"
    if plugin.status == "ok":
        names = f"; names shared with others: write {', '.join(shared)}" if shared else ""
        return f"ok, {len(plugin.components)} components  {where}{names}"
    return f"FAILED: {plugin.reason}  {where}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    echo(title, bold=True)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        echo(f"  {name:<{width}}  {text}")
