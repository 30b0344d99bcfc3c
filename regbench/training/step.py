"""One step of a stage: its objectives in order, each updating its own parameters and no others.

Nothing here reads a value back from the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regbench.api.stage import Objective, Stage
from regbench.api.types import Batch
from regbench.distributed.processes import World
from regbench.errors import RegbenchError


class Running:
    """One objective while its stage runs: parameters, optimiser, moving average."""

    def __init__(self, objective: Objective, stage: Stage) -> None:
        self.objective = objective
        modules = [stage.modules[name] for name in objective.updates]
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        if not self.parameters:
            raise RegbenchError(f"stage {stage.name!r}: {', '.join(objective.updates)} has no parameters to update")
        self.optimiser = objective.optimiser(self.parameters)
        self.average = [p.detach().clone() for p in self.parameters] if objective.ema else None

    def update(self, loss: Tensor, step: int, keep_graph: bool, world: World) -> None:
        """One gradient step on these parameters alone, the same in every process."""
        lr = self.objective.lr(step)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=self.parameters, retain_graph=keep_graph)
        world.average_gradients(self.parameters)
        if self.objective.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.objective.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            assert self.objective.ema is not None
            # A young average must not remember the weights the stage began with: the decay rises to its full value.
            decay = min(self.objective.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        if self.objective.after is not None:
            self.objective.after()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the moving average as weights for a while."""
        if self.average is None:
            yield
            return
        with torch.no_grad():
            kept = [p.detach().clone() for p in self.parameters]
            _copy(self.parameters, self.average)
            yield
            _copy(self.parameters, kept)

    def settle(self) -> None:
        """The moving average, where there is one, becomes the weights: the stage has ended."""
        if self.average is not None:
            with torch.no_grad():
                _copy(self.parameters, self.average)


def take_step(
    stage: Stage, running: Sequence[Running], batch: Batch, flag: Tensor, world: World
) -> tuple[Tensor, dict[str, Tensor]]:
    """Update what the stage's objectives name.

    Args:
        stage: whose step this is.
        running: its objectives, in order.
        batch: of this step.
        flag: bool on the device, up once a loss was not finite.
        world: the processes that share the batch.

    Returns:
        The flag, and what the losses say, by name; all of it still on the device.
    """
    device = flag.device.type
    with torch.autocast(device, torch.bfloat16, enabled=_precision(stage) == "bf16"):
        shared = stage.shared(batch) if stage.shared else {}
    logged: dict[str, Tensor] = {}
    for i, r in enumerate(running):
        with torch.autocast(device, torch.bfloat16, enabled=r.objective.precision == "bf16"):
            losses = dict(r.objective.loss(batch, shared))
        loss = losses["loss"]
        flag = flag | ~torch.isfinite(loss.detach())
        r.update(loss, batch.step, i + 1 < len(running) and _holds_graph(shared), world)
        prefix = "" if len(running) == 1 else "+".join(r.objective.updates) + "/"
        logged |= {prefix + name: value.detach() for name, value in losses.items()}
    return flag, logged


@contextmanager
def averaged(running: Sequence[Running]) -> Iterator[None]:
    """Use every moving average there is as weights for a while."""
    with ExitStack() as stack:
        for r in running:
            stack.enter_context(r.averaged())
        yield


def _precision(stage: Stage) -> str:
    """Of what objectives share: theirs, where they agree; else that which suits all."""
    asked = {objective.precision for objective in stage.objectives}
    return asked.pop() if len(asked) == 1 else "fp32"


def _holds_graph(shared: Any) -> bool:
    """Whether what objectives share still leads back to parameters, so that the next one may go that way too."""
    if isinstance(shared, Tensor):
        return shared.requires_grad
    if isinstance(shared, Mapping):
        return any(_holds_graph(value) for value in shared.values())
    return isinstance(shared, list | tuple) and any(_holds_graph(value) for value in shared)


def _copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for a, b in zip(into, values, strict=True):
        a.copy_(b)
