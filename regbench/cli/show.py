"""How a result is shown to a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regbench.results.schema import Measure, Result


def interval(measure: Measure) -> str:
    """``6.91 [6.52, 7.30]``; a dash for what is not finite."""
    if measure.value is None:
        return "-"
    text = f"{measure.value:.3f}" if abs(measure.value) < 1 else f"{measure.value:.2f}"
    if measure.ci95 is None:
        return text
    low, high = measure.ci95
    return f"{text} [{low:.3g}, {high:.3g}]"


def result(found: Result, folder: Path, as_json: bool) -> None:
    """Print a finished run to stdout."""
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    i, m = found.identity, found.metrics
    who = " x ".join(c.name for c in (i.translator, i.registrator, i.strategy) if c)
    p = i.protocol
    click.echo(
        f"\n{who} on {i.test_dataset.name} "
        f"({p.patch} px, ±{p.rho} px, pairing {p.pairs_in_words}, budget {i.budget}, seed {i.seed}, "
        f"supervision {i.supervision})" + ("; a combination of no paper" if found.training.get("of_no_paper") else "")
    )
    if found.truth == "none":
        _label_free(found)
        click.echo(f"  {folder}")
        return
    if found.truth == "tie points":
        click.echo("  errors are distances at tie points, not at corners")
    click.echo(
        f"  MACE {interval(m['mace'])} px of {m['mace'].n} pairs; identity {interval(m['identity_mace'])}; "
        f"ratio {interval(m['mace_over_identity'])}  ->  {found.verdict}"
    )
    rates = "  ".join(f"AUC@{k} {interval(m[f'auc@{k}'])}" for k in (3, 5, 10, 20))
    click.echo(f"  {rates}")
    click.echo(
        f"  worse than identity {interval(m['worse_than_identity'])} %  failed {interval(m['failed'])} %  "
        f"{found.training['parameters']:,} parameters  {found.timing['register_ms']:.1f} ms/pair  "
        f"trained {found.training['seconds']:.0f} s"
    )
    _deploys(found.training.get("deploys", []))
    _translation(found.training.get("translation"))
    click.echo(f"  {folder}")


def _label_free(found: Result) -> None:
    """What is known without truth."""
    m = found.metrics
    click.echo(
        f"  no truth, so no error: edge agreement {interval(m['edge_agreement'])} of {m['edge_agreement'].n} pairs; as "
        f"they are {interval(m['identity_edge_agreement'])}; gain {interval(m['edge_gain'])}"
    )
    click.echo(
        f"  cycle error {interval(m['cycle_error'])} px of {m['cycle_error'].n} pairs found both ways  overlap "
        f"{interval(m['overlap'])}  failed {interval(m['failed'])} %  {found.timing['register_ms']:.1f} ms/pair"
    )
    click.echo("  compare with other methods on the same pairs: regbench consistency RUN RUN")


def _deploys(entries: list[dict[str, Any]]) -> None:
    """What the stages deployed, where there is something to compare."""
    from regbench.results.schema import Measure

    if len(entries) < 2:
        return
    for entry in entries:
        ratio = Measure(**entry["mace_over_identity"])
        line = f"  {entry['module']} after {entry['stage']}: {interval(ratio)} of identity"
        for other, words in (("minus_previous", "the one before"), ("minus_last", "the last")):
            if other in entry:
                line += f"; MACE minus {words} {interval(Measure(**entry[other]))}"
        click.echo(line)


def _translation(found: dict[str, Any] | None) -> None:
    """How near translations come to the aligned target, beside the copies they have to beat."""
    if found is None:
        return
    from regbench.results.schema import Measure

    for distance, words in (("l1", "L1"), ("perceptual", f"perceptual ({found['features']['backend']})")):
        of = {name: interval(Measure(**entry)) for name, entry in found[distance].items()}
        click.echo(
            f"  translation to aligned target, {words}: {of['translation']}; "
            f"minus the source's {of['minus_source']}; minus the unaligned target's {of['minus_target']}"
        )
    follows = [interval(Measure(**found[f"follows_{name}"])) for name in ("source", "target")]
    click.echo(f"  translation follows the source's structure by {follows[0]}, the target's by {follows[1]}")
