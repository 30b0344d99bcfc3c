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

    def __call__(self, *args: str, inject: str = "") -> Outcome:
        """Run it; ``inject`` is Python executed first, to make the process die where a test wants it to."""
        code = f"{inject}\nfrom regbench.cli import main\nmain()"
        env = os.environ | {"REGBENCH_DATA": str(self.data), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, *args], cwd=self.folder, env=env, capture_output=True, text=True, timeout=120
        )
        return Outcome(done.returncode, done.stdout, done.stderr)
