"""A toy run: two stages, three modules, an average, two objectives; everything the trainer has to get right."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from regbench import Objective, Stage
from regbench.api.types import Batch, Pair
from regbench.training.config import TrainerConfig
from regbench.training.trainer import Trainer

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
ADAM = partial(torch.optim.AdamW, lr=0.1)


class ToySampler:
    """Noise in, sum out; labels as the real sampler makes them: a pure function of stage and step."""

    device = torch.device("cpu")

    def batch(self, stage: str, step: int, size: int, views: tuple[str, ...], repeat_pairs: int | None = None) -> Batch:
        generator = torch.Generator().manual_seed(hash((stage == "second", step)) % 2**31)
        x = torch.randn(size, 4, generator=generator)
        batch = Batch(size, step, generator)
        batch.views["pair"] = Pair(x, x.sum(1, keepdim=True))
        return batch


def modules() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "a": nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1)),
        "b": nn.Linear(4, 1),
        "frozen": nn.Linear(1, 1),
    }


def stages(m: dict[str, nn.Module], steps: int = 12, events: list[str] | None = None) -> tuple[Stage, ...]:
    events = [] if events is None else events

    def error(name, batch, shared):
        pair = batch.pair
        return {"loss": (m["frozen"](m[name](pair.source)) - pair.target).abs().mean()}

    def lr(step: int) -> float:
        return 0.05 / (1 + step)

    first = Stage(
        "first",
        steps,
        8,
        ("pair",),
        (
            Objective(("a",), partial(error, "a"), ADAM, lr, clip=1.0, ema=0.9),
            Objective(("b",), partial(error, "b"), SGD, lr, after=lambda: events.append("after")),
        ),
        m,
        begin=lambda: events.append("begin first"),
        setup=lambda: events.append("setup first"),
    )
    second = Stage(
        "second",
        steps,
        8,
        ("pair",),
        (Objective(("b",), partial(error, "b"), ADAM, lr),),
        m,
        begin=lambda: m["b"].weight.data.mul_(0.5),
    )
    return first, second


def trainer(folder: Path, m: dict[str, nn.Module] | None = None, **kwargs) -> Trainer:
    m = modules() if m is None else m
    config = TrainerConfig(checkpoint_seconds=kwargs.pop("seconds", 0), log_every=kwargs.pop("log_every", 1))
    made = kwargs.pop("stages", None) or stages(m, kwargs.pop("steps", 12), kwargs.pop("events", None))
    return Trainer(made, m, ToySampler(), seed=0, folder=folder, config=config, **kwargs)
