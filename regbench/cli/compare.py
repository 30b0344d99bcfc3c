"""``regbench compare``: two runs on the same test pairs, paired."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("b", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--pairs",
    "count",
    type=click.IntRange(1, 50),
    default=6,
    show_default=True,
    help="How many of the pairs to name on which they differ most.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw these pairs (PNG, PDF or SVG).")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set, if it is not prepared yet.")
@click.option("--set", "sets", multiple=True, metavar="dataset.NAME=VALUE", help="Settings the data set was read with.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def command(
    a: Path, b: Path, count: int, out: Path | None, root: Path | None, sets: tuple[str, ...], as_json: bool
) -> None:
    """Compare two runs judged on the same test pairs: paired test, effect size, where they differ most.

    A RUN is a run directory, or a <run_id>.json committed to a board.

    \b
    regbench compare runs/colreg-… runs/supervised-… --out difference.png
    """
    from regbench.cli.options import dataset_settings
    from regbench.report.compare import compare_runs
    from regbench.report.inputs import load_entry
    from regbench.report.render.tables import interval, number

    settings = dataset_settings(sets)
    first, second = load_entry(a), load_entry(b)
    found = compare_runs(first, second, count)
    if out is not None:
        from regbench.report.figures.curves import save
        from regbench.report.figures.overlay import scenes_of
        from regbench.report.figures.pictures import draw_pairs

        scenes = scenes_of(first.result.identity, found.pairs, root, settings)
        drawn = [
            (f"pair {d.pair}", [scenes.scene(e.pairs, d.pair) for e in (first, second) if e.pairs])
            for d in found.largest
        ]
        save(draw_pairs(drawn, ["A", "B"]), out)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
        return
    for letter, entry, mace in (("A", first, found.mace_a), ("B", second, found.mace_b)):
        i = entry.result.identity
        who = " x ".join(part.name for part in (i.translator, i.registrator, i.strategy) if part)
        click.echo(f"{letter}  {entry.result.run_id}  {who}, budget {i.budget}, seed {i.seed}: MACE {number(mace)} px")
    effect = "-" if found.effect is None else f"{found.effect:.2f}"
    click.echo(f"{found.statement} (p = {found.p:.2g}, {found.pairs} pairs of {found.images} images)")
    click.echo(
        f"effect size d = {effect} over images; A is nearer on {number(found.nearer, 1)} "
        f"{interval(found.nearer_interval, 1)} % of the pairs"
    )
    for d in found.largest:
        click.echo(f"  pair {d.pair:5d}  image {d.image:5d}  A {number(d.a):>7} px  B {number(d.b):>7} px")
    if out is not None:
        click.echo(str(out))
