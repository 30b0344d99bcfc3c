"""``regbench bench``: how fast components are on this machine."""

from __future__ import annotations

import json
from typing import Any

import click

from regbench.cli._shared.options import Named, RunType, WeightsType, data_options, whole_numbers
from regbench.cli._shared.output import echo, echo_json


@click.command("bench")
@click.option(
    "--registrator",
    type=Named("registrator"),
    default="",
    help="Time its forward pass; with a strategy, that of what it deploys.",
)
@click.option("--translator", type=Named("translator"), help="Time its forward pass.")
@click.option("--strategy", type=Named("strategy"), help="Time a training step of each stage, and the sampler alone.")
@data_options
@click.option("--pairing", type=click.Choice(["frozen", "online", "given"]), help="Training pairs, as for `run`.")
@click.option(
    "--budget", default="full", show_default=True, help="Sizes to use, by budget: smoke, quick, hour, short, full."
)
@click.option("--set", "sets", multiple=True, metavar="SECTION.NAME=VALUE",
              help="A setting of translator, registrator, strategy, dataset or protocol. Repeatable.")  # fmt: skip
@click.option(
    "--weights",
    type=WeightsType(),
    help="Weights file of the registrator.",
)
@click.option("--teacher", type=RunType(), metavar="RUN",
              help="Directory of a finished run, for strategies that learn from one.")  # fmt: skip
@click.option("--batch", "batches", default="1,16", show_default=True, help="Batch sizes of forward passes.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch on a CPU; default: torch's own choice.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=20, show_default=True, help="Number of timed calls.")
@click.option("--warmup", type=click.IntRange(0), default=3, show_default=True, help="Number of calls before them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of initialisation and training pairs.")
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
    """Time a registrator, a translator or the training steps of a strategy, without writing a run directory.

    Prints medians and interquartile ranges. Nothing else should run on the machine meanwhile.

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
    timings = bench(
        Request(sets=parse_sets(sets), **request), whole_numbers("--batch", batches), Effort(repeats, warmup)
    )
    if as_json:
        echo_json(json.dumps(timings, indent=1))
    else:
        _print_timings(timings)


def _print_timings(timings: dict[str, Any]) -> None:
    from tabulate import tabulate

    provenance = timings["provenance"]
    gpus = ", ".join(gpu["name"] for gpu in provenance["gpu"]) if timings["device"].startswith("cuda") else ""
    echo(
        f"{timings['device']} ({gpus or provenance['cpu']['model']}), {timings['threads']} threads, "
        f"{timings['precision']}, torch {provenance['versions']['torch']}, {timings['dataset']} at "
        f"{timings['protocol']['patch']} px, {timings['repeats']} repeats, "
        f"process peak {timings['peak_process_mb']:,.0f} MB\n"
    )
    header = ["component", "call", "batch", "parameters", "ms/call", "IQR", "ms/pair", "pairs/s"]
    memory = any(row["peak_memory_mb"] is not None for row in timings["rows"])
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
        for row in timings["rows"]
    ]
    columns = [*header, "peak MB"] if memory else header
    align = ["left", "left", *["right"] * (len(columns) - 2)]
    echo(tabulate(cells, columns, tablefmt="pipe", disable_numparse=True, colalign=align))
