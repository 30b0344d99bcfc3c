"""One of several processes: runs cases together with the others and writes what it found.

``python -m tests.distributed.pair FOLDER CASE...`` with the environment torchrun gives; ``start`` gives it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = "REGBENCH_TEST_FOLDER"
CHECKOUT = Path(__file__).parents[2]


@dataclass
class Started:
    """Processes at work."""

    folder: Path
    running: list[subprocess.Popen[str]]

    def wait(self) -> None:
        """Until all have ended well."""
        for process in self.running:
            _, said = process.communicate(timeout=1800)
            assert process.returncode == 0, said[-3000:]

    def found(self, case: str) -> list[dict[str, Tensor]]:
        """What each process found."""
        return [load_file(self.folder / f"{case}.{rank}.safetensors") for rank in range(len(self.running))]


def start(folder: Path, cases: Iterable[str], processes: int = 2) -> Started:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1",
        FOLDER: str(folder),
    }  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.pair", str(folder), *cases],
            cwd=CHECKOUT,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    return Started(folder, running)


def _main(folder: Path, names: Sequence[str]) -> None:
    from regbench.distributed.processes import joined
    from tests.distributed.cases import CASES

    torch.set_num_threads(1)
    with joined() as world:
        for name in names:
            found = CASES[name](world)
            tensors = {key: value.contiguous().clone() for key, value in found.items()}
            save_file(tensors, folder / f"{name}.{world.rank.number}.safetensors")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
