"""``regbench compare``: paired comparison of two runs on the same test pairs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from regbench.cli._shared.options import PathType, RunType, dataset_settings
from regbench.cli._shared.output import echo, echo_json


@click.command("compare")
@click.argument("a", type=RunType(), metavar="RUN")
@click.argument("b", type=RunType(), metavar="RUN")
@click.option(
    "--pairs",
    "count",
    type=click.IntRange(1, 50),
    default=6,
    show_default=True,
    help="How many pairs to list, those with the largest differences.",
)
@click.option("--out", type=PathType(dir_okay=False), help="File to draw these pairs to (PNG, PDF or SVG).")
@click.option("--root", type=PathType(), help="Folder of the data set, if it is not prepared yet.")
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
        echo_json(json.dumps(comparison.as_json(), indent=1))
        return
    for letter, run, mace in (("A", first, comparison.mace_a), ("B", second, comparison.mace_b)):
        identity = run.result.identity
        echo(
            f"{letter}  {run.result.run_id}  {' x '.join(identity.component_names)}, budget {identity.budget}, "
            f"seed {identity.seed}: MACE {number(mace)} px"
        )
    effect = "-" if comparison.effect is None else f"{comparison.effect:.2f}"
    echo(f"{comparison.statement} (p = {comparison.p:.2g}, {comparison.pairs} pairs of {comparison.images} images)")
    echo(
        f"effect size d = {effect} over images; A is nearer on {number(comparison.nearer, 1)} "
        f"{interval(comparison.nearer_interval, 1)} % of the pairs"
    )
    for d in comparison.largest:
        echo(f"  pair {d.pair:5d}  image {d.image:5d}  A {number(d.a):>7} px  B {number(d.b):>7} px")
    if out is not None:
        echo(str(out))
