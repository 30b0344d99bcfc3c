"""Checkpoints of other projects, read without running or importing anything that they name.

``torch.load(weights_only=True)`` makes tensors and plain containers alone. Beside the tensors, training scripts save
settings, scores and schedules, which are objects of any class. Nothing here needs those, so they are read as empty
stand-ins: a dictionary that keeps what it is told and does nothing. Functions of Python's own library, which a pickle
could use to run code, are refused.
"""

from __future__ import annotations

import pickle
import pickletools
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import torch
from packaging.version import Version

from regbench.errors import DataError
from regbench.weights.kinds import TORCH, kind_of

LEAST_TORCH = (2, 11)
"""``weights_only`` of older ones can be got round (CVE-2025-32434, CVE-2026-24747)."""
_UNFOLDS, _LARGEST_PICKLE, _MOST_ENTRIES = 20, 2**28, 10**6
_PLAIN_MODULES = ("datetime", "pathlib", "decimal", "fractions", "uuid", "ipaddress")
_PLAIN = {
    "collections": {"OrderedDict", "Counter", "defaultdict", "deque", "UserDict", "ChainMap"},
    "argparse": {"Namespace"},
    "types": {"SimpleNamespace", "MappingProxyType"},
    "functools": {"partial"},
    "copyreg": {"_reconstructor"},
    "_codecs": {"encode"},
    "builtins": {
        *("set", "frozenset", "list", "dict", "tuple", "bytearray", "bytes", "str", "int", "float", "bool", "complex"),
        *("object", "range", "slice"),
    },
}
"""Classes of Python's own library that hold values and nothing else."""


class _Values:
    """Stands in for a class: its objects are dictionaries of the values they were given."""

    def __new__(cls, *args: Any) -> Any:
        return OrderedDict()


class _List:
    """Stands in for a class whose objects are filled like lists."""

    def __new__(cls, *args: Any) -> Any:
        return []


class _Nothing:
    """Stands in for a class whose objects are described by tuples, as those of NumPy are."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def torch_is_safe(version: str = torch.__version__) -> bool:
    """Whether this torch, or one of another version, reads checkpoints without running what is in them."""
    return Version(version).release[:2] >= LEAST_TORCH


def load(file: Path) -> Any:
    """The content of a file that torch.save wrote; objects that are no tensors or containers are stand-ins.

    Raises:
        DataError: it is no such file, it is damaged, or it would run code.
    """
    kind = kind_of(file)
    if kind is not TORCH:
        raise DataError(f"{file}: {kind.words}")
    if not torch_is_safe():
        least = ".".join(map(str, LEAST_TORCH))
        raise DataError(f"{file}: torch {torch.__version__} does not read it safely; install torch {least} or newer")
    named: set[tuple[str, str]] = set()
    try:
        named = _named_by(file)
        if refused := sorted(f"{module}.{name}" for module, name in named if _may_run_code(module, name)):
            raise DataError(f"{file}: holds {refused[0]}, which can run code when it is loaded; it is not read")
        stand_ins = [_stand_in(module, name) for module, name in sorted(named)]
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # of many kinds; torch's words are not passed on: they advise to switch safety off
        others = sorted(f"{module}.{name}" for module, name in named if not module.startswith(("torch", "collections")))
        if others and isinstance(error, pickle.UnpicklingError):
            raise DataError(
                f"{file}: cannot be read without the code of {', '.join(others[:3])}; save its state_dict alone"
            ) from error
        raise DataError(f"{file}: not a readable checkpoint; it may be truncated or damaged") from error


def _named_by(file: Path) -> set[tuple[str, str]]:
    """Module and name of every class and function that the pickles of a file name."""
    if not zipfile.is_zipfile(file):
        with file.open("rb") as content:  # magic number, protocol, system, the object, keys of its storages
            return {found for _ in range(5) for found in _globals(content, file)}
    with zipfile.ZipFile(file) as archive:
        _check_archive(archive, file)
        (name, *_) = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
        with archive.open(name) as content:
            return _globals(content, file)


def _check_archive(archive: zipfile.ZipFile, file: Path) -> None:
    """Raise DataError for an archive that unfolds to far more than it is; torch.save compresses nothing."""
    entries = archive.infolist()
    unfolded, size = sum(entry.file_size for entry in entries), file.stat().st_size
    pickles = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if unfolded > _UNFOLDS * size or pickles > _LARGEST_PICKLE or len(entries) > _MOST_ENTRIES:
        raise DataError(
            f"{file}: an archive of {size} bytes that unfolds to {unfolded} in {len(entries)} files is not read"
        )


def _globals(pickled: IO[bytes], file: Path) -> set[tuple[str, str]]:
    found = set()
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "PROTO" and int(argument or 0) > 3:
            raise DataError(f"{file}: was saved with pickle protocol {argument}; save it with torch's own, protocol 2")
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            if (module, name) in NAME_MAPPING:
                module, name = NAME_MAPPING[module, name]
            found.add((IMPORT_MAPPING.get(module, module), name))
    return found


def _may_run_code(module: str, name: str) -> bool:
    top = module.partition(".")[0]
    if top in _PLAIN_MODULES or name in _PLAIN.get(module, ()):
        return False
    return top in sys.stdlib_module_names


def _stand_in(module: str, name: str) -> Any:
    """A class of that name; torch takes its own classes and functions before it."""
    if module.partition(".")[0] in ("numpy", "pandas"):
        base: type = _Nothing
    else:
        base = _List if (module, name) == ("collections", "deque") else _Values
    return type(name, (base,), {"__module__": module, "__qualname__": name})
