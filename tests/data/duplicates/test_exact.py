"""The same image in train and in test is found, on whatever side and however it came there."""

import numpy as np
import pytest

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.errors import DataError

CARD = Card(
    title="pairs",
    modalities=("optical", "radar"),
    origin="memory",
    licence="none",
    citation="none",
    layout="none",
    split="as made",
    size_rule="none",
)


class Pairs(Dataset):
    """Pairs by split and key, as a reader of somebody else may give them."""

    card = CARD
    needs_root = False

    def __init__(self, pairs, **attributes):
        super().__init__(ComponentConfig(), None)
        self.pairs = pairs
        self.__dict__.update(attributes)

    @property
    def size(self):
        return (40, 40)

    def keys(self, split):
        return list(self.pairs[split])

    def read(self, split, key):
        return PairImages(*self.pairs[split][key])


def image(seed, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (40, 40, channels), np.uint8).squeeze()


@pytest.fixture
def sets():
    """Two train pairs and two test pairs of different images."""
    return {
        split: {f"{split[0]}{i}": (image((n, i, 0), 3), image((n, i, 1))) for i in range(2)}
        for n, split in enumerate(("train", "test"))
    }


@pytest.fixture
def packed(tmp_path):
    return lambda pairs, **attributes: prepare(Pairs(pairs, **attributes), "mine", "1", tmp_path / "p.h5")


def test_different_images(sets, packed):
    pack = packed(sets)
    assert pack.seen is None
    pack.verify()


@pytest.mark.parametrize(("train", "test"), [(0, 0), (1, 1), (0, 1), (1, 0)], ids=["A A", "B B", "A B", "B A"])
def test_an_image_on_either_side(sets, packed, train, test):
    """Grey is the same whether its side stores one channel or three."""
    again = image(9)
    for split, key, side in (("train", "t1", train), ("test", "t0", test)):
        pair = list(sets[split][key])
        pair[side] = again.copy()
        sets[split][key] = tuple(pair)
    pack = packed(sets)
    told = ["optical", "radar"]
    expected = f"mine: {told[train]} of train pair 't1' and {told[test]} of test pair 't0' are the same image"
    assert pack.seen.startswith(expected)
    assert "\n" not in pack.seen
    with pytest.raises(DataError, match=expected):
        pack.verify()
    assert Pack.open(pack.path).seen == pack.seen


def test_one_pixel_makes_another_image(sets, packed):
    again = sets["train"]["t0"][1].copy()
    again[1, 1] ^= 1  # not in a row that is hashed first
    sets["test"]["t0"] = (sets["test"]["t0"][0], again)
    assert packed(sets).seen is None


def test_images_that_show_nothing(sets, packed):
    """Water on a map looks the same everywhere and teaches nothing."""
    water = np.tile(np.uint8([150, 180, 220]), (40, 40, 1))
    for split in sets:
        sets[split][f"{split[0]}0"] = (water, sets[split][f"{split[0]}0"][1])
    assert packed(sets).seen is None


def test_sixteen_bits(sets, packed):
    deep = {s: {k: (a, b.astype(np.uint16) * 5) for k, (a, b) in pairs.items()} for s, pairs in sets.items()}
    assert packed(deep).seen is None
    deep["test"]["t1"] = (deep["test"]["t1"][0], deep["train"]["t0"][1])
    assert "radar of train pair 't0' and radar of test pair 't1'" in packed(deep).seen


def test_single_images(sets, packed):
    alone = {s: {k: (a, a) for k, (a, _) in pairs.items()} for s, pairs in sets.items()}
    assert packed(alone, single=True).seen is None
    alone["test"]["t1"] = alone["train"]["t0"]
    assert "optical of train pair 't0' and optical of test pair 't1'" in packed(alone, single=True).seen


def test_the_card_may_say_why(sets, packed):
    sets["test"]["t1"] = sets["train"]["t0"]
    pack = packed(sets, card=CARD.model_copy(update={"shared": "test repeats train to see what is learned by heart"}))
    assert pack.seen is None
    pack.verify()


@pytest.mark.parametrize(("keys", "message"), [
    (["a", "a"], "'a' is there twice"),
    (["é", "e\u0301"], "differ only in Unicode form"),
    (["a", ""], "'' is no name"),
    (["a", "\udcc8\udcd5"], r"train pair \\xc8\\xd5 is not UTF-8"),
])  # fmt: skip
def test_keys_that_cannot_be_told_apart_or_stored(sets, packed, monkeypatch, keys, message):
    monkeypatch.setattr(Pairs, "keys", lambda self, split: keys if split == "train" else ["t0"])
    with pytest.raises(DataError, match=message):
        packed(sets)
