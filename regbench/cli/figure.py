"""``regbench figure``: figures of finished runs, as papers draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {
    "pairs": "best, median and worst pairs of each run: green truth, red estimate, checkerboard",
    "curves": "cumulative error curves",
    "auc": "AUC@3/5/10/20 as bars with intervals",
    "radar": "AUCs on axes from a centre",
    "training": "scores of what stages deploy, while training",
    "transfer": "the zero-shot matrix of one method, trained on x tested on",
}


@click.command("figure", epilog="\b\n" + "\n".join(f"{kind:10}{what}" for kind, what in KINDS.items()))
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="PDF, PNG or SVG; default KIND.png.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set, if it is not prepared (pairs).")
@click.option(
    "--set", "sets", multiple=True, metavar="dataset.NAME=VALUE", help="Settings the data set was read with (pairs)."
)
def command(kind: str, runs: tuple[Path, ...], out: Path | None, root: Path | None, sets: tuple[str, ...]) -> None:
    """Draw finished runs. A RUN is a run directory, or a <run_id>.json committed to a board.

    \b
    regbench figure curves leaderboards/results/embedded-quick/*.json --out curves.pdf
    regbench figure pairs runs/colreg-… --out pairs.png
    """
    from regbench.cli.options import dataset_settings
    from regbench.report.figures import curves as figures
    from regbench.report.inputs import load_groups, load_rows

    settings = dataset_settings(sets)
    out = out or Path(f"{kind}.png")
    figures.check_suffix(out)
    if kind == "pairs":
        figure = _pairs(runs, root, settings)
    elif kind == "training":
        figure = figures.training(runs)
    elif kind in ("radar", "transfer"):
        groups = load_groups(runs)
        figure = figures.radar(groups) if kind == "radar" else figures.transfer(groups)
    else:
        group, rows = load_rows(runs)
        figure = figures.curves(group, rows) if kind == "curves" else figures.bars(group, rows)
    figures.save(figure, out)
    click.echo(str(out))


def _pairs(runs: Sequence[Path], root: Path | None, settings: dict[str, Any]) -> Figure:
    """Best, median and worst pair of the first run, as each run sees them."""
    from regbench.errors import UsageError
    from regbench.report.figures.overlay import extremes, scenes_of
    from regbench.report.figures.pictures import draw_pairs
    from regbench.report.inputs import load_entry, load_rows

    load_rows(runs)  # refuses runs on different test pairs
    entries = [load_entry(run) for run in dict.fromkeys(runs)]
    found = [entry.pairs for entry in entries if entry.pairs is not None]
    chosen = extremes(found[0])
    if not chosen:
        raise UsageError(f"{runs[0]} answered no test pair; name a run that did first")
    scenes = scenes_of(entries[0].result.identity, len(found[0].ok), root, settings)
    names = []
    for entry in entries:
        i = entry.result.identity
        parts = [part.name for part in (i.translator, i.registrator, i.strategy) if part]
        names.append(f"{' × '.join(parts)}, seed {i.seed}")
    rows = [(f"{label}: pair {i}", [scenes.scene(pairs, i) for pairs in found]) for label, i in chosen.items()]
    return draw_pairs(rows, names)
