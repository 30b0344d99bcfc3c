"""A data set of one's own in a folder, packs, weights and runs, for tests of what a run id covers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch

from regbench.api.types import PairInfo
from regbench.data.packs.prepare import ensure
from regbench.results.schema import Result
from regbench.runs.build import registrator_alone
from regbench.runs.execute import execute
from regbench.runs.plan import Plan, make_plan, transfer_plan
from regbench.runs.request import Request, configure
from regbench.weights.files import write_weights

SIZE = {"height": 96, "width": 96}
PROTOCOL = {"patch": 64, "rho": 8}
TRAINED: dict[str, Any] = {"strategy": "supervised", "device": "cpu"}
STEPS = {"strategy": {"steps": 3, "batch": 4}}
NETWORK = {"preset": "tiny"}


def picture(seed: int, path: Path) -> None:
    """Write a picture that differs for every seed."""
    noise = np.random.default_rng(seed).standard_normal((120, 120)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), (127 + 400 * smooth).clip(0, 255).astype(np.uint8))


@dataclass
class Place:
    """Everything lies in ``folder``; ``monkeypatch`` has set ``REGBENCH_DATA`` to its ``packs``."""

    folder: Path

    @property
    def root(self) -> Path:
        """The data set: 12 pairs of pictures, and the same as a CSV."""
        return self.folder / "set"

    def fill(self) -> Place:
        """Draw the pictures, write the list, and weights of a network."""
        for i in range(12):
            for side, seed in (("source", 0), ("target", 100)):
                picture(seed + i, self.root / side / f"{i:02}.png")
        lines = [f"source/{i:02}.png,target/{i:02}.png,{'test' if i > 8 else 'train'},{i}" for i in range(12)]
        (self.root / "pairs.csv").write_text("\n".join(["source,target,split,group", *lines]) + "\n")
        self.write_weights(1)
        return self

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    def write_weights(self, seed: int) -> Path:
        """Weights of the network drawn from ``seed``; the last layer too, so that it answers."""
        network = registrator_alone(configure("registrator", "dhn", NETWORK), PairInfo(**PROTOCOL), seed=seed)
        torch.manual_seed(seed)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        write_weights(self.weights, {"registrator": network}, component="dhn", supervision="none")
        return self.weights

    def request(self, *, sets: dict[str, Any] | None = None, **changes: Any) -> Request:
        """Judge the network with its weights on the folder; ``**TRAINED`` trains it instead."""
        data = {"pairs": "pairs.csv", **SIZE}
        given = {"dataset": data, "protocol": PROTOCOL, "registrator": NETWORK}
        if changes.get("strategy"):
            given |= STEPS
        asked = Request("dhn", dataset="folder", root=self.root, budget="smoke", out=self.folder / "runs",
                        weights=None if changes.get("strategy") else self.weights, device="cpu",
                        sets=given | (sets or {}))  # fmt: skip
        return replace(asked, **changes)

    def plan(self, **changes: Any) -> Plan:
        return make_plan(self.request(**changes))

    def run(self, **changes: Any) -> tuple[Plan, Result]:
        """Plan and execute."""
        plan = self.plan(**changes)
        result = execute(plan)
        assert result is not None
        return plan, result

    def transfer(self, run: Path) -> Plan:
        """Judge a finished run on the pictures as two folders, which is another data set."""
        asked = self.request()
        return transfer_plan(run, replace(asked, registrator="", weights=None, sets={"dataset": SIZE}))

    @property
    def pack(self) -> Path:
        """The file of the only pack."""
        (path,) = (self.folder / "packs").glob("folder-*.h5")
        return path

    def edit_pack(self, edit) -> None:
        with h5py.File(self.pack, "r+") as file:
            edit(file)

    def prepare(self, **more: Any):
        return ensure("folder", root=self.root, settings={"pairs": "pairs.csv", **SIZE}, **more)

    def copy(self, name: str) -> Place:
        """The same at another place."""
        target = self.folder.with_name(name)
        shutil.copytree(self.folder, target)
        return Place(target)
