"""Fixtures shared by every test: a tiny pack, packs made from arrays, the data beside the checkout."""

import signal
from pathlib import Path

import numpy as np
import pytest

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages
from regbench.data.packs.prepare import prepare
from regbench.data.synthetic import Synthetic, SyntheticConfig


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests compute little: threads would spend their time waiting for each other on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _signals():
    """Jobs of the background ignore Ctrl-C, those of nohup SIGHUP too, and so would the processes that tests start.

    A process inherits what is ignored, not what is handled. These tests themselves outlive a SIGHUP under nohup.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


class Arrays(Dataset):
    """A data set of images in memory; the test split repeats the train split."""

    card = Card(
        title="arrays",
        modalities=("first", "second"),
        origin="memory",
        licence="none",
        citation="none",
        layout="none",
        split="the same",
        size_rule="none",
        shared="the test split repeats the train split",
    )
    needs_root = False

    def __init__(self, a, b, homographies=None):
        super().__init__(ComponentConfig(), None)
        self.a, self.b, self.homographies = a, b, homographies
        self.aligned = homographies is None

    @property
    def size(self):
        return self.a[0].shape[:2]

    def keys(self, split):
        return [str(i) for i in range(len(self.a))]

    def read(self, split, key):
        label = None if self.aligned else self.homographies[int(key)]
        return PairImages(self.a[int(key)], self.b[int(key)], label)


@pytest.fixture(scope="session")
def make_pack(tmp_path_factory):
    """Make a pack of arrays: ``make_pack(a, b)``; with ``homographies`` (items may be None) it is unaligned."""

    def make(a, b, homographies=None):
        return prepare(Arrays(a, b, homographies), "arrays", "1", tmp_path_factory.mktemp("pack") / "arrays.h5")

    return make


@pytest.fixture(scope="session")
def smooth_images():
    """Make images whose interpolation error is small: ``smooth_images(count, size, seed=0, channels=1)``, uint8."""

    def make(count, size, seed=0, channels=1):
        import cv2

        rng = np.random.default_rng(seed)
        found = []
        for _ in range(count):
            noise = cv2.GaussianBlur(rng.standard_normal((*size, channels)).astype(np.float32), (0, 0), 3)
            noise = (noise - noise.min()) / (noise.max() - noise.min())
            found.append((20 + 215 * noise).round().astype(np.uint8))
        return [image.squeeze() for image in found]

    return make


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory):
    """The embedded data set, 6 + 4 pairs (optical, SAR) of 128 px."""
    data = Synthetic(SyntheticConfig(train=6, test=4, size=128))
    return prepare(data, "synthetic", "1", tmp_path_factory.mktemp("pack") / "synthetic.h5")


@pytest.fixture(scope="session")
def shared_data():
    """The folder of published data sets beside the checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no published data sets at {folder}")
    return folder
