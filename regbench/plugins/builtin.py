"""What the harness itself offers, through the same door as every plugin."""

from __future__ import annotations

from regbench import Register, hookimpl


@hookimpl
def register_datasets(register: Register) -> None:
    """The embedded default data set."""
    register(
        "synthetic",
        "regbench.data.synthetic:Synthetic",
        summary="procedural scenes rendered aligned in optical, nir, thermal, sar, depth and map",
    )


@hookimpl
def register_metrics(register: Register) -> None:
    """The metrics of every result."""
    at = "regbench.metrics.corner:"
    register("mace", at + "mace", summary="mean average corner error, px")
    register("median_ace", at + "median_ace", summary="median average corner error, px")
    for k in (3, 5, 10, 20):
        register(
            f"auc@{k}",
            f"regbench.metrics.auc:auc{k}",
            summary=f"area under the cumulative error curve to {k} px, in percent",
            provides=("higher_is_better",),
        )
    register("worse_than_identity", at + "worse_than_identity", summary="percent of pairs made worse")
    register("failed", at + "failed", summary="percent of pairs without an answer")
