"""``regbench figure``: figures of finished runs, as papers draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regbench.cli._shared.options import PathType, dataset_settings, finished_runs
from regbench.cli._shared.output import echo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {
    "pairs": "best, median and worst pair of the first run, as each run answers it: green truth, red estimate",
    "curves": "cumulative error curves",
    "auc": "AUC@3/5/10/20 as bars with intervals",
    "radar": "AUCs on axes from a centre",
    "time": "MACE against minutes of training",
    "training": "scores of the deployed modules over training steps",
    "transfer": "zero-shot matrix of one method: trained on x tested on",
}


@click.command("figure", epilog="\b\n" + "\n".join(f"{kind:10}{what}" for kind, what in KINDS.items()))
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=PathType())
@click.option("--out", type=PathType(dir_okay=False), help="PDF, PNG or SVG; default KIND.png.")
@click.option("--root", type=PathType(), help="Folder of the data set, if it is not prepared (pairs).")
@click.option(
    "--set", "sets", multiple=True, metavar="dataset.NAME=VALUE", help="Settings the data set was read with (pairs)."
)
def command(kind: str, runs: tuple[Path, ...], out: Path | None, root: Path | None, sets: tuple[str, ...]) -> None:
    """Draw finished runs. A RUN is a run directory, or a <run_id>.json committed to a board.

    \b
    regbench figure curves leaderboards/results/embedded-quick/*.json --out curves.pdf
    regbench figure pairs runs/colreg-… --out pairs.png
    """
    from regbench.report.figures import charts, curves
    from regbench.report.figures.files import check_suffix, save_figure
    from regbench.report.inputs import load_section, load_sections

    settings = dataset_settings(sets)
    chosen = finished_runs(runs)
    out = out or Path(f"{kind}.png")
    check_suffix(out)
    if kind == "pairs":
        figure = _pairs(chosen, root, settings)
    elif kind == "training":
        figure = curves.training_curves(chosen)
    elif kind == "radar":
        figure = charts.auc_radar(load_sections(chosen))
    elif kind == "transfer":
        figure = charts.transfer_matrix(load_sections(chosen))
    elif kind == "curves":
        figure = curves.cumulative_error_curves(*load_section(chosen))
    elif kind == "time":
        figure = charts.error_against_time(*load_section(chosen))
    else:
        figure = charts.auc_bars(*load_section(chosen))
    save_figure(figure, out)
    echo(str(out))


def _pairs(runs: Sequence[Path], root: Path | None, settings: dict[str, Any]) -> Figure:
    """Best, median and worst pair of the first run, with the estimates of every run."""
    from regbench.errors import UsageError
    from regbench.report.figures.overlay import best_median_worst, scenes_of
    from regbench.report.figures.pairs import draw_pairs
    from regbench.report.inputs import load_run, load_section

    load_section(runs)  # refuses runs on different test pairs
    loaded = [load_run(run) for run in dict.fromkeys(runs)]
    pairs_of_runs = [run.pairs for run in loaded if run.pairs is not None]
    examples = best_median_worst(pairs_of_runs[0])
    if not examples:
        raise UsageError(f"{runs[0]} answered no test pair; name a run that answered some first")
    identities = [run.result.identity for run in loaded]
    scenes = scenes_of(identities[0], len(pairs_of_runs[0].ok), root, settings)
    methods = [f"{' × '.join(identity.component_names)}, seed {identity.seed}" for identity in identities]
    rows = [
        (f"{which}: pair {index}", [scenes.scene(pairs, index) for pairs in pairs_of_runs])
        for which, index in examples.items()
    ]
    return draw_pairs(rows, methods)
