"""A data set as it is opened without making a pack: the names of all its pairs, and one pair of each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regbench.api.dataset import Dataset, PairImages, Split
from regbench.data.images import Streamed
from regbench.data.packs.decoding import decoded_pairs
from regbench.data.packs.format import SPLITS
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepared
from regbench.data.value_ranges import Rule, rules_of, split_settings
from regbench.errors import DataError, UsageError
from regbench.plugins.registry import registry
from regbench.settings import build_config

_LOOKED = 32  # training pairs in which a label is looked for


@dataclass(frozen=True)
class Opened:
    """What a data set says of itself and what its first pairs show; has :class:`regbench.data.pairs.DataFacts`."""

    name: str
    size: tuple[int, int]
    aligned: bool
    max_patch: int | None
    channels: tuple[int, int]
    modalities: tuple[str, str]
    counts: Mapping[Split, int]
    labelled: bool | None
    """Whether training pairs have homographies; None where the first ones have not and the others were not read."""
    seen: str | None = None
    """Which image is in train and in test, as far as a pack says so."""


def open_data(name: str, root: Path | None, settings: Mapping[str, Any]) -> Opened:
    """Open a data set without preparing it: its pack where there is one, else its files.

    Args:
        name: registered name, or the file of a pack.
        root: its folder; None for a set that was prepared or needs none.
        settings: of the reader.

    Raises:
        UsageError: an unknown name or setting.
        DataError: the folder is not as the reader expects, it has no pairs, or the first pair of a split is broken; or
            the pack was edited, or is of files that have changed.
    """
    if (pack := prepared(name, root=root, settings=settings)) is not None:
        return _of_pack(name, pack)
    component = registry().get("dataset", name)
    if root is None and component.load().needs_root:
        raise UsageError(f"data set {name!r} is read from disk: add --root {name}=DIR")
    own, ranges = split_settings(settings)
    dataset = component.load()(build_config(component, own), root)
    return _of_reader(name, dataset, rules_of(dataset, ranges))


def _of_reader(name: str, dataset: Dataset, rules: tuple[Rule, Rule]) -> Opened:
    keys = {split: list(dataset.keys(split)) for split in SPLITS}
    if not any(keys.values()):
        raise DataError(f"data set {name!r} has no pairs")
    pairs: dict[Split, PairImages] = {}
    for split in SPLITS:
        if keys[split]:
            (first,) = decoded_pairs(dataset, split, keys[split], [0], 1, rules)
            pairs[split] = first.pair
    shown = next(iter(pairs.values()))
    return Opened(
        name=name,
        size=dataset.size,
        aligned=dataset.aligned,
        max_patch=dataset.max_patch,
        channels=(_channels(shown.a.shape), _channels(shown.b.shape)),
        modalities=dataset.modalities,
        counts={split: len(keys[split]) for split in SPLITS},
        labelled=dataset.aligned or _labelled(dataset, keys["train"], rules),
    )


def _labelled(dataset: Dataset, keys: Sequence[str], rules: tuple[Rule, Rule]) -> bool | None:
    """Whether training pairs of an unaligned set have homographies; None where the first ones have not."""
    looked = range(min(_LOOKED, len(keys)))
    decoded = decoded_pairs(dataset, "train", keys, looked, 1, rules)
    if any(each.pair.homography is not None for each in decoded):
        return True
    return False if len(looked) == len(keys) else None


def _of_pack(name: str, pack: Pack) -> Opened:
    for split in SPLITS:
        if pack.counts[split]:
            Streamed(pack, split, "a").take(torch.zeros(1, dtype=torch.int64))
    return Opened(
        name=name,
        size=pack.size,
        aligned=pack.aligned,
        max_patch=pack.max_patch,
        channels=pack.channels,
        modalities=pack.modalities,
        counts=pack.counts,
        labelled=pack.aligned or pack.homographies("train") is not None,
        seen=pack.seen,
    )


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1
