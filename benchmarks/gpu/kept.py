"""What a short run keeps: every part as soon as it is known, and a clock."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN = "run.json"
BEGAN = time.monotonic()


def seconds() -> float:
    """Since the process began."""
    return time.monotonic() - BEGAN


class Kept:
    """Everything a run has found so far, in one file.

    Args:
        out: folder of the file.
        until: seconds after which no part begins.
        skip: names of parts, by their first letters, that are left out.
    """

    def __init__(self, out: Path, until: float, skip: tuple[str, ...] = ()) -> None:
        self.out, self.until, self.skip = out, until, skip
        self.found: dict[str, Any] = {}
        out.mkdir(parents=True, exist_ok=True)

    def keep(self, part: str, value: Any) -> None:
        """Write a part, and print it in one line."""
        self.found[part] = value
        partial = self.out / f"{RUN}.partial"
        partial.write_text(json.dumps(self.found, indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(self.out / RUN)
        text = json.dumps(value, default=str)
        sys.stdout.write(f"[{seconds():5.0f} s] {part}: {text[:900]}\n")
        sys.stdout.flush()

    def part(self, name: str, measure: Callable[[], Any], *, always: bool = False) -> None:
        """Run a part and keep what it returns; a part that fails is kept as a line, and the next one begins.

        Args:
            name: of the part.
            measure: does it.
            always: also where the time is up.
        """
        if self.skip and name.startswith(self.skip):
            return
        if seconds() > self.until and not always:
            self.keep(name, "not begun: the time was up")
            return
        began = seconds()
        try:
            value = measure()
        except Exception as error:
            traceback.print_exc(limit=-6)
            value = f"FAILED {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        self.keep(name, value)
        self.found.setdefault("seconds", {})[name] = round(seconds() - began, 1)
