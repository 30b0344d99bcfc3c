"""Weights as their authors publish them: where to look for them, and reading them without running code from the file.

Nothing is ever downloaded.
"""

from __future__ import annotations

import pickle
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from regbench.errors import DataError
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


def read_published(file: Path, part: str | None = None) -> dict[str, Tensor]:
    """The tensors of a published file by key, unwrapped from the dictionaries its authors put around them.

    Only tensors and plain containers are read (``weights_only``): a pickle that would run code is refused.

    Args:
        file: a ``.pth`` file, or a ``.safetensors`` file, which is read as it is.
        part: one of several networks side by side in the file, by the outermost key above its tensors; None takes the
            largest dictionary.

    Raises:
        DataError: the file is missing, truncated, no checkpoint, or has no such part.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    note_weights(file)
    if file.suffix == ".safetensors" and part is None:
        try:
            return dict(load_file(file))
        except (SafetensorError, OSError, ValueError) as error:
            raise DataError(f"{file}: not a readable safetensors file ({error}); it may be truncated") from error
    try:
        # A training script often saves its settings along, in a Namespace, which is a plain container too.
        with torch.serialization.safe_globals([Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file}: not a readable checkpoint ({reason}); it may be truncated") from error
    if part is not None:
        items = content.items() if isinstance(content, dict) else ()
        parts = {key: value for key, value in items if isinstance(value, dict)}
        if part not in parts:
            raise DataError(f"{file}: has no part {part!r}; it has {', '.join(map(str, parts)) or 'none'}")
        content = parts[part]
    while isinstance(content, dict) and not any(isinstance(v, Tensor) for v in content.values()):
        inner = [v for v in content.values() if isinstance(v, dict) and v]
        if not inner:
            raise DataError(f"{file}: holds no tensors")
        content = max(inner, key=len)
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds a {type(content).__name__}, not a dictionary of tensors")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}
