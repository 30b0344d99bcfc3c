"""Bad files of numbers: weights, HDF5 files and images."""

from __future__ import annotations

from typing import Any

import cv2
import h5py
import numpy as np
import torch
from torch import nn

from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.reading import read_image
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench.results.pairs import read_pairs
from regbench.weights.files import load_weights, write_weights
from regbench.weights.published import tensor_groups
from tests.faults.command import Said, called
from tests.faults.parts.bad_inputs.generated import Inputs, Try
from tests.report import made_up


def weights(inputs: Inputs) -> Try:
    """Weights of ours and of others, damaged or of another kind."""
    network = nn.Linear(3, 2)
    ours, theirs, old = (inputs.folder / name for name in ("ours.safetensors", "zip.pth", "legacy.pth"))
    write_weights(ours, {"registrator": network}, component="dhn", supervision="none")
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, theirs)
    torch.save(network.state_dict(), old, _use_new_zipfile_serialization=False)
    whole = {path: path.read_bytes() for path in (ours, theirs, old)}

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        path = inputs.random.choice(list(whole))
        bad = inputs.folder / f"bad{path.suffix}"
        bad.write_bytes(inputs.damaged(whole[path]))
        read = (lambda: load_weights(network, bad)) if i % 2 else (lambda: tensor_groups(bad))
        return called(read), (bad.name,)

    return attempt


def hdf5(inputs: Inputs) -> Try:
    """Pairs and packs with other attributes, shapes, types or bytes."""
    run = made_up.save_run(inputs.folder, made_up.identity_of("mcnet"), made_up.pairs_of(0.3, 1))
    pairs = inputs.folder / run.run_id / "pairs.h5"
    pack = prepare(Synthetic(SyntheticConfig(train=4, test=4, size=64)), "synthetic", "1", inputs.folder / "p.h5").path
    whole = {pairs: pairs.read_bytes(), pack: pack.read_bytes()}
    bad = inputs.folder / "bad.h5"

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        path = inputs.random.choice(list(whole))
        if inputs.random.random() < 0.4:
            bad.write_bytes(inputs.damaged(whole[path]))
        else:
            bad.write_bytes(whole[path])
            with h5py.File(bad, "r+") as file:
                _edit(inputs, file)
        return called(lambda: (Pack.open if path == pack else read_pairs)(bad)), (bad.name,)

    return attempt


def _edit(inputs: Inputs, file: Any) -> None:
    """Change one attribute or data set of an open file."""
    arrays = []
    file.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
    if inputs.random.random() < 0.5:
        name = inputs.random.choice(list(file.attrs))
        del file.attrs[name]
        if (value := inputs.odd()) is not None and inputs.random.random() < 0.8:
            try:
                file.attrs[name] = value
            except (TypeError, ValueError, OSError):
                file.attrs[name] = "x"
        return
    name = inputs.random.choice(arrays)
    content = file[name][()]
    del file[name]
    kind = inputs.random.randrange(6)
    if kind == 0:
        file[name] = content[:-1] if getattr(content, "ndim", 0) else 0
    elif kind == 1:
        file[name] = "text"
    elif kind == 2:
        file.create_group(name)
    elif kind == 3:
        file[name] = np.zeros((2, 2))
    elif kind == 4 and content.dtype.kind in "fiu":
        file[name] = content.astype("c8" if inputs.random.random() < 0.5 else "S1")


def images(inputs: Inputs) -> Try:
    """Damaged images of every format."""
    rng = np.random.default_rng(0)
    whole = {}
    for suffix in (".png", ".jpg", ".tif", ".bmp", ".webp"):
        for bands in (1, 3):
            picture = rng.integers(0, 256, (20, 24, bands), dtype=np.uint8)
            whole[suffix, bands] = cv2.imencode(suffix, picture)[1].tobytes()

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        (suffix, _), data = inputs.random.choice(list(whole.items()))
        path = inputs.folder / f"bad{suffix}"
        path.write_bytes(inputs.damaged(data))
        return called(lambda: read_image(path)), (path.name,)

    return attempt
