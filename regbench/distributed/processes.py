"""The processes that train one run together, started by torchrun.

Each process takes its share of every batch (:mod:`regbench.distributed.batch`), computes the gradient of its share and
applies the mean of all gradients, which travels as one flat tensor for each objective. All processes therefore hold the
same weights at every step, equal to the weights of a run of one process up to rounding. The first process alone writes,
reports and judges; the others wait for it.

No network is wrapped, so a strategy may call a network as often as it likes within a step. Tensors are exchanged
through gloo on CPUs and through NCCL on GPUs. Agreements between the processes, such as when to stop, always go through
gloo, so that no agreement waits for a device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn

from regbench.distributed.batch import sharing_batches
from regbench.distributed.rank import Rank, this_rank

T = TypeVar("T")
R = TypeVar("R")
TIMEOUT = timedelta(days=1)
"""How long processes wait for the first one, which may be judging a large test set."""


@dataclass(frozen=True)
class World:
    """All processes of a run, as one of them sees them; by default there is one."""

    rank: Rank = field(default_factory=Rank)

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return self.rank.processes

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes, reports and judges."""
        return self.rank.number == 0

    def led_by_first(self, lead: Callable[[Callable[..., R]], T], together: Callable[..., R]) -> T | None:
        """Run ``lead`` in the first process, and ``together`` in all processes at the moment ``lead`` calls it.

        Every process calls this method. ``lead`` is handed a form of ``together`` that starts it in the other processes
        as well; it may call that form once, with arguments of its own, or not at all. The other processes wait until
        ``lead`` calls it, then run ``together()``; they do nothing if ``lead`` returns without having called it. If
        ``lead`` raises before, they keep waiting: torchrun ends them when the first process has ended.

        Args:
            lead: what the first process does alone.
            together: what all processes do at the same time.

        Returns:
            What ``lead`` returned; None in the other processes.
        """
        if not self.first:
            if self.broadcast_from_first(False):
                together()
            return None
        called = False

        def call_all(*args: object, **kwargs: object) -> R:
            nonlocal called
            assert not called, "the other processes wait for one call"
            called = True
            self.broadcast_from_first(True)
            return together(*args, **kwargs)

        result = lead(call_all)
        if not called:
            self.broadcast_from_first(False)
        return result

    def sharing_batches(self) -> AbstractContextManager[None]:
        """While entered, as in a training step, this process holds its share of every batch."""
        return sharing_batches(self.rank)

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
        """For each flag, whether it is set in any process."""
        if self.processes == 1:
            return flags
        from torch import distributed

        raised = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean of named scalars over the processes."""
        own = {name: float(value) for name, value in values.items()}
        if self.processes == 1:
            return own
        from torch import distributed

        summed = torch.tensor(list(own.values()), dtype=torch.float64)
        distributed.all_reduce(summed)
        return dict(zip(own, (summed / self.processes).tolist(), strict=True))

    def broadcast_from_first(self, value: T) -> T:
        """The value the first process passes; every process must call this at the same point."""
        if self.processes == 1:
            return value
        from torch import distributed

        values = [value]
        distributed.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Return when every process has called this."""
        self.any(False)


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """Join the other processes that torchrun has started, and leave together with them."""
    world = World(this_rank())
    if world.processes == 1:
        yield ALONE
        return
    from torch import distributed

    if not world.first:
        logging.getLogger("regbench").setLevel(logging.ERROR)  # the first process logs what all would log
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    yield world
    # After an error other processes may be gone, so this one does not wait: torchrun ends what is left.
    world.wait()
    distributed.destroy_process_group()
