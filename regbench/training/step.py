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
from regbench.errors import PluginError, RegbenchError


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

    def update(self, loss: Tensor, step: int, keep_graph: bool, world: World) -> Tensor:
        """One gradient step on these parameters alone, the same in every process; gives the gradient's norm."""
        lr = self.objective.lr(step)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=self.parameters, retain_graph=keep_graph)
        world.average_gradients(self.parameters)
        if self.objective.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.parameters, self.objective.clip)
        else:
            norm = norm_of([p.grad for p in self.parameters if p.grad is not None], loss.device)
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
        return norm

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
        not_finite: scalar bool on the device, True once a loss or a gradient was not finite.
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
            losses = state.objective.loss(batch, shared)
        loss = _checked(losses, stage, state.objective)
        keep_graph = i + 1 < len(objectives) and _holds_graph(shared)
        norm = state.update(loss, batch.step, keep_graph, world)
        # A finite loss can have a gradient that is none, such as that of sqrt at zero.
        not_finite = not_finite | ~(torch.isfinite(loss.detach()) & torch.isfinite(norm))
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


def norm_of(tensors: Sequence[Tensor], device: torch.device | str) -> Tensor:
    """The norm of all these tensors together, a scalar on the device: not finite where any entry is not."""
    if not tensors:
        return torch.zeros((), device=device)
    return torch.linalg.vector_norm(torch.stack([norm.float() for norm in torch._foreach_norm(list(tensors))]))


def all_finite(modules: Mapping[str, nn.Module]) -> Tensor:
    """Scalar bool on the device: no parameter is NaN or infinite, and no buffer NaN; some buffers hold infinity."""
    parameters = [p.detach() for m in modules.values() for p in m.parameters() if p.is_floating_point()]
    buffers = [b for m in modules.values() for b in m.buffers() if b.is_floating_point()]
    device = next(iter([*parameters, *buffers]), torch.zeros(())).device
    fine = torch.isfinite(norm_of(parameters, device))
    for buffer in buffers:
        fine = fine & ~torch.isnan(buffer).any().to(device)
    return fine


def _checked(losses: Any, stage: Stage, objective: Objective) -> Tensor:
    """The loss to minimise of what an objective returned; raises PluginError where that is not as agreed."""
    where = f"stage {stage.name!r}: the loss of {', '.join(objective.updates)}"
    if not isinstance(losses, Mapping) or "loss" not in losses:
        raise PluginError(f"{where} must return a dict with the key 'loss', got {type(losses).__name__}")
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise PluginError(f"{where} must return scalar tensors, but {name!r} is {what}")
    loss = losses["loss"]
    if not loss.requires_grad:
        raise PluginError(f"{where} does not depend on what it updates: 'loss' has no gradient")
    return loss.reshape(())


def _copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for a, b in zip(into, values, strict=True):
        a.copy_(b)
