"""A recipe: the combinations of an ablation and its data sets; :mod:`regbench.ablation.recipe_file` reads one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from regbench.contained import safe_name
from regbench.data.protocol import Pairing, Protocol
from regbench.errors import UsageError, unknown_name
from regbench.plugins.compatibility import incompatible
from regbench.plugins.registry import registry
from regbench.results.schema import ROLES
from regbench.settings import budget_of, published_settings

Sets = dict[str, dict[str, Any]]
"""``--set`` values by section."""


class RecipeRow(BaseModel):
    """One combination, run on every data set with every seed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """As the board prints it; unique."""
    registrator: str
    """Name of the registrator; the recipe's where the row names none."""
    strategy: str | None = None
    """Name of the strategy; none: the registrator is judged as it is."""
    translator: str | None = None
    """Name of the translator, for strategies that use one."""
    teacher: str | None = None
    """Name of the row whose finished run, on the same data set and with the same seed, is the teacher."""
    pairing: Pairing | None = None
    """Training pairs of this row."""
    budget: str = "quick"
    """Budget of this row."""
    precision: str = "fp32"
    """Precision of this row."""
    set: Sets = {}
    """Settings of this row by section, such as ``set.strategy = { rounds = 1 }``; they are taken as they are."""
    protocol: Sets = {}
    """Settings of the protocol by data set."""
    published: Sets = {}
    """Settings of the components as published, by role, on which the budget acts."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of this row."""

    @model_validator(mode="after")
    def _sections(self) -> RecipeRow:
        if "dataset" in self.set:
            raise ValueError(f"row {self.name!r}: settings of a data set belong under [data.NAME]")
        try:
            budget_of(self.budget)
        except UsageError as error:
            raise ValueError(f"row {self.name!r}: {error}") from None
        if "pairing" in self.set.get("protocol", {}):
            raise ValueError(f"row {self.name!r}: write pairing = … instead of set.protocol.pairing")
        for role in self.published:
            if role not in ROLES or getattr(self, role) is None:
                raise ValueError(f"row {self.name!r}: published.{role}: the row has no {role}")
        for dataset, settings in self.protocol.items():
            check_dataset(dataset)
            for name in settings:
                if name not in Protocol.model_fields:
                    raise unknown_name(f"setting of protocol.{dataset}", name, Protocol.model_fields)
        return self

    def settings_on(self, dataset: str) -> Sets:
        """The ``--set`` values of this row on a data set, by section; those of ``protocol`` include ``pairing``.

        Raises:
            UsageError: an unknown component or budget.
        """
        budget = budget_of(self.budget)
        published = {
            role: published_settings(registry().get(role, getattr(self, role)), settings, budget)
            for role, settings in self.published.items()
        }
        pairing = {"protocol": {"pairing": self.pairing}} if self.pairing else {}
        sets = merge_sets(merge_sets(published, self.set), pairing)
        return merge_sets(sets, {"protocol": self.protocol[dataset]}) if dataset in self.protocol else sets

    def source_on(self, dataset: str) -> str:
        """Which modality of a data set is the source."""
        return str(self.settings_on(dataset).get("protocol", {}).get("source", Protocol.model_fields["source"].default))

    def incompatibility(self) -> str | None:
        """Why the plugins do not allow this combination, or None. Raises UsageError for unknown names."""
        return incompatibility(self.strategy, self.translator, self.registrator)


class Recipe(BaseModel):
    """A table or figure to reproduce."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Name of the file, without its suffix."""
    title: str
    description: str = ""
    notes: tuple[str, ...] = ()
    papers: tuple[str, ...] = ()
    """Folders beside the recipe with the numbers printed in papers (``paper.csv``, ``paper.toml``)."""
    datasets: tuple[str, ...] = ("synthetic",)
    transfer: tuple[str, ...] = ()
    """Data sets on whose test pairs every trained run is judged, too (zero-shot)."""
    data: Sets = {}
    """Settings of data sets by name, as in ``--set dataset.…``."""
    budget: str
    seeds: tuple[int, ...]
    rows: tuple[RecipeRow, ...]

    @model_validator(mode="after")
    def _contained(self) -> Recipe:
        """Names that become those of files are no paths."""
        safe_name(self.board_name, "board")
        for paper in self.papers:
            safe_name(paper, "paper")
        for row in self.rows:
            if "run" in row.set and "share" in row.set["run"]:
                raise ValueError(f"row {row.name!r}: run.share is the grid's own folder and cannot be set")
        return self

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        names = [row.name for row in self.rows]
        for what, listed in (("row", names), ("data set", self.datasets), ("data set of transfer", self.transfer)):
            if twice := [name for name in listed if listed.count(name) > 1]:
                raise ValueError(f"the {what} {twice[0]!r} stands here twice; each needs a name of its own")
        for name in self.data:
            check_dataset(name)
        for row in self.rows:
            if len(set(row.seeds)) < len(row.seeds):
                raise ValueError(f"row {row.name!r}: a seed stands twice in {list(row.seeds)}")
            if row.teacher is None:
                continue
            if row.teacher not in names:
                raise unknown_name(f"teacher of row {row.name!r}", row.teacher, names)
            teacher = self.row(row.teacher)
            if teacher.teacher is not None:
                raise ValueError(f"row {row.name!r}: its teacher {row.teacher!r} has a teacher of its own")
            if missing := set(row.seeds) - set(teacher.seeds):
                raise ValueError(f"row {row.name!r}: its teacher {row.teacher!r} is not run with seed {min(missing)}")
        return self

    @property
    def board_name(self) -> str:
        """Name of the board and of the folder of the cells: each budget of a recipe has its own."""
        return f"{self.name}-{self.budget}"

    def row(self, name: str) -> RecipeRow:
        """The row called ``name``."""
        return next(row for row in self.rows if row.name == name)


def incompatibility(strategy: str | None, translator: str | None, registrator: str) -> str | None:
    """Why the plugins do not allow a combination, or None; raises UsageError for unknown names."""
    installed = registry()
    return incompatible(
        installed.get("strategy", strategy) if strategy else None,
        installed.get("translator", translator) if translator else None,
        installed.get("registrator", registrator),
    )


def merge_sets(first: Sets, second: Mapping[str, Mapping[str, Any]]) -> Sets:
    """``second`` over ``first``, setting by setting."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in dict.fromkeys([*first, *second])}


def check_dataset(name: str) -> None:
    """Raise UsageError for the name of no data set: settings of a misspelt one would change nothing, without a word."""
    if not name.endswith(".h5"):
        registry().get("dataset", name)
