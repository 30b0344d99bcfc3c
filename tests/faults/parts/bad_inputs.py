"""Generated bad inputs: each is taken, or refused in one line that names the file or the setting."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch
from torch import nn

from regbench.ablation.recipe_file import read_recipe
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.protocol import Protocol
from regbench.data.reading import read_image
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench.plugins.registry import registry
from regbench.report import leaderboard
from regbench.report.printed import load_paper
from regbench.results.pairs import read_pairs
from regbench.results.store import load_result
from regbench.runs.finished import open_run
from regbench.runs.request import Request, resolve
from regbench.settings import parse_sets
from regbench.texts import printable
from regbench.weights.files import load_weights, write_weights
from regbench.weights.published import tensor_groups
from tests.faults.command import Said, called, regbench
from tests.faults.table import Line, Size
from tests.report import made_up

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", " ", "x", "null"),
    *([], [[]], {}, {"a": {}}, [1, "x"], "\x00", "\x1b[2J", "é" * 300, "../../x", "a" * 5000, "1e999", "\ud800"),
)
TEXTS = (
    "[[[[",
    "{",
    '"',
    "'",
    "=",
    "-",
    "--",
    "true",
    "nan",
    "1e400",
    "0x10",
    "1,2",
    "٣",
    "$(x)",
    "%s",
    "\\",
    "\n",
    "𝕏",
)


@dataclass
class Inputs:
    """A source of inputs of one seed, and files that are right."""

    random: random.Random
    folder: Path

    def odd(self) -> Any:
        """A value of any JSON type that is seldom right."""
        return self.random.choice(ODD)

    def text(self) -> str:
        """A text that is seldom right."""
        kind = self.random.randrange(3)
        if kind == 0:
            return self.random.choice(TEXTS)
        if kind == 1:
            return str(self.odd()).replace("\x00", "")
        return "".join(self.random.choices(string.printable, k=self.random.randrange(12)))

    def damaged(self, data: bytes) -> bytes:
        """Bytes with a few changed, cut out, repeated or cut off."""
        changed = bytearray(data)
        for _ in range(self.random.randrange(1, 6)):
            if not changed:
                break
            at, kind = self.random.randrange(len(changed)), self.random.randrange(6)
            if kind == 0:
                changed[at] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                changed[at : at + self.random.randrange(1, 20)] = b""
            elif kind == 2:
                del changed[at:]
            elif kind == 3:
                changed[at:at] = changed[: self.random.randrange(30)]
            elif kind == 4:
                changed[at : at + 4] = self.random.randbytes(4)
            else:
                changed[at:at] = str(self.odd()).encode(errors="replace")
        return bytes(changed)

    def changed(self, tree: Any) -> Any:
        """JSON with one to three places changed, dropped or added."""
        tree = json.loads(json.dumps(tree))
        for _ in range(self.random.randrange(1, 4)):
            node = tree
            while isinstance(node, dict | list) and node:
                key = self.random.choice(list(node)) if isinstance(node, dict) else self.random.randrange(len(node))
                if self.random.random() < 0.4 or not isinstance(node[key], dict | list) or not node[key]:
                    if self.random.random() < 0.7:
                        node[key] = self.odd()
                    elif self.random.random() < 0.5:
                        del node[key]
                    elif isinstance(node, dict):
                        node[self.text()] = self.odd()
                    break
                node = node[key]
        return tree


Try = Callable[[Inputs, int], tuple[Said, tuple[str, ...]]]
"""Makes and uses one input; gives what was said, and words of which a refusal must hold one."""


def run(size: Size, folder: Path) -> Iterator[Line]:
    """Every kind of input, 5,000 and more in all (``small``: a fortieth of them)."""
    kinds: dict[str, tuple[Callable[[Inputs], Try], int]] = {
        "words on the command line": (command_lines, 700),
        "values of --set": (settings, 1400),
        "environment variables": (environments, 150),
        "result.json": (results, 700),
        "board.toml, paper.toml and paper.csv": (boards, 400),
        "recipes": (recipes, 700),
        "pairs.csv and label files": (label_files, 400),
        "weights and checkpoints": (weights, 500),
        "HDF5: pairs and packs": (hdf5, 400),
        "images": (images, 400),
    }
    for number, (name, (prepared, count)) in enumerate(kinds.items()):
        place = folder / str(number)
        place.mkdir()
        inputs = Inputs(random.Random(f"bad inputs {number}"), place)
        attempt, line = prepared(inputs), Line(f"bad inputs: {name}")
        for i in range(count if size == "full" else max(4, count // 40)):
            said, words = attempt(inputs, i)
            _count(line, said, words)
        yield line


def _count(line: Line, said: Said, words: tuple[str, ...]) -> None:
    line.tracebacks += said.trace
    line.generic += said.generic
    line.generic_said += [said.err.strip()[-300:]] * said.generic
    lines = [text for text in said.err.splitlines() if text.strip()]
    usage = any(text.startswith("Usage:") for text in lines)  # what click says of options
    fine = said.code == 0 or (said.code in (1, 2) and (len(lines) == 1 or usage) and (usage or said.names(*words)))
    line.count(fine and not said.trace, f"code {said.code}, no word of {words}: {said.err[-400:]!r}")


def command_lines(inputs: Inputs) -> Try:
    """Known verbs and options in any order with any values; nothing that trains."""
    verbs = (
        "evaluate",
        "register",
        "plugins",
        "datasets",
        "weights",
        "leaderboard",
        "compare",
        "figure",
        "consistency",
    )
    options = (
        *("--registrator", "--weights", "--run", "--budget", "--set", "--seed", "--device", "--dataset", "--root"),
        *("--max-side", "--range-source", "--format", "--board", "--role", "--json", "--out", "--translator"),
    )
    subverbs = ("list", "info", "matrix", "check", "build", "export", "verify", "import", "stats", "sift", "synthetic")

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        rest = [inputs.random.choice((*subverbs, inputs.text(), "nothing-here", "nothing-here.png"))]
        for _ in range(inputs.random.randrange(4)):
            rest += [inputs.random.choice(options)] + [inputs.text()] * inputs.random.randrange(2)
        verb = inputs.random.choice((*verbs, inputs.text()))
        if verb == "plugins" and "check" in rest:
            rest.remove("check")
        rest = [word.replace("\x00", "").encode(errors="replace").decode() for word in rest]  # as a shell can give them
        said = regbench(verb, *rest, "--seed=x" if verb == "evaluate" else "--", folder=inputs.folder)
        words = (printable(word).strip() for word in (verb, *rest))
        return said, (*words, *(repr(word)[1:-1] for word in rest), "--", "name", "board", "leaderboards")

    return attempt


def settings(inputs: Inputs) -> Try:
    """Any value for every setting of every component, protocol and trainer."""
    roles = ("registrator", "translator", "strategy")
    names = [(role, c.name, field) for role in roles for c in registry().all(role)
             for field in (*c.load().Config.model_fields, "preset", "nonsense")]  # fmt: skip
    names += [
        (section, "", field) for section in ("protocol", "run") for field in (*Protocol.model_fields, "log_every")
    ]
    given = {"registrator": "mcnet", "strategy": "colreg", "translator": "mimgcd"}

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        section, name, field = inputs.random.choice(names)
        words = {**given, section: name} if name else given
        value = inputs.text() if inputs.random.random() < 0.5 else json.dumps(inputs.odd())
        budget = inputs.random.choice(("smoke", "quick", "full", "0.1", inputs.text()))
        said = called(lambda: resolve(Request(**words, budget=budget, sets=parse_sets([f"{section}.{field}={value}"]))))
        return said, (field, "unknown budget", "budget " + budget, name or section)

    return attempt


def environments(inputs: Inputs) -> Try:
    """Any value for every variable that is read."""
    names = ("REGBENCH_DATA", "REGBENCH_RESIDENT_MB", "REGBENCH_PLUGINS_TIMEOUT", "WORLD_SIZE", "RANK", "LOCAL_RANK")
    for file in ("file", "plain"):
        (inputs.folder / file).write_text("x")

    def attempt(inputs: Inputs, i: int) -> tuple[Said, tuple[str, ...]]:
        name = inputs.random.choice(names)
        values = (inputs.text(), "file", "file/below", "/proc/none", "1", "0", "-1", "1.5")
        value = inputs.random.choice(values).replace("\x00", "")
        value = value.encode(errors="replace").decode()
        registry.cache_clear()
        said = regbench("datasets", "verify", "synthetic", folder=inputs.folder, environment={name: value})
        registry.cache_clear()
        return said, (name, value.strip() or name, "synthetic", "torchrun")

    return attempt


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
