"""Bad words: on the command line, as values of settings, and in environment variables."""

from __future__ import annotations

import json

from regbench.data.protocol import Protocol
from regbench.plugins.registry import registry
from regbench.runs.request import Request, resolve
from regbench.settings import parse_sets
from regbench.texts import printable
from tests.faults.command import Said, called, regbench
from tests.faults.parts.bad_inputs.generated import Inputs, Try


def command_lines(inputs: Inputs) -> Try:
    """Known verbs and options in any order with any values; nothing that trains."""
    verbs = (
        "evaluate",
        "register",
        "plugins",
        "datasets",
        "weights",
        "leaderboard",
        "compare",
        "figure",
        "consistency",
    )
    options = (
        *("--registrator", "--weights", "--run", "--budget", "--set", "--seed", "--device", "--dataset", "--root"),
        *("--max-side", "--range-source", "--format", "--board", "--role", "--json", "--out", "--translator"),
    )
    subverbs = ("list", "info", "matrix", "check", "build", "export", "verify", "import", "stats", "sift", "synthetic")

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        rest = [inputs.random.choice((*subverbs, inputs.text(), "nothing-here", "nothing-here.png"))]
        for _ in range(inputs.random.randrange(4)):
            rest += [inputs.random.choice(options)] + [inputs.text()] * inputs.random.randrange(2)
        verb = inputs.random.choice((*verbs, inputs.text()))
        if verb == "plugins" and "check" in rest:
            rest.remove("check")
        rest = [word.replace("\x00", "").encode(errors="replace").decode() for word in rest]  # as a shell can give them
        said = regbench(verb, *rest, "--seed=x" if verb == "evaluate" else "--", folder=inputs.folder)
        words = (printable(word).strip() for word in (verb, *rest))
        return said, (*words, *(repr(word)[1:-1] for word in rest), "--", "name", "board", "leaderboards")

    return attempt


def settings(inputs: Inputs) -> Try:
    """Any value for every setting of every component, protocol and trainer."""
    roles = ("registrator", "translator", "strategy")
    names = [(role, c.name, field) for role in roles for c in registry().all(role)
             for field in (*c.load().Config.model_fields, "preset", "nonsense")]  # fmt: skip
    names += [
        (section, "", field) for section in ("protocol", "run") for field in (*Protocol.model_fields, "log_every")
    ]
    given = {"registrator": "mcnet", "strategy": "colreg", "translator": "mimgcd"}

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        section, name, field = inputs.random.choice(names)
        words = {**given, section: name} if name else given
        value = inputs.text() if inputs.random.random() < 0.5 else json.dumps(inputs.odd())
        budget = inputs.random.choice(("smoke", "quick", "full", "0.1", inputs.text()))
        said = called(lambda: resolve(Request(**words, budget=budget, sets=parse_sets([f"{section}.{field}={value}"]))))
        return said, (field, "unknown budget", "budget " + budget, name or section)

    return attempt


def environments(inputs: Inputs) -> Try:
    """Any value for every variable that is read."""
    names = ("REGBENCH_DATA", "REGBENCH_RESIDENT_MB", "REGBENCH_PLUGINS_TIMEOUT", "WORLD_SIZE", "RANK", "LOCAL_RANK")
    for file in ("file", "plain"):
        (inputs.folder / file).write_text("x")

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        name = inputs.random.choice(names)
        values = (inputs.text(), "file", "file/below", "/proc/none", "1", "0", "-1", "1.5")
        value = inputs.random.choice(values).replace("\x00", "")
        value = value.encode(errors="replace").decode()
        registry.cache_clear()
        said = regbench("datasets", "verify", "synthetic", folder=inputs.folder, environment={name: value})
        registry.cache_clear()
        return said, (name, value.strip() or name, "synthetic", "torchrun")

    return attempt
