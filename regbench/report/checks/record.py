"""A record against what can be: settings that components take, budgets there are, numbers that are not negative.

The types of entries are those of :mod:`regbench.results.schema`, which is checked when a record is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from regbench.api.config import ComponentConfig
from regbench.data.protocol import Protocol
from regbench.errors import RegbenchError
from regbench.installed import canonical, is_official
from regbench.plugins.registry import Component, registry
from regbench.results import Identity, Result, schema
from regbench.results.schema import ROLES
from regbench.settings import budget_of, first_line

LARGEST_SEED = 2**63 - 1
_DEFAULTS = {"run": {"--seed": "0", "--budget": "quick"}, "evaluate": {"--seed": "0", "--budget": "full"}}
"""Of the verbs that make a run."""


def problems(result: Result) -> Iterator[str]:
    """Problems of one record, without its pairs; each a sentence without its subject."""
    yield from identity_problems(result.identity)
    if result.status == "ok":
        yield from _timing(result)
        yield from _training(result)
    yield from _provenance(result)
    yield from _command(result)


def identity_problems(identity: Identity) -> Iterator[str]:
    """Why no run can have this identity, as far as installed components tell."""
    if not 0 <= identity.seed <= LARGEST_SEED:
        yield f"seed {identity.seed} is none: seeds lie in 0..{LARGEST_SEED}"
    try:
        budget_of(identity.budget)
    except RegbenchError as error:
        yield str(error)
    try:
        Protocol.model_validate(identity.protocol.model_dump())
    except ValidationError as error:
        yield f"protocol: {first_line(error)}"
    for role, part in identity.components.items():
        yield from _settings(role, part)


def installed(role: str, recorded: schema.Component) -> Component | None:
    """The installed component of a record, of the same distribution and version; None where it is another or none."""
    component = registry().find(role, recorded.name)
    if component is None or component.version != recorded.version:
        return None
    return component if canonical(component.distribution) == canonical(recorded.distribution) else None


def _settings(role: str, recorded: schema.Component) -> Iterator[str]:
    component = installed(role, recorded)
    if component is None:
        return
    try:
        cls: type[ComponentConfig] = component.load().Config
        cls.model_validate({**cls.formerly, **recorded.config})
    except ValidationError as error:
        yield f"{role} {recorded.name}: {first_line(error)}"
    except (RegbenchError, AttributeError):
        return  # it cannot be imported here, so that nothing is known of its settings


def _timing(result: Result) -> Iterator[str]:
    if not _is_number(result.timing.get("register_ms")) or not result.timing["register_ms"] > 0:
        yield f"timing.register_ms is {result.timing.get('register_ms')!r}, no time of a pair in ms"
    if "register_ms_iqr" in result.timing and not _is_number(result.timing["register_ms_iqr"]):
        yield f"timing.register_ms_iqr is {result.timing['register_ms_iqr']!r}, no time in ms"


def _training(result: Result) -> Iterator[str]:
    training = result.training
    needed = ("parameters", "seconds") if result.identity.strategy else ("parameters",)
    for name in (*needed, "peak_memory_mb", "peak_gpu_memory_mb"):
        if (name in needed or name in training) and not _is_number(training.get(name)):
            yield f"training.{name} is {training.get(name)!r}, no number of at least zero"
    if not isinstance(training.get("of_no_paper", False), bool):
        yield f"training.of_no_paper is {training['of_no_paper']!r}, neither true nor false"
    stages = training.get("stages") or []
    if not all(_is_number(stage.get("steps")) and _is_number(stage.get("seconds")) for stage in stages):
        yield "training.stages is no list of stages with steps and seconds"


def _provenance(result: Result) -> Iterator[str]:
    facts = result.provenance
    argv = facts.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        yield "provenance.argv does not tell the command that made it"
    for name in ("versions", "cpu"):
        if not isinstance(facts.get(name), Mapping) or not facts[name]:
            yield f"provenance.{name} is empty"
    distributions = facts.get("distributions")
    if not isinstance(distributions, Mapping):
        yield "provenance.distributions does not tell what was installed"
        return
    hashes = facts.get("third_party")
    versions = {canonical(str(name)): version for name, version in distributions.items()}
    for role, part in result.identity.components.items():
        if versions.get(canonical(part.distribution)) != part.version:
            yield f"its {role} {part.name} is of {part.distribution} {part.version}, which provenance does not list"
        elif not is_official(part.distribution) and not _is_hash(hashes, part.distribution):
            yield f"its {role} {part.name} is code of others, whose files provenance.third_party does not hash"


def _is_hash(hashes: Any, distribution: str) -> bool:
    sha256 = hashes.get(distribution) if isinstance(hashes, Mapping) else None
    return isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) is not None


def _command(result: Result) -> Iterator[str]:
    """What the command line says against what the identity says."""
    said, identity = command_options(result), result.identity
    names = {role: part.name for role, part in identity.components.items()}
    recorded = {f"--{role}": names.get(role, "none") for role in ROLES}
    recorded |= {"--seed": str(identity.seed), "--budget": identity.budget}
    for option, own in recorded.items() if said else ():
        value = said.get(option, ["none"])[-1]
        if value != own:
            yield f"its command says {option} {value}, its identity {own}"


def command_options(result: Result) -> dict[str, list[str]]:
    """Options of the command line of ``run`` or ``evaluate --registrator``, with defaults; empty for another one."""
    argv = result.provenance.get("argv")
    if not isinstance(argv, Sequence) or not all(isinstance(word, str) for word in argv):
        return {}
    words = [word for word in argv[1:] if word != "--debug"]
    if not words or words[0] not in _DEFAULTS:
        return {}
    options: dict[str, list[str]] = {}
    for word, following in zip(words[1:], [*words[2:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            options.setdefault(name, []).append(value if equals else following)
    if "--registrator" not in options:  # evaluate --run: the identity is of the run that is judged
        return {}
    return {name: [value] for name, value in _DEFAULTS[words[0]].items()} | options


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
