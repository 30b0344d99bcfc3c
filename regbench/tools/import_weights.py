"""Published checkpoints become safetensors: keys are renamed by rules the registrator states as data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regbench.data.value_ranges import FULL, ValueRange, recorded
from regbench.errors import DataError, UsageError
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench.weights.files import write_weights
from regbench.weights.published import read_published

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
        part: name of one of several networks in the file; by default the one with most tensors.

    Returns:
        The number of parameters.

    Raises:
        UsageError: the registrator has no rules for published checkpoints.
        DataError: the file is missing, broken, or does not fill the network exactly.
    """
    configured = configure("registrator", name, settings)
    network = registrator_alone(configured)
    if not network.published_keys:
        raise UsageError(f"{name}: no published checkpoint can be imported; `regbench weights list` names those")
    state = read_published(file, part)
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in network.published_keys:
            key = re.sub(pattern, replacement, key)
        if key:  # a rule whose replacement is empty drops a tensor that belongs to another component
            renamed[key] = value
    try:
        network.load_state_dict(renamed)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise DataError(f"{file}: is no checkpoint of {name} at these settings: {reason}") from error
    write_weights(
        out,
        {"registrator": network},
        component=name,
        config=json.dumps(configured.config.model_dump(mode="json")),
        origin=file.name,
        origin_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        supervision=supervision,
        range_source=PUBLISHED_RANGE,
        range_target=PUBLISHED_RANGE,
    )
    return sum(p.numel() for p in network.parameters())
