"""What bfloat16 does to a registrator: the gradients of a supervised step under autocast, compared with float32.

    python benchmarks/bf16_gradients.py [REGISTRATOR…] [--preset smoke] [--steps 60]

Each network is looked at as it was initialised, and after ``--steps`` steps in float32. Prints a table, one row for
each registrator that can be trained:

* *estimates*: mean distance of the corners that bfloat16 and float32 estimate for the same pairs, px.
* *cosine*: between the gradient of all parameters in bfloat16 and that in float32 of the same pairs.
* *other pairs*: cosine between the float32 gradients of two batches: what a step differs by in any case.

Means over ``--batches`` batches of ``--batch`` labelled pairs of one modality.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence

import torch
from tabulate import tabulate
from torch import Tensor

from regbench.api.registrator import Registrator
from regbench.data.protocol import Protocol
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench.testing.images import labelled_pair
from regbench.testing.parts import INFO

PROTOCOL = Protocol(patch=64, rho=16)


def main() -> None:
    known = [component.name for component in registry().all("registrator") if "train" in component.provides]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="REGISTRATOR", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in args.names or known:
        network = _built(name, args.preset)
        batches = [labelled_pair(args.batch, PROTOCOL, seed) for seed in range(args.batches)]
        row: list[object] = [name]
        for steps in (0, args.steps):
            _train(network, steps, args.batch, args.lr)
            row += _compared(network, batches)
        rows.append(row)
        print(*row, flush=True)
    columns = ("estimates, px", "cosine", "other pairs")
    headers = ["registrator", *columns, *(f"{column}, trained" for column in columns)]
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=".4f"))


def _built(name: str, preset: str) -> Registrator:
    component = registry().get("registrator", name)
    torch.manual_seed(0)
    network: Registrator = component.load()(build_config(component, {"preset": preset}), INFO)
    return network.train()


def _train(network: Registrator, steps: int, batch: int, lr: float) -> None:
    """Steps in float32, on pairs that are not looked at later."""
    optimiser = torch.optim.AdamW(network.parameters(), lr)
    for step in range(steps):
        source, target, label = labelled_pair(batch, PROTOCOL, 1000 + step)
        optimiser.zero_grad()
        network.loss(network(source, target), label).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()


def _compared(network: Registrator, batches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> list[float]:
    """Distance of estimates, cosine of the two precisions, cosine of neighbouring batches."""
    exact = [_step(network, batch, bf16=False) for batch in batches]
    reduced = [_step(network, batch, bf16=True) for batch in batches]
    distances = [float((a - b).norm(dim=-1).mean()) for (a, _), (b, _) in zip(exact, reduced, strict=True)]
    cosines = [_cosine(a, b) for (_, a), (_, b) in zip(exact, reduced, strict=True)]
    others = [_cosine(a, b) for (_, a), (_, b) in itertools.pairwise(exact)]
    return [statistics.fmean(values) for values in (distances, cosines, others)]


def _step(network: Registrator, batch: tuple[Tensor, Tensor, Tensor], *, bf16: bool) -> tuple[Tensor, Tensor]:
    """The last estimates, and the gradient of all parameters as one vector."""
    source, target, label = batch
    network.zero_grad()
    torch.manual_seed(0)  # the same dropout
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        registration = network(source, target)
        loss = network.loss(registration, label)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])  # running statistics, as if nobody had looked
    gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    return registration.displacements[-1].detach(), gradient


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


if __name__ == "__main__":
    main()
