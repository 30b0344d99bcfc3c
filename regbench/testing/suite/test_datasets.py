"""What every data set reader promises, with and without the images it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from regbench.api.dataset import Dataset, Split
from regbench.data.packs.prepare import prepare
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.plugins.registry import Component
from regbench.testing.parts import each, small_config

SPLITS: tuple[Split, Split] = ("train", "test")


def reader(component: Component, root: Path | None = None) -> Dataset:
    """The data set at small settings."""
    return cast(Dataset, component.load()(small_config(component), root))


def made(component: Component) -> tuple[Dataset, dict[Split, Sequence[str]]]:
    """A data set that needs no files, and its keys; skips where it needs some after all."""
    dataset = reader(component)
    if dataset.needs_root:
        pytest.skip("reads a folder")
    try:
        return dataset, {split: dataset.keys(split) for split in SPLITS}
    except (DataError, UsageError) as error:
        readable(error)
        pytest.skip(str(error))


def readable(error: RegbenchError) -> None:
    """A person can act on it: a first line that says what is wrong, at most followed by a drawing of the folder."""
    text = str(error)
    assert text.splitlines()[0].strip()
    assert "Error:" not in text
    assert "Traceback" not in text


@each("dataset")
def test_dataset_has_a_card(component: Component) -> None:
    """The card says what it is, where it comes from and what one may do with it."""
    card = component.load().card
    told = {name: value for name, value in card.model_dump().items() if value is not None}
    empty = [name for name, value in told.items() if not (all(value) if name == "modalities" else value)]
    assert not empty, f"empty on the card: {empty}"


@each("dataset")
def test_dataset_states_its_pack(component: Component) -> None:
    """Size and modalities are known before an image is read."""
    dataset = reader(component)
    assert all(isinstance(side, int) and side > 0 for side in dataset.size)
    assert len(dataset.modalities) == 2
    assert all(dataset.modalities)


@each("dataset")
@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_dataset_explains_a_wrong_folder(component: Component, folder: str, tmp_path: Path) -> None:
    """A folder that is not there, or does not hold the published layout, is said clearly."""
    root = tmp_path / folder
    if folder == "empty":
        root.mkdir()
    dataset = reader(component, root)
    if not dataset.needs_root and _needs_nothing(component):
        pytest.skip("reads no folder")
    with pytest.raises((DataError, UsageError)) as caught:
        dataset.keys("train")
    readable(caught.value)


@each("dataset")
def test_dataset_keys_are_unique_and_stable(component: Component) -> None:
    """Keys name pairs for good: unique, the same in every process, and no image is in both splits."""
    dataset, keys = made(component)
    for split in SPLITS:
        assert len(set(keys[split])) == len(keys[split]) > 0
        assert list(reader(component).keys(split)) == list(keys[split])
    groups = [{dataset.group(split, key) for key in keys[split]} for split in SPLITS]
    assert not groups[0] & groups[1]


@each("dataset")
def test_dataset_reads_deterministically(component: Component) -> None:
    """A pair has the same bytes whenever, and in whatever order, it is read."""
    dataset, keys = made(component)
    first, second = keys["train"][:2]
    before = dataset.read("train", first)
    dataset.read("train", second)
    again = reader(component).read("train", first)
    assert np.array_equal(before.a, again.a)
    assert np.array_equal(before.b, again.b)


@each("dataset")
def test_dataset_images_are_what_a_pack_stores(component: Component) -> None:
    """uint8, uint16 or float32, grey or RGB; of one size and without a label where the set is aligned."""
    dataset, keys = made(component)
    for split in SPLITS:
        pair = dataset.read(split, keys[split][0])
        for image in (pair.a, pair.b):
            assert image.dtype in (np.uint8, np.uint16, np.float32)
            assert image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if dataset.aligned:
            assert pair.a.shape[:2] == pair.b.shape[:2]
            assert pair.homography is None
        elif pair.homography is not None:
            assert pair.homography.shape == (3, 3)


@each("dataset")
def test_dataset_is_prepared(component: Component, tmp_path: Path) -> None:
    """Names can be stored and told apart, and no image is in train and in test."""
    dataset, _ = made(component)
    prepare(dataset, component.name, component.version, tmp_path / "pack.h5").verify()


@each("dataset")
def test_dataset_refuses_unknown_keys(component: Component) -> None:
    """An unknown key is one clear line."""
    dataset, _ = made(component)
    with pytest.raises(DataError) as caught:
        dataset.read("test", "no-such-pair")
    readable(caught.value)


def _needs_nothing(component: Component) -> bool:
    try:
        return bool(reader(component).keys("train"))
    except (DataError, UsageError):
        return False
