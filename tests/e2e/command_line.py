"""The real command line, as tests call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TINY = ["--set", "dataset.train=6", "--set", "dataset.test=6", "--set", "dataset.size=112"]
SMOKE = ["--budget", "smoke", "--set", "strategy.steps=6", "--set", "strategy.batch=4", *TINY]


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Regbench:
    """The real command line, in a folder of its own."""

    folder: Path
    data: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"REGBENCH_DATA": str(self.data), "OMP_NUM_THREADS": "1"}

    def command(self, *args: str, inject: str = "") -> list[str]:
        """The command; ``inject`` is Python executed first, to make the process die where a test wants it to."""
        return [sys.executable, "-c", f"{inject}\nfrom regbench.cli import main\nmain()", *args]

    def __call__(self, *args: str, inject: str = "", timeout: float = 300) -> Outcome:
        done = subprocess.run(
            self.command(*args, inject=inject),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)
