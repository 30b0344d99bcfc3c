"""``regbench bench``: how fast components are on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from regbench.cli.options import data_options, whole_numbers


@click.command("bench")
@click.option("--registrator", default="", help="Time its forward; with a strategy, what the strategy deploys.")
@click.option("--translator", help="Time its forward.")
@click.option("--strategy", help="Time a training step of each of its stages, and the sampler alone.")
@data_options
@click.option("--pairing", type=click.Choice(["frozen", "online", "given"]), help="Training pairs, as for `run`.")
@click.option("--budget", default="full", show_default=True, help="Whose sizes to use: smoke, quick, short, full.")
@click.option("--set", "sets", multiple=True, metavar="SECTION.NAME=VALUE",
              help="A setting of translator, registrator, strategy, dataset or protocol. Repeatable.")  # fmt: skip
@click.option("--weights", type=click.Path(path_type=Path), help="The registrator's, where time depends on them.")
@click.option("--teacher", type=click.Path(path_type=Path, file_okay=False), metavar="RUN",
              help="Directory of a finished run, for strategies that learn from one.")  # fmt: skip
@click.option("--batch", "batches", default="1,16", show_default=True, help="Batch sizes of forwards.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="Of torch on a CPU; default: torch's own choice.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=20, show_default=True, help="Timed calls.")
@click.option("--warmup", type=click.IntRange(0), default=3, show_default=True, help="Calls before them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of initialisation and training pairs.")
@click.option("--json", "as_json", is_flag=True)
def command(
    sets: tuple[str, ...],
    batches: str,
    threads: int | None,
    repeats: int,
    warmup: int,
    as_json: bool,
    **request: Any,
) -> None:
    """Time a registrator, a translator or the training steps of a strategy. No run folder is written.

    Medians with interquartile ranges; nothing else should run on the machine meanwhile.

    \b
    regbench bench --registrator mcnet --batch 1,16
    regbench bench --registrator mcnet --translator mimgcd --strategy colreg --budget quick
    """
    import torch

    from regbench.runs.request import Request
    from regbench.settings import parse_sets
    from regbench.tools.bench import Effort, bench

    if threads is not None:
        torch.set_num_threads(threads)
    found = bench(Request(sets=parse_sets(sets), **request), whole_numbers("--batch", batches), Effort(repeats, warmup))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    from tabulate import tabulate

    made = found["provenance"]
    gpus = ", ".join(gpu["name"] for gpu in made["gpu"]) if found["device"].startswith("cuda") else ""
    click.echo(
        f"{found['device']} ({gpus or made['cpu']['model']}), {found['threads']} threads, {found['precision']}, "
        f"torch {made['versions']['torch']}, {found['dataset']} at {found['protocol']['patch']} px, "
        f"{found['repeats']} repeats, process peak {found['peak_process_mb']:,.0f} MB\n"
    )
    header = ["component", "call", "batch", "parameters", "ms/call", "IQR", "ms/pair", "pairs/s"]
    memory = any(row["peak_memory_mb"] is not None for row in found["rows"])
    cells = [
        [
            row["name"],
            row["call"],
            row["batch"],
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['median_ms']:.2f}",
            f"{row['iqr_ms']:.2f}",
            f"{row['median_ms'] / row['batch']:.2f}",
            f"{row['pairs_per_s']:.1f}",
            *([f"{row['peak_memory_mb']:,.0f}"] if memory else []),
        ]
        for row in found["rows"]
    ]
    columns = [*header, "peak MB"] if memory else header
    align = ["left", "left", *["right"] * (len(columns) - 2)]
    click.echo(tabulate(cells, columns, tablefmt="pipe", disable_numparse=True, colalign=align))
