"""Distributions that are broken or misbehave while they load or run: a row says why, and every verb still works."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from regbench.plugins.registry import registry
from tests.distributions import write_plugin
from tests.faults.command import called, regbench
from tests.faults.table import Line, Size
from tests.plugins import test_registry as cases
from tests.runs import test_contracts as contracts

Damage = Callable[[Path], None]
DAMAGE: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        cases.no_metadata, cases.no_name, cases.no_equals_sign, cases.no_text, cases.folder_for_a_file,
    )
}  # fmt: skip
LOUD = {
    "prints": "print('hello')\n" + cases.GOOD,
    "closes-stdin": "import sys\nsys.stdin.close()\n" + cases.GOOD,
    "hangs": "import time\nwhile True:\n    time.sleep(9)\n",
    "takes-an-official-name": cases.HOOK + "register('mcnet', 'x:X')\n",
    "warns": "import warnings\nwarnings.warn('old')\n" + cases.GOOD,
}
VERBS = (("plugins", "list", "--json"), ("datasets", "list"), ("plugins", "matrix"), ("--help",), ("doctor",))


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Install each distribution alone and call verbs; then break the contracts of what runs."""
    line = Line("broken distributions x verbs")
    sources = {name: code for name, (code, _) in cases.BROKEN.items()} | LOUD
    kinds = [(name, code, None) for name, code in sources.items()]
    kinds += [(f"aaa-{name.replace('_', '-')}", cases.GOOD, damage) for name, damage in DAMAGE.items()]
    for name, code, damage in kinds if size == "full" else kinds[::4]:
        with _installed(folder / name, name, code, damage):
            for verb in VERBS if size == "full" else VERBS[:2]:
                _try(line, name, verb, folder, healthy=name in ("prints", "closes-stdin", "warns"))
    yield line

    line = Line("components that break their contract")
    for name, (answer, said) in contracts.WRONG.items():
        done = called(lambda answer=answer: contracts.registered(answer))
        line.count(
            done.code == 1 and not done.generic and "Answers.forward" in done.err, f"{name}: {done.err} ({said})"
        )
    for name, corners in contracts.UNUSABLE.items():
        found = contracts.registered(contracts.displaced(*corners))
        line.count(not found.ok.any(), f"a homography that is {name} is ok")
    yield line


def _try(line: Line, name: str, verb: tuple[str, ...], folder: Path, healthy: bool) -> None:
    done = regbench(*verb, folder=folder, environment={"REGBENCH_PLUGINS_TIMEOUT": "0.5"})
    line.tracebacks += done.trace
    line.generic += done.generic
    line.generic_said += [done.err.strip()[-300:]] * done.generic
    expected = 1 if verb == ("doctor",) and not healthy else 0
    works = done.code == expected and registry().find("registrator", "mcnet") is not None
    if verb[-1] == "--json" and works:
        rows = json.loads(done.out)["plugins"]
        failed = [row for row in rows if row["status"] != "ok"]
        works = healthy == (not failed) and all(row["reason"] for row in failed)
        works = works and all(row["status"] == "ok" for row in rows if row["distribution"].startswith("regbench"))
    line.count(works, f"{name}: regbench {' '.join(verb)}: code {done.code}, {done.err[-300:]}")


@contextmanager
def _installed(folder: Path, name: str, code: str, damage: Damage | None) -> Iterator[None]:
    """While entered, a distribution is installed for this process alone."""
    write_plugin(folder, name, code)
    if damage is not None:
        damage(next(folder.glob("*.dist-info")))
    before = set(sys.modules)
    registry.cache_clear()
    environment = {key: value for key, value in os.environ.items() if key != "REGBENCH_LOAD_PLUGINS"}
    with (
        open(os.devnull) as nothing,
        patch.object(sys, "path", [str(folder), *sys.path]),
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "stdin", nothing),
    ):
        yield
    registry.cache_clear()
    for module in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    shutil.rmtree(folder)
