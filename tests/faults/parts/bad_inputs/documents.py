"""Bad files of text: results, boards, recipes, and lists of pairs and labels."""

from __future__ import annotations

import json

import cv2
import numpy as np

from regbench.ablation.recipe_file import read_recipe
from regbench.plugins.registry import registry
from regbench.report import leaderboard
from regbench.report.printed import load_paper
from regbench.results.store import load_result
from regbench.runs.finished import open_run
from tests.faults.command import Said, called
from tests.faults.parts.bad_inputs.generated import Inputs, Try
from tests.report import made_up


def results(inputs: Inputs) -> Try:
    """Records of runs: read, opened and checked on a board."""
    run = made_up.save_run(inputs.folder, made_up.identity_of("mcnet"), made_up.pairs_of(0.3, 1))
    whole = json.loads((inputs.folder / run.run_id / "result.json").read_text())
    pairs = (inputs.folder / run.run_id / "pairs.h5").read_bytes()
    root, folder = inputs.folder / "boards", inputs.folder / "changed"
    board = root / "results" / "b"
    board.mkdir(parents=True)
    folder.mkdir()
    on_board = board / f"{run.run_id}.json"
    on_board.with_suffix(".pairs.h5").write_bytes(pairs)

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        text = json.dumps(inputs.changed(whole))
        if inputs.random.random() < 0.25:
            text = inputs.damaged(text.encode()).decode(errors="surrogateescape")
        if inputs.random.random() < 0.02:
            text = "[" * 100_000
        path = folder / "result.json" if i % 3 else on_board
        path.write_bytes(text.encode(errors="surrogateescape"))
        reads = (
            lambda: leaderboard.check(inputs.folder / "boards"),
            lambda: load_result(path),
            lambda: open_run(folder),
        )
        return called(reads[i % 3]), (path.name, folder.name, run.run_id)

    return attempt


def boards(inputs: Inputs) -> Try:
    """Descriptions of boards, and numbers printed in papers."""
    board, paper = inputs.folder / "results" / "b", inputs.folder / "recipes" / "p"
    board.mkdir(parents=True)
    paper.mkdir(parents=True)
    whole = {
        board / "board.toml": b'title = "T"\ndescription = "D"\nnotes = ["n"]\npapers = ["p"]\nmanifest_sha256 = []\n',
        paper
        / "paper.toml": b'[datasets]\nCOCO = "mscoco"\n[methods]\nDHN = {registrator = "dhn", pairing = "given"}\n',
        paper / "paper.csv": b"source,table,dataset,method,category,metric,value\nX 2025,1,COCO,DHN,none,MACE,1.5\n",
    }

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        for path, content in whole.items():
            path.write_bytes(content)
        path = inputs.random.choice(list(whole))
        path.write_bytes(inputs.damaged(whole[path]))
        read = (lambda: leaderboard.build(inputs.folder)) if i % 2 else (lambda: load_paper(paper))
        return called(read), (path.name, "paper")

    return attempt


def recipes(inputs: Inputs) -> Try:
    """Recipes with other values, keys and bytes."""
    whole = (
        'title = "T"\nregistrator = "mcnet4"\nstrategy = "colreg"\ndatasets = ["synthetic"]\nseeds = [0, 1]\n'
        'budget = "quick"\ncontrols = true\n[set]\nstrategy.rounds = 1\n[data.synthetic]\ntrain = 6\n[protocol.vedai]\n'
        'oversample = 9\n[[row]]\nname = "A"\ntranslator = "cut"\n[[row]]\nname = "B"\nregistrator = "dhn"\n'
        'strategy = "supervised"\npublished.strategy = {optimiser = "sgd", lr = 0.005}\n'
    )
    path = inputs.folder / "recipe.toml"

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        if inputs.random.random() < 0.5:
            path.write_bytes(inputs.damaged(whole.encode()))
        else:
            lines = whole.splitlines()
            at = inputs.random.choice([n for n, text in enumerate(lines) if "=" in text])
            key = lines[at].partition("=")[0]
            value = inputs.odd()
            value = value if value is not None and value == value else inputs.text()
            lines[at] = f"{key}= {json.dumps(value)}"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
        return called(lambda: read_recipe(path)), (path.name,)

    return attempt


def label_files(inputs: Inputs) -> Try:
    """Lists of pairs, tie points and homographies of one's own images."""
    for i in range(4):
        cv2.imwrite(str(inputs.folder / f"{i}.png"), np.full((40, 40), 60 * i, np.uint8))
    labels = ",".join(f"h{r}{c}" for r in (1, 2, 3) for c in (1, 2, 3))
    whole = f"source,target,split,group,points,{labels}\n"
    for i, split in enumerate(("train", "test")):
        whole += f"{2 * i}.png,{2 * i + 1}.png,{split},{i},ties.csv,1,0,{i},0,1,0,0,0,1\n"
    ties = "xa,ya,xb,yb\n1,2,3,4\n5,6,7,8\n9,1,2,3\n4,4,4,4\n"
    component = registry().get("dataset", "folder")
    files = {"pairs.csv": whole, "ties.csv": ties}

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        for name, content in files.items():
            (inputs.folder / name).write_text(content)
        name = inputs.random.choice(list(files))
        (inputs.folder / name).write_bytes(inputs.damaged(files[name].encode()))

        def read() -> None:
            cls = component.load()
            dataset = cls(cls.Config(pairs="pairs.csv", aligned=False), inputs.folder)
            for split in ("train", "test"):
                for key in dataset.keys(split):
                    dataset.read(split, key)

        return called(read), ("pairs.csv", "ties.csv", ".png", "test_fraction")

    return attempt
