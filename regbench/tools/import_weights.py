"""Published checkpoints become safetensors: keys are renamed by rules the registrator states as data."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from regbench.api.registrator import Registrator
from regbench.data.value_ranges import FULL, ValueRange, recorded
from regbench.errors import DataError, UsageError
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench.weights.files import check_finite, write_weights
from regbench.weights.published import no_part, same, tensor_groups

PUBLISHED_RANGE = recorded(FULL, ValueRange(0, 255), np.dtype(np.uint8))
"""Published networks learned from 8-bit images over 255."""


def import_checkpoint(
    name: str,
    file: Path,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    supervision: str = "homography",
    part: str | None = None,
) -> int:
    """Convert a published checkpoint of a registrator.

    Args:
        name: registered name of the registrator, at its published size unless ``settings`` say otherwise.
        file: the checkpoint as its authors publish it; read without running any code from it.
        out: safetensors file to write.
        settings: of the network.
        supervision: what the weights were trained with.
        part: name of one of several networks in the file; needed where more than one fits.

    Returns:
        The number of parameters.

    Raises:
        UsageError: the registrator has no rules for published checkpoints, or the file holds several networks that fit.
        DataError: the file is missing, broken, does not fill the network exactly, or holds NaN.
    """
    configured = configure("registrator", name, settings)
    network = registrator_alone(configured)
    if not network.published_keys:
        raise UsageError(f"{name}: no published checkpoint can be imported; `regbench weights list` names those")
    if out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"{out}: is the published file itself; name another file with --out")
    state = _network_in(file, network, name, part)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise DataError(f"{file}: is no checkpoint of {name} at these settings: {reason}") from error
    check_finite(network, file)
    write_weights(
        out,
        {"registrator": network},
        component=name,
        config=json.dumps(configured.config.model_dump(mode="json")),
        patch=str(network.info.patch),
        origin=file.name,
        origin_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        supervision=supervision,
        range_source=PUBLISHED_RANGE,
        range_target=PUBLISHED_RANGE,
    )
    return sum(p.numel() for p in network.parameters())


@dataclass(frozen=True)
class _Candidate:
    """The tensors of a file below one prefix, under the keys of the network."""

    prefix: str
    tensors: dict[str, Tensor]
    clash: tuple[str, str] | None
    """Two keys of the file that become one key of the network, with different values."""


def _network_in(file: Path, network: Registrator, name: str, part: str | None) -> dict[str, Tensor]:
    """The tensors of the only network in a file that fits; of the likeliest one where none does.

    A checkpoint is seen as one list of tensors, whose names are the keys that lead to them, joined by dots. A network
    may lie below any prefix of these names, such as ``state_dict.``, ``model.module.`` or ``ema.``.
    """
    flat = _flat(file, part)
    expected = {key: value.shape for key, value in network.state_dict().items()}
    sizes = Counter(key[: dot.end()] for key in flat for dot in re.finditer(r"\.", key))
    prefixes = ["", *(prefix for prefix, size in sizes.items() if 2 * size >= len(expected))]
    candidates = [_candidate(flat, prefix, network.published_keys) for prefix in prefixes]
    fitting = [candidate for candidate in candidates if _fits(candidate.tensors, expected)]
    inside = tuple(candidate.prefix for candidate in fitting if candidate.prefix)
    beside = {key: value for key, value in flat.items() if not key.startswith(inside)}
    for prefix in prefixes if inside else ():  # a network may also lie around another one
        candidate = _candidate(beside, prefix, network.published_keys)
        if _fits(candidate.tensors, expected):
            fitting.append(candidate)
    different: list[_Candidate] = []
    for candidate in fitting:
        if candidate.clash is None and not any(same(candidate.tensors, other.tensors) for other in different):
            different.append(candidate)
    if clash := next((c.clash for c in fitting if c.clash), None):
        raise DataError(
            f"{file}: {clash[0]} and {clash[1]} both stand for one tensor of {name}, and differ; choose with "
            "--part, or save one network alone"
        )
    if len(different) > 1:
        names = [candidate.prefix.rstrip(".") or "(the rest)" for candidate in different]
        raise UsageError(
            f"{file}: holds {len(different)} networks that fit {name}: {', '.join(names)}; name one with --part, such "
            f"as --part {next(n for n in names if n != '(the rest)')}"
        )
    if different:
        return different[0].tensors
    return max(candidates, key=lambda c: (len(expected.keys() & c.tensors.keys()), -len(c.tensors))).tensors


def _flat(file: Path, part: str | None) -> dict[str, Tensor]:
    """Every tensor of a file, or of a part of it, by the keys that lead to it."""
    groups = tensor_groups(file)
    flat: dict[str, Tensor] = {}
    for group in groups:
        for key, value in group.tensors.items():
            name = f"{group.name}.{key}" if group.name else key
            if name in flat and flat[name] is not value:
                raise DataError(f"{file}: holds two tensors that are both called {name}")
            flat[name] = value
    if part is None:
        return flat
    around = {f".{name}".split(f".{part}.", 1)[0] for name in flat if f".{part}." in f".{name}"}
    if not around:
        raise no_part(file, part, groups)
    if len(around) > 1 and "" not in around:
        names = ", ".join(sorted(f"{outer}.{part}".removeprefix(".") for outer in around))
        raise UsageError(f"{file}: --part {part} could be {names}; name one of these")
    prefix = f"{'' if '' in around else around.pop()}.{part}.".removeprefix(".")
    return {name.removeprefix(prefix): value for name, value in flat.items() if name.startswith(prefix)}


def _candidate(flat: Mapping[str, Tensor], prefix: str, rules: Sequence[tuple[str, str]]) -> _Candidate:
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    clash = None
    for theirs, value in flat.items():
        if not theirs.startswith(prefix):
            continue
        key = theirs.removeprefix(prefix)
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        if not key or _counts(key, value):  # an empty replacement drops a tensor of another component
            continue
        if key in tensors and not same({"": tensors[key]}, {"": value}):
            clash = clash or (origin[key], theirs)
        tensors.setdefault(key, value)
        origin.setdefault(key, theirs)
    return _Candidate(prefix, tensors, clash)


def _counts(key: str, value: Tensor) -> bool:
    """Whether a tensor counts epochs, steps or averaged networks, and is no part of any."""
    return "." not in key and value.ndim == 0 and not value.is_floating_point()


def _fits(tensors: Mapping[str, Tensor], expected: Mapping[str, Any]) -> bool:
    """Whether these are the tensors of a network; old files lack the counters of batch norm, which nothing reads."""
    missing = {key for key in expected.keys() - tensors.keys() if not key.endswith("num_batches_tracked")}
    return not missing and all(key in expected and value.shape == expected[key] for key, value in tensors.items())
