"""The processes that train one run together, started by torchrun.

Each takes its share of every batch (:mod:`regbench.distributed.batch`) and computes the gradient of it; the mean over all,
taken as one flat tensor an objective, is what each then applies. So all hold the same weights at every step, equal to
those of one process up to rounding. The first process alone writes, reports and judges; the others wait for it.

Nothing is wrapped: a strategy may run a network as often as it likes within a step. Tensors meet through gloo on CPUs,
through NCCL on GPUs; what is agreed among the processes themselves, such as when to stop, always through gloo, so that
no agreement waits for a device.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn

from regbench.api.stage import Stage
from regbench.distributed.batch import shared_by
from regbench.distributed.rank import Place, place
from regbench.errors import UsageError

T = TypeVar("T")
HERE = Place()
PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which may be judging a large test set."""


@dataclass(frozen=True)
class World:
    """All processes of a run, as one of them sees them; by default there is one."""

    place: Place = HERE

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.place.processes

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.place.rank == 0

    def check(self, stages: Sequence[Stage]) -> None:
        """Raise UsageError where a batch cannot be shared evenly."""
        for stage in stages:
            unit = self.processes * stage.parts
            if stage.batch % unit:
                raise UsageError(
                    f"stage {stage.name}: {self.processes} processes cannot share a batch of {stage.batch} evenly; "
                    f"make it a multiple of {unit}, or start fewer processes"
                )

    def sharing(self) -> AbstractContextManager[None]:
        """Where batches are shared: within a training step."""
        return shared_by(self.place)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient there is by its mean over the processes, in one exchange."""
        if self.processes == 1:
            return
        from torch import distributed

        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.processes
        means = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is up in any process."""
        if self.processes == 1:
            return flags
        from torch import distributed

        raised = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean of scalars over the processes."""
        found = {name: float(value) for name, value in values.items()}
        if self.processes == 1:
            return found
        from torch import distributed

        summed = torch.tensor(list(found.values()), dtype=torch.float64)
        distributed.all_reduce(summed)
        return dict(zip(found, (summed / self.processes).tolist(), strict=True))

    def of_first(self, value: T) -> T:
        """What the first process says."""
        if self.processes == 1:
            return value
        from torch import distributed

        said = [value]
        distributed.broadcast_object_list(said, device=torch.device("cpu"))
        return said[0]

    def wait(self) -> None:
        """Until every process is here."""
        self.any(False)


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """Join the other processes that torchrun has started, and leave together with them."""
    world = World(place())
    if world.processes == 1:
        yield ALONE
        return
    from torch import distributed

    if not world.first:
        logging.getLogger("regbench").setLevel(logging.ERROR)  # the first one says it
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    yield world
    # After an error the others may be gone: then nothing is waited for, and torchrun ends what is left.
    world.wait()
    distributed.destroy_process_group()
