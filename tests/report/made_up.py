"""Made-up runs with known errors, and the board they make."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regbench.data.manifest import drawn_pairs, manifest_sha256
from regbench.data.protocol import Protocol
from regbench.metrics import METRIC_VERSION, summarise, verdict
from regbench.results import (
    Identity,
    Measure,
    Pairs,
    Result,
    read_pairs,
    run_id_of,
    write_json,
    write_pairs,
    write_result,
)
from regbench.results.lineage import lineage_of

GOLDEN = Path(__file__).parents[1] / "golden"
IMAGES, EACH = 32, 8
PROTOCOL = Protocol(patch=128, rho=32)
DRAWS = drawn_pairs("synthetic", IMAGES, EACH, (256, 256), PROTOCOL)
IMAGE = np.tile(np.arange(IMAGES), EACH)
PACK, OTHER_PACK = "b" * 64, "d" * 64
MANIFEST, OTHER_MANIFEST = (
    manifest_sha256(pack, PROTOCOL, DRAWS, torch.from_numpy(IMAGE)) for pack in (PACK, OTHER_PACK)
)
PROVENANCE = {
    "cpu": {"model": "Test CPU"},
    "gpu": [{"name": "unused"}],
    "git": {"commit": "1234567890" * 4, "dirty": False},
    "argv": ["made_up.py"],
    "versions": {"python": "3"},
    "distributions": {"regbench-test": "0.1.0"},
    "third_party": {"regbench-test": "c" * 64},
}


def require_golden(name: str, text: str) -> None:
    """Compare with the golden page; REGBENCH_GOLDEN=write renews it first."""
    if os.environ.get("REGBENCH_GOLDEN") == "write":
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def component(name: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "version": "0.1.0", "distribution": "regbench-test", "config": config}


def identity_of(registrator: str, **changes: Any) -> Identity:
    return Identity.model_validate(
        {
            "translator": None,
            "registrator": component(registrator),
            "strategy": None,
            "train_dataset": {"name": "synthetic", "pack_sha256": PACK},
            "test_dataset": {"name": "synthetic", "manifest_sha256": MANIFEST},
            "protocol": {"patch": 128, "rho": 32, "pairing": "frozen", "source": "A"},
            "seed": 0,
            "budget": "quick",
            "ancestors": [],
            "metric_version": METRIC_VERSION,
            "supervision": "none",
            **changes,
        }
    )


def pairs_of(spread: float, noise: int) -> Pairs:
    """Estimates that leave a share ``spread`` of the displacement, alike within an image; -1: do nothing."""
    truth, image = DRAWS.displacement.double().numpy(), IMAGE
    if spread < 0:
        return Pairs.of(truth, np.zeros_like(truth), np.ones(len(truth)), image)
    stream = np.random.RandomState(noise)
    left = spread * (1 + 0.2 * stream.standard_normal(IMAGES))[image] + 0.01 * stream.standard_normal(len(image))
    ok = stream.random_sample(len(image)) > 0.02
    return Pairs.of(truth, truth * (1 - left[:, None, None]), ok, image)


def save_run(
    folder: Path,
    identity: Identity,
    pairs: Pairs | None,
    reason: str | None = None,
    teachers: Sequence[Result] = (),
) -> Result:
    """A run directory as the experiment writes it, ``<folder>/<run_id>``; its record."""
    run_id, lineage = run_id_of(identity), lineage_of(teachers)
    run = folder / run_id
    if pairs is None:
        result = Result(
            run_id=run_id, status="failed", reason=reason, identity=identity, lineage=lineage, provenance=PROVENANCE
        )
    else:
        errors = pairs.errors
        result = Result(
            run_id=run_id,
            status="ok",
            verdict=verdict(errors.scored.mean(), errors.identity.mean()),
            identity=identity,
            lineage=lineage,
            metrics={name: Measure(**entry) for name, entry in summarise(errors).items()},
            timing={"register_ms": 12.34, "device": "cpu"},
            training=training_of(identity),
            provenance=PROVENANCE,
            pairs_sha256=pairs.sha256,
        )
        write_pairs(run / "pairs.h5", pairs, {"run_id": run_id})
    write_result(run / "result.json", result)
    return result


def training_of(identity: Identity) -> dict[str, Any]:
    """How a run was trained; the students' runs are of before pairs and images were counted."""
    if identity.strategy is None:
        return {"parameters": 0}
    images = 5_000 if identity.translator else 0
    seen = {} if identity.strategy.name == "sshnet-d" else {"pairs_seen": 64_000, "images_seen": images}
    return {"parameters": 850_000, "seconds": 90.0, "peak_memory_mb": 1234.5} | seen


def made_up_runs(folder: Path) -> list[Result]:
    """Identity, a control, a method with three seeds and one with one, three students of teachers with seeds of their
    own, a supervised, a failed and a stale run."""
    colreg = {"translator": component("mimgcd"), "strategy": component("colreg", rounds=3, steps=100)}
    single = {**colreg, "strategy": component("colreg", rounds=1, steps=100)}
    control = {"strategy": component("self-supervised")}
    supervised = {"strategy": component("supervised"), "supervision": "homography"}
    other = {
        "test_dataset": {"name": "synthetic", "manifest_sha256": OTHER_MANIFEST},
        "train_dataset": {"name": "synthetic", "pack_sha256": OTHER_PACK},
    }
    teachers = [save_run(folder, identity_of("mcnet", **colreg, seed=s), pairs_of(0.30, 2 + s)) for s in range(3)]
    return [
        save_run(folder, identity_of("identity", train_dataset=None), pairs_of(-1, 0)),
        save_run(folder, identity_of("mcnet", **control), pairs_of(0.95, 1)),
        *teachers,
        *(
            save_run(folder, student_of(teacher, seed), pairs_of(0.50, 20 + seed), teachers=[teacher])
            for seed, teacher in enumerate(teachers)
        ),
        save_run(folder, identity_of("mcnet", **single), pairs_of(0.305, 5)),
        save_run(folder, identity_of("mcnet", **supervised), pairs_of(0.10, 6)),
        save_run(folder, identity_of("dhn", **colreg), None, "loss of T|R is nan, see /home/someone/run/log.jsonl"),
        save_run(folder, identity_of("ihn", **colreg, **other), pairs_of(0.2, 7)),
    ]


def student_of(teacher: Result, seed: int) -> Identity:
    """A student of a finished run."""
    return identity_of("ihn1", strategy=component("sshnet-d"), seed=seed, ancestors=[teacher.run_id])


PAPER = """\
source,table,dataset,method,category,metric,value
"Somebody 2025",2,Scenes,Ours,unsupervised,MACE,1.25
"Somebody 2025",2,Scenes,Ours,unsupervised,AUC@20,93.8
"Somebody 2025",2,Scenes,Single,unsupervised,MACE,1.5
"Somebody 2025",2,Scenes,Student,unsupervised,MACE,2.06
"Somebody 2025",2,Scenes,Reference,supervised,MACE,0.61
"Somebody 2025",2,Scenes,Control,unsupervised,MACE,23.0
"Somebody 2025",2,Scenes,Never run,unsupervised,MACE,NC
"Somebody 2025",2,all,Ours,unsupervised,time_ms,98.24
"Somebody 2025",2,Elsewhere,Ours,unsupervised,MACE,3.91
"Other | paper",5,Scenes,Ours,unsupervised,MACE,0.4
"Other | paper",5,Scenes,Reference,supervised,MACE,0.5
"""
PAPER_NAMES = """\
[datasets]
Scenes = "synthetic"

[methods]
Ours = { translator = "mimgcd", strategy = "colreg", "strategy.rounds" = 3 }
Single = { strategy = "colreg", "strategy.rounds" = 1, pairing = "frozen" }
Student = { translator = "", strategy = "sshnet-d" }
Reference = { strategy = "supervised" }
Control = { strategy = "self-supervised" }
"""


def put_back(path: Path, record: dict[str, Any]) -> Path:
    """Store a changed record and the pairs of ``path`` under the run id that follows; gives the new place."""
    record["run_id"] = run_id_of(record["identity"])
    moved = path.rename(path.with_name(f"{record['run_id']}.json"))
    pairs = read_pairs(path.with_suffix(".pairs.h5"))
    path.with_suffix(".pairs.h5").unlink()
    write_pairs(moved.with_suffix(".pairs.h5"), pairs, {"run_id": moved.stem})
    write_json(moved, record)
    return moved


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the record of a committed result."""
    raw = json.loads(path.read_text())
    edit(raw)
    write_json(path, raw)
