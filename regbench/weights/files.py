"""Safetensors files: tensors of named modules, and facts as text in the file's metadata. No pickle is written or read.

Parameters and buffers are keyed ``module/<name>/<key>``. A weights file holds nothing else; its metadata says which
component it belongs to and what supervised its training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from regbench.disk import replaced, why
from regbench.errors import DataError, RegbenchError
from regbench.weights.kinds import SAFETENSORS, TORCH, kind_of

_DIGEST = "regbench_sha256"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically: ``path`` is always the old file or the new one, whole.

    The file holds the SHA-256 of its tensors and metadata, which :func:`read_tensors` checks.

    Raises:
        RegbenchError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    facts = {**metadata, _DIGEST: tensors_sha256(plain, metadata)}
    try:
        with replaced(path) as partial:
            save_file({key: value.clone() for key, value in plain.items()}, partial, facts)
    except (OSError, SafetensorError) as error:
        raise RegbenchError(f"cannot write {path}: {why(error)}, then run the same command again to resume") from error


def read_tensors(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        DataError: it is missing or broken, or its content is not what :func:`write_tensors` wrote.
    """
    _check_kind(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    digest = metadata.pop(_DIGEST, None)
    if digest is not None and digest != tensors_sha256(tensors, metadata):
        raise DataError(f"{path}: is damaged or was edited: its content does not have the SHA-256 written in it")
    return {key: value.to(device) for key, value in tensors.items()}, metadata


def tensors_sha256(tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> str:
    """SHA-256 of tensors by their names, and of facts; the same for equal content on any device."""
    digest = hashlib.sha256(json.dumps(dict(facts or {}), sort_keys=True).encode())
    for key in sorted(tensors):
        value = tensors[key].detach().cpu().contiguous()
        digest.update(f"\n{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, without its tensors; raises DataError as :func:`read_tensors` does."""
    _check_kind(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: value for key, value in (file.metadata() or {}).items() if key != _DIGEST}
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def module_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of named modules, keyed ``module/<name>/<key>``."""
    return {f"module/{name}/{k}": v for name, m in modules.items() for k, v in m.state_dict().items()}


def load_modules(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load named modules strictly from the tensors of a file; raises DataError that names what does not fit."""
    for name, module in modules.items():
        prefix = f"module/{name}/"
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            first = " ".join(str(error).split())[:300]
            raise DataError(f"{path}: weights of {name!r} do not fit its configuration: {first}") from error


def write_weights(path: Path, modules: Mapping[str, nn.Module], *, component: str, **facts: str) -> None:
    """Write a weights file.

    Args:
        path: the file.
        modules: by their names in a run; a lone network is called ``registrator``.
        component: registered name of the registrator.
        facts: more metadata, such as ``supervision``.

    Raises:
        RegbenchError: the file cannot be written.
    """
    write_tensors(path, module_tensors(modules), {"format": "regbench-weights", "component": component, **facts})


def load_weights(network: nn.Module, path: Path) -> dict[str, str]:
    """Load a registrator from a weights file of a run or of ``regbench weights import``; returns its metadata.

    Raises:
        DataError: the file is missing, not safetensors, not of this network at these settings, or holds NaN.
    """
    tensors, metadata = read_tensors(path)
    if not any(key.startswith("module/") for key in tensors):
        raise DataError(f"{path}: is no weights file of regbench; {_IMPORT.format(path)}")
    load_modules({"registrator": network}, tensors, path)
    check_finite(network, path)
    return metadata


def check_finite(network: nn.Module, path: Path) -> None:
    """Raise DataError where weights read from a file hold NaN, or parameters infinity."""
    wrong = [name for name, value in network.state_dict().items() if torch.isnan(value).any()]
    wrong += [name for name, value in network.named_parameters() if torch.isinf(value).any() and name not in wrong]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} tensors hold NaN or infinity, such as {wrong[0]}: such a network answers nothing"
        )


_IMPORT = "convert it with `regbench weights import NAME {} --out NAME.safetensors`"


def _check_kind(path: Path) -> None:
    """Raise DataError where a path is no safetensors file, saying what it is and what to do."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a weights file")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        kind = kind_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if kind is TORCH:
        raise DataError(f"{path}: {kind.words}, no weights file of regbench; {_IMPORT.format(path)}")
    if kind is not SAFETENSORS:
        raise DataError(f"{path}: not a readable safetensors file; it {kind.words}")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a readable safetensors file ({error}); it may be truncated")
