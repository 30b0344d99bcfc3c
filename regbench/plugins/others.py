"""Code that is not this project's: which of it took part in a run, and what its files were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from regbench.installed import is_official
from regbench.plugins.registry import Component


def third_party(components: Iterable[Component]) -> dict[str, str | None]:
    """The distributions of others among components, each with a hash of the files of the packages it names.

    The hash tells one state of the code from another. It does not say what the code does, and covers no library that
    the code imports. It is None where a package has no files.
    """
    packages: dict[str, set[str]] = {}
    for component in components:
        if not is_official(component.distribution):
            package = component.target.partition(":")[0].partition(".")[0]
            packages.setdefault(component.distribution, set()).add(package)
    return {name: _sha256_of(sorted(named)) for name, named in sorted(packages.items())}


def _sha256_of(packages: Iterable[str]) -> str | None:
    digest, found = hashlib.sha256(), False
    for package in packages:
        for root, file in _files_of(package):
            digest.update(f"{package}/{file.relative_to(root).as_posix()}\0".encode(errors="replace"))
            digest.update(hashlib.sha256(file.read_bytes()).digest())
            found = True
    return digest.hexdigest() if found else None


def _files_of(package: str) -> list[tuple[Path, Path]]:
    """The files of a package, each with the folder it lies in; those that Python writes itself are left out."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if not spec.submodule_search_locations:
        file = Path(spec.origin or "")
        return [(file.parent, file)] if file.is_file() else []
    return [
        (Path(root), file)
        for root in sorted(spec.submodule_search_locations)
        for file in sorted(Path(root).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    ]
