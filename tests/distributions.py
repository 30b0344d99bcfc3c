"""Installs distributions into a folder, without pip or a network: copies packages, writes what an installer would."""

import shutil
import tomllib
from pathlib import Path


def install(project: Path, folder: Path, *, editable: bool = False) -> Path:
    """Install a pure Python project into ``folder``, as its pyproject.toml says; ``folder`` then goes on the path."""
    described = tomllib.loads((project / "pyproject.toml").read_text())
    for package in described["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        if editable:
            (folder / Path(package).name).symlink_to(project / package)
        else:
            shutil.copytree(project / package, folder / Path(package).name)
    facts = described["project"]
    return write_metadata(folder, facts["name"], facts["version"], facts["entry-points"]["regbench"])


def write_plugin(folder: Path, name: str, code: str) -> Path:
    """Install a distribution ``name`` whose one module is ``code``, its plugin as well."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    return write_metadata(folder, name, "1.0", {module: module})


def write_metadata(folder: Path, name: str, version: str, entries: dict[str, str]) -> Path:
    """The two files by which Python finds a distribution and its entry points."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{key} = {value}" for key, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[regbench]", *lines, ""]))
    return folder
