"""Recipes of ablations as TOML files.

```toml
title = "CoLReg, Table 5: translators"
registrator = "mcnet4"
strategy = "colreg"
datasets = ["vedai"]
seeds = [0, 1, 2]
controls = true

[set]
strategy.rounds = 1

[protocol.vedai]
oversample = 9

[[row]]
name = "CUT"
translator = "cut"

[[row]]
name = "DHN"
registrator = "dhn"
strategy = "supervised"
published.strategy = { optimiser = "sgd", lr = 0.005, steps = 90000 }
```

Keys at the top hold for every row; a row overrides them. ``[grid]`` lists component names by role, and every
combination of them that the plugins allow becomes a row.

``[protocol.NAME]`` holds settings of the protocol on one data set, also of a single row (``protocol.vedai.oversample =
1``): ``oversample``, ``source``, ``patch``, ``pairing`` and whatever else ``--set protocol.…`` takes. They override
``set.protocol``, which holds on every data set, and the key ``pairing``. A finished run that is judged on another data
set keeps its protocol, but for the ``source`` of that set.

``published`` holds settings of a component as a paper trained it, by role. They replace the component's defaults, so
that budgets act on them: step counts are multiplied by the budget's factor, and what the budget's preset sets is the
preset's. ``set`` overrides both and is taken as it is. A text is read as on the command line: ``"null"`` is no value.

``base`` names another recipe, beside this one or of regbench: its keys hold where this one has none of that name. Rows
are one key: a recipe takes all of its base's or writes its own.

A recipe may be a stranger's. It names nothing beyond its folder and the one it is used in: no ``..``, no ``~``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regbench.ablation.recipe import Recipe, RecipeRow, Sets, incompatibility, merge_sets
from regbench.ablation.shipped import shipped_recipe
from regbench.contained import safe_name, stays_inside
from regbench.data.protocol import Pairing
from regbench.errors import DataError, UsageError, unknown_name
from regbench.plugins.register import Control
from regbench.plugins.registry import registry
from regbench.results.schema import ROLES
from regbench.settings import first_line

_WORDS = ("title", "description", "notes", "papers")  # the last are checked to be plain names


class Grid(BaseModel):
    """``[grid]``: every combination of these names that the plugins allow. ``["*"]`` stands for all installed ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    strategies: tuple[str, ...]
    """Names of strategies."""
    registrators: tuple[str, ...]
    """Names of registrators."""
    translators: tuple[str, ...] = ("*",)
    """Names of translators, for the strategies that use one."""
    settings: Sets = {}
    """Settings by the name of a component, for every combination that contains it."""

    def combinations(self) -> Iterator[dict[str, str | None]]:
        """Each combination as component names by role, in the order of the lists."""
        installed = registry()

        def expanded(role: str, names: tuple[str, ...]) -> list[str]:
            return [component.name for component in installed.all(role)] if "*" in names else list(names)

        translators = expanded("translator", self.translators)
        for strategy, registrator in product(
            expanded("strategy", self.strategies), expanded("registrator", self.registrators)
        ):
            uses_translator = "translator" in installed.get("strategy", strategy).requires
            for translator in translators if uses_translator else [None]:
                if incompatibility(strategy, translator, registrator) is None:
                    yield {"strategy": strategy, "translator": translator, "registrator": registrator}

    def settings_of(self, names: Mapping[str, str | None]) -> Sets:
        """The entries of ``settings`` for the components of one combination, by role."""
        return {role: self.settings[name] for role, name in names.items() if name in self.settings}


class RecipeFile(BaseModel):
    """The keys of the TOML file; ``docs/reference/recipes.md`` is written from them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    base: str | None = None
    """Name of another recipe, beside this one or of regbench, whose keys hold where this one has none of that name."""
    title: str
    """Of the board."""
    description: str = ""
    """What is compared, and why; printed on the board."""
    notes: tuple[str, ...] = ()
    """Sentences that the board prints below its tables."""
    papers: tuple[str, ...] = ()
    """Folders beside the recipe whose ``paper.csv`` holds the numbers that a paper prints, for the board to show."""
    datasets: tuple[str, ...] = Field(("synthetic",), min_length=1)
    """Every row is trained and judged on each."""
    transfer: tuple[str, ...] = ()
    """Data sets on whose test pairs every trained run is judged, too."""
    data: Sets = {}
    """``[data.NAME]``: settings of a data set, as in ``--set dataset.…``."""
    budget: str = "quick"
    """How much of the published schedule is run: ``smoke``, ``quick``, ``hour``, ``short``, ``full`` or a factor."""
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    """Every trained row is run once with each."""
    controls: bool = True
    """Add the rows of every registered control but translators: identity, matchers, no translator, supervised."""
    registrator: str | None = None
    """Of every row that names none, and of the controls."""
    strategy: str | None = None
    """Of every row that names none."""
    translator: str | None = None
    """Of every row that names none."""
    pairing: Pairing | None = None
    """Training pairs: ``frozen``, ``online`` or ``given``."""
    precision: str = "fp32"
    """``fp32`` or ``bf16``."""
    set: Sets = {}
    """``[set]``: settings of every row that has the component, such as ``strategy.rounds = 1``."""
    protocol: Sets = {}
    """``[protocol.NAME]``: settings of the protocol on one data set."""
    row: tuple[dict[str, Any], ...] = ()
    """``[[row]]``, once for each combination; its keys are below."""
    grid: Grid | None = None
    """``[grid]``: rows for every combination of the names it lists."""


def read_recipe(path: Path, **overrides: Any) -> Recipe:
    """Read a recipe.

    Args:
        path: the TOML file.
        overrides: ``budget``, ``seeds`` and ``datasets`` that replace those of the file; None keeps the file's.

    Raises:
        DataError: the file is missing or not TOML.
        UsageError: the file has an unknown key, a wrong value or an unknown name.
    """
    raw = _keys(path)
    try:
        if isinstance(raw.get("base"), str):
            raw = _keys_of_base(raw["base"], path.parent) | raw
        _check_contained(raw, path.parent)
        file = RecipeFile.model_validate(raw | {key: value for key, value in overrides.items() if value is not None})
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


def _keys(path: Path) -> dict[str, Any]:
    """The keys of a TOML file; raises DataError where it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, no TOML, numbers of too many digits, nested too deeply
        raise DataError(f"{path} is not TOML: {error}") from error


def _keys_of_base(name: str, folder: Path) -> dict[str, Any]:
    """The keys of the recipe ``name``, in a folder or of regbench; raises UsageError where it has a base itself."""
    beside = folder / f"{safe_name(name, 'recipe')}.toml"
    keys = _keys(beside if beside.is_file() else shipped_recipe(name))
    if "base" in keys:
        raise UsageError(f"its base {name!r} has a base of its own; name that one")
    return keys


def _check_contained(raw: Mapping[str, Any], folder: Path) -> None:
    """Raise UsageError where a recipe, which may be a stranger's, names something beyond its folder."""
    for where, value in raw.items():
        for text in _texts(value) if where not in _WORDS else ():
            if not stays_inside(text) and not Path(text).resolve().is_relative_to(folder.resolve()):
                raise UsageError(
                    f"{where}: {text!r} lies beyond the recipe's folder, where it names nothing; give data on the "
                    "command line (--root NAME=DIR, --dataset), or put the file below that folder"
                )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value of TOML that can mean a path: all but names of rows."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from (name, *_texts(inner)) if name != "name" else ()
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _rows(file: RecipeFile) -> tuple[RecipeRow, ...]:
    shared = file.model_dump(include={"pairing", "budget", "precision", "seeds", "protocol"})
    roles = {role: getattr(file, role) for role in ROLES}
    own = [_row(number, shared | roles | {"protocol": {}} | row) for number, row in enumerate(file.row, 1)]
    rows = [
        RecipeRow.model_validate(
            row.model_dump()
            | {"set": merge_sets(file.set, row.set), "protocol": merge_sets(file.protocol, row.protocol)}
        )
        for row in own
    ]
    if file.grid is not None:
        for names in file.grid.combinations():
            name = " × ".join(n for n in (names["strategy"], names["translator"], names["registrator"]) if n)
            sets = merge_sets(_sets_for(names, file.set), file.grid.settings_of(names))
            rows.append(RecipeRow.model_validate(shared | names | {"name": name, "set": sets}))
    if file.controls:
        reference = file.registrator or next((row.registrator for row in rows if row.strategy), None)
        rows += _controls(shared, reference, file.set, {row.registrator for row in rows if row.strategy is None})
    return tuple(rows)


def _row(number: int, keys: dict[str, Any]) -> RecipeRow:
    """A ``[[row]]``; raises UsageError that names it where a key is missing or unknown."""
    try:
        return RecipeRow.model_validate(keys)
    except ValidationError as error:
        name = keys.get("name")
        who = f"row {number}" + (f", {name!r}" if name else " ([[row]])")
        first = error.errors()[0]
        if first["type"] == "missing":
            raise UsageError(f'{who} needs {first["loc"][0]} = "…"') from None
        if first["type"] == "extra_forbidden":
            raise unknown_name(f"key of {who}", str(first["loc"][0]), RecipeRow.model_fields) from None
        raise


def _controls(shared: dict[str, Any], reference: str | None, sets: Sets, untrained: Collection[str]) -> list[RecipeRow]:
    """A row for every registered control: without them no board can be read.

    Args:
        shared: keys that all rows have.
        reference: registrator of the strategies; None where the recipe trains nothing, and needs none of them.
        sets: settings of all rows.
        untrained: registrators that have a row without training already.
    """
    rows = []
    matchers = [c.name for c in registry().controls("no-training") if c.name not in untrained] if reference else []
    for name in [*_registered("identity"), *matchers]:
        nothing = {"name": name, "registrator": name, "set": _sets_for({}, sets)}
        rows.append(RecipeRow.model_validate(shared | nothing | {"seeds": (0,), "pairing": None}))
    for strategy in [*_registered("no-translator"), *_registered("supervised")] if reference else ():
        names = {"strategy": strategy, "registrator": reference}
        common = _sets_for(names, {k: v for k, v in sets.items() if k != "strategy"})  # settings meant for another one
        rows.append(RecipeRow.model_validate(shared | names | {"name": strategy, "set": common}))
    return rows


def _registered(control: Control) -> list[str]:
    """Names of the components that are registered as a control; raises UsageError where there is none."""
    if components := registry().controls(control):
        return [component.name for component in components]
    raise UsageError(f"no installed plugin registers the control {control!r}: install one, or write controls = false")


def _sets_for(names: Mapping[str, str | None], sets: Sets) -> Sets:
    """The sections of the roles that a row fills, and of everything that is no role."""
    unused = {role for role in ROLES if not names.get(role)}
    return {section: values for section, values in sets.items() if section not in unused}
