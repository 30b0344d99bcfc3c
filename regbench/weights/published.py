"""Weights as their authors publish them: where to look for them, and the tensors in their files.

Nothing is ever downloaded, and no code of a file is run (:mod:`regbench.weights.unpickling`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from regbench.errors import DataError
from regbench.weights import unpickling
from regbench.weights.kinds import SAFETENSORS, kind_of
from regbench.weights.used import note_weights


def hub_cache() -> Path:
    """The folder where torch.hub and torchvision keep published files."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def in_hugging_face_cache(repository: str | None) -> Path | None:
    """``model.safetensors`` of a repository of the Hugging Face hub, where its cache holds it; else None."""
    if not repository or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, "model.safetensors")
    return Path(path) if isinstance(path, str) else None


@dataclass(frozen=True)
class TensorGroup:
    """One dictionary of tensors in a published file."""

    name: str
    """The keys that lead to it, joined by dots; empty where it is the file's outermost one."""
    tensors: dict[str, Tensor]


def tensor_groups(file: Path) -> list[TensorGroup]:
    """Every dictionary of tensors in a published file, however deep.

    Args:
        file: a file of ``torch.save`` or safetensors, whatever its name.

    Raises:
        DataError: the file is missing, truncated, of another kind, or holds no tensors.
    """
    if not file.is_file():
        raise DataError(f"{file}: {'is a folder; name a file' if file.is_dir() else 'no such file'}")
    note_weights(file)
    try:
        safetensors = kind_of(file) is SAFETENSORS
        content = dict(load_file(file)) if safetensors else unpickling.load(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable checkpoint; it may be truncated or damaged") from error
    groups = list(_groups(content, (), set()))
    if not groups:
        raise DataError(f"{file}: holds no dictionary of tensors")
    return groups


def read_published(file: Path, part: str | None = None) -> dict[str, Tensor]:
    """The tensors of the largest dictionary of a published file, by key.

    Args:
        file: as for :func:`tensor_groups`.
        part: one of several networks side by side in the file, by the keys above its tensors; None takes the largest.

    Raises:
        DataError: as for :func:`tensor_groups`; there is no such part, or two networks of one form to choose from.
    """
    groups = tensor_groups(file)
    if part is not None:
        groups = [group for group in groups if f".{part}." in f".{group.name}."]
        if not groups:
            raise no_part(file, part, tensor_groups(file))
    largest = max(groups, key=lambda group: len(group.tensors))
    keys = {_bare(key) for key in largest.tensors}
    twins = [
        group.name
        for group in groups
        if 2 * len(keys & {_bare(key) for key in group.tensors}) > len(keys)
        and not same(group.tensors, largest.tensors)
    ]
    if twins:
        names = " and ".join(sorted(repr(name) for name in (largest.name, *twins)))
        raise DataError(f"{file}: holds networks of one form side by side, {names}; save the one you mean alone")
    return largest.tensors


def no_part(file: Path, part: str, groups: Sequence[TensorGroup]) -> DataError:
    """The error for a part that a file does not have."""
    names = ", ".join(dict.fromkeys(group.name.partition(".")[0] for group in groups if group.name))
    return DataError(f"{file}: has no part {part!r}; it has {names or 'none'}")


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two networks hold the same tensors, in the order of their keys."""
    return len(a) == len(b) and all(
        x is y or (x.shape == y.shape and torch.equal(x, y))
        for x, y in zip((a[key] for key in sorted(a)), (b[key] for key in sorted(b)), strict=True)
    )


def _groups(content: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[TensorGroup]:
    if isinstance(content, Tensor | str | bytes | int | float | None) or id(content) in seen:
        return
    seen.add(id(content))
    if module := _of_module(content):
        yield TensorGroup(".".join(path), module)
        return
    items: dict[str, Any] = {}
    if isinstance(content, Mapping):
        items = {str(key): value for key, value in content.items()}
    elif isinstance(content, list | tuple):
        items = {str(number): value for number, value in enumerate(content)}
    items |= getattr(content, "__dict__", {})
    tensors = {key: value for key, value in items.items() if isinstance(value, Tensor)}
    if tensors:
        yield TensorGroup(".".join(path), tensors)
    for key, value in items.items():
        yield from _groups(value, (*path, key), seen)


def _of_module(content: Any) -> dict[str, Tensor]:
    """The state of a module that was pickled as a whole; empty for everything else."""
    parts = getattr(content, "__dict__", {})
    if not {"_parameters", "_buffers", "_modules"} <= set(parts):
        return {}
    state = {
        str(key): value
        for name in ("_parameters", "_buffers")
        for key, value in parts[name].items()
        if isinstance(value, Tensor)
    }
    for name, module in parts["_modules"].items():
        state |= {f"{name}.{key}": value for key, value in _of_module(module).items()}
    return state


def _bare(key: str) -> str:
    return key.removeprefix("module.")
