"""``regbench plugins new``: a package of one component that installs, passes the conformance suite and runs.

The files under ``templates/`` are rendered as they are to be read: the method file of a kind is the smallest that does
what its role promises, with settings and presets, and the guide of that kind (``docs/guides/``) grows it.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from regbench import API_VERSION, __version__
from regbench.errors import UsageError
from regbench.plugins.registry import registry

Kind = Literal["registrator", "translator", "strategy", "dataset", "metric"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_HOOKS = {"strategy": "register_strategies"}
_KEYWORDS = {
    "registrator": 'provides=("train",)',
    "translator": 'provides=("unpaired_training", "differentiable")',
    "strategy": 'requires={"registrator": ("train",)}',
}
_SUMMARIES = {
    "registrator": "a small network that estimates four corners",
    "translator": "a small network that gives the source the colours of the target",
    "strategy": "self-supervised: learns from homographies that it applies to single images",
    "dataset": "pairs of two folders that share file names",
    "metric": "the error that nine pairs of ten stay below, px",
}
_PARTNERS = {
    "registrator": "regbench-strategies",
    "translator": "regbench-matchers regbench-strategies",
    "strategy": "regbench-registrators",
}
"""Distributions that the conformance suite and the first command need beside the new one."""


@dataclass(frozen=True)
class Names:
    """What a new package and its parts are called; all of it follows from the name of the component."""

    component: str

    @property
    def distribution(self) -> str:
        """What is installed, and the name of its folder."""
        return f"regbench-{self.component}"

    @property
    def package(self) -> str:
        """What is imported."""
        return self.distribution.replace("-", "_")

    @property
    def module(self) -> str:
        """The file of the method."""
        return self.component.replace("-", "_")

    @property
    def cls(self) -> str:
        """The class of the method."""
        return "".join(part.capitalize() for part in self.component.split("-"))


def new_plugin(name: str, kind: Kind, parent: Path) -> Path:
    """Write a package of one component.

    Args:
        name: of the component, such as ``my-method``; the distribution becomes ``regbench-my-method``.
        kind: the role of the component.
        parent: the folder that the package's own folder is made in.

    Returns:
        The package's folder, ``parent/regbench-NAME``.

    Raises:
        UsageError: the name cannot be one, is taken by an installed component, or the folder is there.
    """
    names = Names(_checked(name, kind))
    folder = parent / names.distribution
    if folder.exists():
        raise UsageError(f"{folder} is there already; nothing is written over: take another name or --out")
    source = folder / "src" / names.package
    files = {
        folder / "pyproject.toml": "pyproject.toml",
        folder / "README.md": "README.md",
        folder / "tests" / "test_conformance.py": "test_conformance.py",
        source / "__init__.py": "__init__.py",
        source / "plugin.py": "plugin.py",
        source / f"{names.module}.py": f"{kind}.py",
    }
    texts = {path: _rendered(template, names, kind) for path, template in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def first_commands(name: str, kind: Kind) -> list[str]:
    """What to type next, in the folder of the package; the same lines as in its README."""
    names = Names(name)
    tried = {
        "registrator": f"regbench run --registrator {name} --strategy supervised --budget smoke",
        "translator": f"regbench run --translator {name} --registrator sift --strategy translate --budget smoke",
        "strategy": f"regbench run --registrator mcnet --strategy {name} --budget smoke",
        "dataset": f"regbench evaluate --registrator identity --dataset {name} --root FOLDER --budget smoke",
        "metric": "regbench evaluate --registrator identity --budget smoke",
    }
    return ["pip install -e .", f"regbench plugins check {names.distribution}", tried[kind]]


def _checked(name: str, kind: Kind) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"{name!r}: a name is of small letters, digits and single hyphens, such as my-method")
    if name.startswith("regbench-"):
        raise UsageError(f"{name!r}: name the method alone; its distribution becomes regbench-NAME")
    if {Names(name).module, Names(name).cls} & set(keyword.kwlist):
        raise UsageError(f"{name!r}: the name is a word of Python; take another")
    if name == "plugin":
        raise UsageError("'plugin' is the name of the module that registers; name the method")
    if taken := registry().find(kind, name):
        raise UsageError(f"{kind} {name!r} is already registered by {taken.distribution}; take another name")
    return name


def _rendered(template: str, names: Names, kind: Kind) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regbench.tools.new_plugin"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(f"{template}.jinja").render(
        name=names.component,
        distribution=names.distribution,
        package=names.package,
        module=names.module,
        cls=names.cls,
        kind=kind,
        hook=_HOOKS.get(kind, f"register_{kind}s"),
        target=names.module if kind == "metric" else names.cls,
        summary=_SUMMARIES[kind],
        keywords=_KEYWORDS.get(kind, ""),
        commands=first_commands(names.component, kind),
        partners=_PARTNERS.get(kind, ""),
        api_version=API_VERSION,
        version=__version__,
    )
