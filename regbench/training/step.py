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

class ObjectiveState:
    """What one objective keeps while its stage is trained: parameters, optimiser, moving average."""

    def __init__(self, objective: Objective, stage: Stage) -> None:
        self.objective = objective
        modules = [stage.modules[name] for name in objective.updates]
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        if not self.parameters:
            raise RegbenchError(f"stage {stage.name!r}: {', '.join(objective.updates)} has no parameters to update")
        self.optimiser = _fused(objective.optimiser(self.parameters))
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
            # The decay rises to its full value, so that the average soon forgets the weights the stage began with.
            decay = min(self.objective.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        if self.objective.after is not None:
            self.objective.after()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While entered, the moving average, where there is one, stands in for the weights."""
        if self.average is None:
            yield
            return
        with torch.no_grad():
            weights = [p.detach().clone() for p in self.parameters]
            _copy(self.parameters, self.average)
            yield
            _copy(self.parameters, weights)

    def adopt_average(self) -> None:
        """At the end of the stage: the moving average, where there is one, replaces the weights."""
        if self.average is not None:
            with torch.no_grad():
                _copy(self.parameters, self.average)


def _fused(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let torch update parameters by one kernel: on a CPU one each, an eighth of the time of a small network's update.

    An optimiser that has no such kernel, or was told how to compute, is left as it is.
    """
    for group in optimiser.param_groups:
        told = group.get("foreach") or group.get("differentiable") or group.get("fused", False) is not None
        if not told and all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in group["params"]):
            group["fused"] = True
    return optimiser


def take_step(
    stage: Stage, objectives: Sequence[ObjectiveState], batch: Batch, not_finite: Tensor, world: World
) -> tuple[Tensor, dict[str, Tensor]]:
    """Update what the stage's objectives name.

    Args:
        stage: the stage being trained.
        objectives: its objectives, in order.
        batch: of this step.
        not_finite: scalar bool on the device, True once a loss was not finite.
        world: the processes that share the batch.

    Returns:
        ``not_finite`` after this step, and the logged values of the losses by name; all of it still on the device.
    """
    device = not_finite.device.type
    with torch.autocast(device, torch.bfloat16, enabled=_shared_precision(stage) == "bf16"):
        shared = stage.shared(batch) if stage.shared else {}
    logged: dict[str, Tensor] = {}
    for i, state in enumerate(objectives):
        with torch.autocast(device, torch.bfloat16, enabled=state.objective.precision == "bf16"):
            losses = dict(state.objective.loss(batch, shared))
        loss = losses["loss"]
        not_finite = not_finite | ~torch.isfinite(loss.detach())
        keep_graph = i + 1 < len(objectives) and _holds_graph(shared)
        state.update(loss, batch.step, keep_graph, world)
        prefix = "" if len(objectives) == 1 else "+".join(state.objective.updates) + "/"
        logged |= {prefix + name: value.detach() for name, value in losses.items()}
    return not_finite, logged


@contextmanager
def averaged(objectives: Sequence[ObjectiveState]) -> Iterator[None]:
    """While entered, all moving averages stand in for the weights."""
    with ExitStack() as stack:
        for state in objectives:
            stack.enter_context(state.averaged())
        yield


def _shared_precision(stage: Stage) -> str:
    """Precision of ``stage.shared``: that of the objectives where they agree, else fp32, which suits them all."""
    precisions = {objective.precision for objective in stage.objectives}
    return precisions.pop() if len(precisions) == 1 else "fp32"


def _holds_graph(shared: Any) -> bool:
    """Whether a value in ``shared`` leads back to parameters, so that the next objective may go backward through it."""
    if isinstance(shared, Tensor):
        return shared.requires_grad
    if isinstance(shared, Mapping):
        return any(_holds_graph(value) for value in shared.values())
    return isinstance(shared, list | tuple) and any(_holds_graph(value) for value in shared)


def _copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for a, b in zip(into, values, strict=True):
        a.copy_(b)
