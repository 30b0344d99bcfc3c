"""Recipes: which combinations to run on which data sets, as TOML a person can read.

```toml
title = "CoLReg, Table 5: translators"
registrator = "mcnet4"
strategy = "colreg"
datasets = ["vedai"]
seeds = [0, 1, 2]
controls = true

[set]
strategy.rounds = 1

[[row]]
name = "CUT"
translator = "cut"
```

What is written at the top holds for every row; a row overrides it. ``[grid]`` lists names for roles instead, and every
combination the plugins allow is a row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from regbench.data.protocol import Pairing
from regbench.errors import DataError, UsageError, unknown_name
from regbench.plugins.compatibility import incompatible
from regbench.plugins.register import Control
from regbench.plugins.registry import registry
from regbench.settings import first_line

Sets = dict[str, dict[str, Any]]
"""``--set`` values by section."""


class Row(BaseModel):
    """One combination, run on every data set with every seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    registrator: str
    strategy: str | None = None
    translator: str | None = None
    teacher: str | None = None
    """Name of the row whose finished run, of the same data set and seed, teaches this one."""
    pairing: Pairing | None = None
    budget: str = "quick"
    precision: str = "fp32"
    set: Sets = {}
    seeds: tuple[int, ...] = (0,)

    def why_not(self) -> str | None:
        """Why the plugins do not allow it, or None. Raises UsageError for unknown names."""
        return _why_not(self.strategy, self.translator, self.registrator)


def _why_not(strategy: str | None, translator: str | None, registrator: str) -> str | None:
    known = registry()
    return incompatible(
        known.get("strategy", strategy) if strategy else None,
        known.get("translator", translator) if translator else None,
        known.get("registrator", registrator),
    )


class Grid(BaseModel):
    """Every combination of these names that the plugins allow; ``["*"]`` stands for all that are installed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategies: tuple[str, ...]
    registrators: tuple[str, ...]
    translators: tuple[str, ...] = ("*",)
    settings: Sets = {}
    """Settings by the name of a component, wherever it takes part."""

    def combinations(self) -> Iterator[dict[str, str | None]]:
        """Roles to names, in order."""
        known = registry()
        chosen = {
            role: [component.name for component in known.all(role)] if "*" in names else list(names)
            for role, names in (
                ("strategy", self.strategies), ("translator", self.translators), ("registrator", self.registrators),
            )
        }  # fmt: skip
        for strategy, registrator in product(chosen["strategy"], chosen["registrator"]):
            uses = "translator" in known.get("strategy", strategy).requires
            for translator in chosen["translator"] if uses else [None]:
                if _why_not(strategy, translator, registrator) is None:
                    yield {"strategy": strategy, "translator": translator, "registrator": registrator}

    def settings_of(self, names: Mapping[str, str | None]) -> Sets:
        """What ``settings`` says of the components of one combination, by role."""
        return {role: self.settings[name] for role, name in names.items() if name in self.settings}


class Recipe(BaseModel):
    """A table or figure to redo."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Of the file, without its ending."""
    title: str
    description: str = ""
    notes: tuple[str, ...] = ()
    papers: tuple[str, ...] = ()
    """Folders beside the recipe with the numbers papers print (``paper.csv``, ``paper.toml``)."""
    datasets: tuple[str, ...] = ("synthetic",)
    transfer: tuple[str, ...] = ()
    """Data sets on whose test pairs every trained run is also judged (zero-shot)."""
    data: Sets = {}
    """Settings of data sets by their name, as ``--set dataset.…``."""
    budget: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rows are called {name!r}; give each its own name")
        for row in self.rows:
            if "dataset" in row.set:
                raise ValueError(f"row {row.name!r}: settings of a data set belong under [data.NAME]")
            if row.teacher is not None and row.teacher not in names:
                raise unknown_name(f"teacher of row {row.name!r}", row.teacher, names)
            if row.teacher is not None and self.row(row.teacher).teacher is not None:
                raise ValueError(f"row {row.name!r}: its teacher {row.teacher!r} has a teacher of its own")
        return self

    @property
    def grid_name(self) -> str:
        """What the folder of its cells and its board are called: one recipe at another budget is another grid."""
        return f"{self.name}-{self.budget}"

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)


class _File(BaseModel):
    """What the TOML may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    description: str = ""
    notes: tuple[str, ...] = ()
    papers: tuple[str, ...] = ()
    datasets: tuple[str, ...] = Field(("synthetic",), min_length=1)
    transfer: tuple[str, ...] = ()
    data: Sets = {}
    budget: str = "quick"
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    controls: bool = True
    """Add doing nothing, the no-translator control and the supervised reference."""
    registrator: str | None = None
    strategy: str | None = None
    translator: str | None = None
    pairing: Pairing | None = None
    precision: str = "fp32"
    set: Sets = {}
    row: tuple[dict[str, Any], ...] = ()
    grid: Grid | None = None


def read_recipe(path: Path, **overrides: Any) -> Recipe:
    """Read a recipe.

    Args:
        path: the TOML file.
        overrides: ``budget``, ``seeds`` and ``datasets`` to use instead of the file's; None keeps the file's.

    Raises:
        DataError: the file is missing or not TOML.
        UsageError: an unknown key, a wrong value, an unknown name.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}") from error
    try:
        file = _File.model_validate(raw | {key: value for key, value in overrides.items() if value is not None})
        return Recipe(
            name=path.stem,
            rows=_rows(file),
            **file.model_dump(
                include={"title", "description", "notes", "papers", "datasets", "transfer", "data", "budget", "seeds"}
            ),
        )
    except ValidationError as error:
        raise UsageError(f"{path}: {first_line(error)}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _rows(file: _File) -> tuple[Row, ...]:
    shared = file.model_dump(include={"pairing", "budget", "precision", "seeds"})
    roles = {role: getattr(file, role) for role in ("registrator", "strategy", "translator")}
    rows = [
        Row.model_validate(shared | roles | row | {"set": merged(file.set, row.get("set", {}))}) for row in file.row
    ]
    if file.grid is not None:
        for names in file.grid.combinations():
            name = " × ".join(n for n in (names["strategy"], names["translator"], names["registrator"]) if n)
            sets = merged(_for(names, file.set), file.grid.settings_of(names))
            rows.append(Row.model_validate(shared | names | {"name": name, "set": sets}))
    if file.controls:
        reference = file.registrator or next((row.registrator for row in rows if row.strategy), None)
        rows += _controls(shared, reference, file.set)
    return tuple(rows)


def _controls(shared: dict[str, Any], reference: str | None, sets: Sets) -> list[Row]:
    """A row for every registered control: without them no board can be read."""
    rows = []
    for identity in _registered("identity"):
        nothing = {"name": identity, "registrator": identity, "set": _for({}, sets)}
        rows.append(Row.model_validate(shared | nothing | {"seeds": (0,), "pairing": None}))
    for strategy in [*_registered("no-translator"), *_registered("supervised")] if reference else ():
        names = {"strategy": strategy, "registrator": reference}
        common = _for(names, {k: v for k, v in sets.items() if k != "strategy"})  # settings meant for another one
        rows.append(Row.model_validate(shared | names | {"name": strategy, "set": common}))
    return rows


def _registered(control: Control) -> list[str]:
    """Names of the components that are registered as a control; raises UsageError where there is none."""
    if components := registry().controls(control):
        return [component.name for component in components]
    raise UsageError(f"no installed plugin registers the control {control!r}: install one, or write controls = false")


def _for(names: Mapping[str, str | None], sets: Sets) -> Sets:
    """The sections that mean something for a row with these roles."""
    unused = {role for role in ("registrator", "strategy", "translator") if not names.get(role)}
    return {section: values for section, values in sets.items() if section not in unused}


def merged(first: Sets, second: Mapping[str, Mapping[str, Any]]) -> Sets:
    """``second`` over ``first``, setting by setting."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in [*first, *(set(second) - set(first))]}
