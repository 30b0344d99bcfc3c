"""``regbench compare``: paired comparison of two runs on the same test pairs."""

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
    help="How many pairs to list, those with the largest differences.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to draw these pairs to (PNG, PDF or SVG)."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set, if it is not prepared yet.")
@click.option("--set", "sets", multiple=True, metavar="dataset.NAME=VALUE", help="Settings the data set was read with.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def command(
    a: Path, b: Path, count: int, out: Path | None, root: Path | None, sets: tuple[str, ...], as_json: bool
) -> None:
    """Compare two runs on the same test pairs: paired test, effect size, pairs with the largest differences.

    A RUN is a run directory, or a <run_id>.json committed to a board.

    \b
    regbench compare runs/colreg-… runs/supervised-… --out difference.png
    """
    from regbench.cli._options import dataset_settings
    from regbench.report.compare import compare_runs
    from regbench.report.inputs import load_run
    from regbench.report.table import interval, number

    settings = dataset_settings(sets)
    first, second = load_run(a), load_run(b)
    comparison = compare_runs(first, second, count)
    if out is not None:
        from regbench.report.figures.files import save_figure
        from regbench.report.figures.overlay import scenes_of
        from regbench.report.figures.pairs import draw_pairs

        scenes = scenes_of(first.result.identity, comparison.pairs, root, settings)
        rows = [
            (f"pair {d.pair}", [scenes.scene(run.pairs, d.pair) for run in (first, second) if run.pairs])
            for d in comparison.largest
        ]
        save_figure(draw_pairs(rows, ["A", "B"]), out)
    if as_json:
        click.echo(json.dumps(comparison.as_json(), indent=1))
        return
    for letter, run, mace in (("A", first, comparison.mace_a), ("B", second, comparison.mace_b)):
        identity = run.result.identity
        click.echo(
            f"{letter}  {run.result.run_id}  {' x '.join(identity.component_names)}, budget {identity.budget}, "
            f"seed {identity.seed}: MACE {number(mace)} px"
        )
    effect = "-" if comparison.effect is None else f"{comparison.effect:.2f}"
    click.echo(
        f"{comparison.statement} (p = {comparison.p:.2g}, {comparison.pairs} pairs of {comparison.images} images)"
    )
    click.echo(
        f"effect size d = {effect} over images; A is nearer on {number(comparison.nearer, 1)} "
        f"{interval(comparison.nearer_interval, 1)} % of the pairs"
    )
    for d in comparison.largest:
        click.echo(f"  pair {d.pair:5d}  image {d.image:5d}  A {number(d.a):>7} px  B {number(d.b):>7} px")
    if out is not None:
        click.echo(str(out))
