"""Code blocks of a Markdown page, and a shell that runs them one after the other in a folder of their own.

``sh`` blocks are commands, ``python`` blocks programs; a block with ``title="PATH"`` is the content of that file. The
line ``<!-- not run: REASON -->`` before a block keeps it from being run; its commands must exist all the same.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n\s*)?^(?P<indent> *)```(?P<language>\w+)(?P<rest>[^\n]*)\n"
    r"(?P<text>.*?)^(?P=indent)```",
    re.M | re.S,
)
_PIP = """#!/bin/sh
# Installs the projects named after -e, and nothing else: no network.
for word in "$@"; do
  case "$word" in install|-e|-q|regbench-*) ;; *) exec {python} -m tests.documents.install "$word" {site} ;; esac
done
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    title: str | None
    reason: str | None
    """Why it is not run."""

    @property
    def commands(self) -> list[str]:
        """The command lines of a ``sh`` block, without comments; a backslash joins lines."""
        joined = self.text.replace("\\\n", " ")
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line] if self.language == "sh" else []


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        indent, title = match["indent"], re.search(r'title="([^"]+)"', match["rest"])
        content = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        line = text[: match.start("language")].count("\n") + 1
        found.append(Block(line, match["language"], content, title and title[1], match["reason"]))
    return found


class Shell:
    """A folder in which the blocks of a page are run, with what earlier blocks installed there."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.here, self.site, bin_ = folder / "work", folder / "site", folder / "bin"
        for made in (self.here, self.site, bin_):
            made.mkdir(parents=True)
        python = f'exec {sys.executable} "$@"'
        commands = {
            "pip": _PIP.format(python=sys.executable, site=self.site),
            "regbench": f'#!/bin/sh\nexec {sys.executable} -m regbench "$@"\n',
            "pytest": f'#!/bin/sh\nexec {sys.executable} -m pytest -p no:cacheprovider "$@"\n',
            "python": f"#!/bin/sh\n{python}\n",
        }
        for name, text in commands.items():
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)
        known = os.environ.get("PYTHONPATH", "")
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(bin_), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.site), str(ROOT), known])),
            "REGBENCH_DATA": str(data),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, block: Block) -> str:
        """Run one block, or write its file; what it prints. Fails with the block's line and what it printed."""
        if block.title is not None:
            path = self.here / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return ""
        words = {"sh": ["bash", "-e", "-c", f"{block.text}\npwd > {self.site}/.here"]}
        command = words.get(block.language, [sys.executable, "-c", block.text])
        done = subprocess.run(
            command,
            cwd=self.here,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"the block at line {block.line} failed:\n{block.text}\n{done.stdout[-3000:]}"
        if block.language == "sh":
            self.here = Path((self.site / ".here").read_text().strip())
        return done.stdout
