"""How a run is executed."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class TrainerConfig(BaseModel):
    """Settings that change how a run is executed, never what comes out of it (``--set run.NAME=VALUE``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint_seconds: float | None = Field(None, ge=0)
    """At most this much work is lost to a kill; by default 30 on a CPU and 300 on a GPU, whose copy costs more."""
    log_every: int = Field(20, ge=1)
    """Steps between looks at the loss; each look waits for the device."""
    eval_every: int = Field(0, ge=0)
    """Score what a stage deploys every so many steps, to ``curve.jsonl``; 0 only at the end of each stage."""
    share: Path | None = None
    """Folder of stages that several runs have in common, see :mod:`regbench.training.stage_cache`."""
