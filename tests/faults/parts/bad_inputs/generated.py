"""Where bad inputs come from: odd values and texts, and right files that are damaged."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.command import Said

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", " ", "x", "null"),
    *([], [[]], {}, {"a": {}}, [1, "x"], "\x00", "\x1b[2J", "é" * 300, "../../x", "a" * 5000, "1e999", "\ud800"),
)
TEXTS = (
    "[[[[",
    "{",
    '"',
    "'",
    "=",
    "-",
    "--",
    "true",
    "nan",
    "1e400",
    "0x10",
    "1,2",
    "٣",
    "$(x)",
    "%s",
    "\\",
    "\n",
    "𝕏",
)


@dataclass
class Inputs:
    """A source of inputs of one seed, and files that are right."""

    random: random.Random
    folder: Path

    def odd(self) -> Any:
        """A value of any JSON type that is seldom right."""
        return self.random.choice(ODD)

    def text(self) -> str:
        """A text that is seldom right."""
        kind = self.random.randrange(3)
        if kind == 0:
            return self.random.choice(TEXTS)
        if kind == 1:
            return str(self.odd()).replace("\x00", "")
        return "".join(self.random.choices(string.printable, k=self.random.randrange(12)))

    def damaged(self, data: bytes) -> bytes:
        """Bytes with a few changed, cut out, repeated or cut off."""
        changed = bytearray(data)
        for _ in range(self.random.randrange(1, 6)):
            if not changed:
                break
            at, kind = self.random.randrange(len(changed)), self.random.randrange(6)
            if kind == 0:
                changed[at] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                changed[at : at + self.random.randrange(1, 20)] = b""
            elif kind == 2:
                del changed[at:]
            elif kind == 3:
                changed[at:at] = changed[: self.random.randrange(30)]
            elif kind == 4:
                changed[at : at + 4] = self.random.randbytes(4)
            else:
                changed[at:at] = str(self.odd()).encode(errors="replace")
        return bytes(changed)

    def changed(self, tree: Any) -> Any:
        """JSON with one to three places changed, dropped or added."""
        tree = json.loads(json.dumps(tree))
        for _ in range(self.random.randrange(1, 4)):
            node = tree
            while isinstance(node, dict | list) and node:
                key = self.random.choice(list(node)) if isinstance(node, dict) else self.random.randrange(len(node))
                if self.random.random() < 0.4 or not isinstance(node[key], dict | list) or not node[key]:
                    if self.random.random() < 0.7:
                        node[key] = self.odd()
                    elif self.random.random() < 0.5:
                        del node[key]
                    elif isinstance(node, dict):
                        node[self.text()] = self.odd()
                    break
                node = node[key]
        return tree


Try = Callable[[Inputs, int], tuple[Said, tuple[str, ...]]]
"""Makes and uses one input; gives what was said, and words of which a refusal must hold one."""
