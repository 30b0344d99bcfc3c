"""Checkpoints as training scripts save them: the one network that fits is found, whatever is around it."""

from __future__ import annotations

import argparse
import collections
import datetime
import gzip
import io
import os
import pathlib
import pickle
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from regbench.errors import DataError, RegbenchError, UsageError
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench.tools.import_weights import import_checkpoint
from regbench.weights.files import load_weights, read_tensors, write_weights
from regbench.weights.published import read_published

SMALL = {"preset": "smoke"}
"""The smallest MCNet."""


@pytest.fixture(scope="module")
def network():
    return registrator_alone(configure("registrator", "mcnet", SMALL))


@pytest.fixture
def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.fixture
def imported(tmp_path):
    """Save an object with torch.save, import it, and give back the imported tensors."""

    def convert(content, part=None, **options):
        torch.save(content, tmp_path / "w.pth", **options)
        import_checkpoint("mcnet", tmp_path / "w.pth", tmp_path / "w.safetensors", SMALL, part=part)
        tensors, _ = read_tensors(tmp_path / "w.safetensors")
        return {key.removeprefix("module/registrator/"): value for key, value in tensors.items()}

    return convert


def within(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def lightning(state):
    return {
        "epoch": 3,
        "global_step": 400,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": within("model.", state) | {"loss.vgg.weight": torch.zeros(3, 3)},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5)}},
        "hyper_parameters": argparse.Namespace(lr=1e-3, root=pathlib.Path("/data")),
    }


def with_optimiser(state):
    layer = nn.Linear(3, 3)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 3)
    return {"optimizer": optimiser.state_dict(), "scheduler": scheduler.state_dict(), "model": state}


WRAPPINGS = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s},
    "net": lambda s: {"net": s, "step": 120_000},
    "data parallel": lambda s: within("module.", s),
    "data parallel in model": lambda s: {"model": within("module.", s)},
    "lightning": lightning,
    "optimiser": with_optimiser,
    "epoch beside": lambda s: {"state_dict": s, "epoch": torch.tensor(3), "loss": torch.tensor(0.1)},
    "epoch within": lambda s: s | {"epoch": torch.tensor(3)},
    "averaged model": lambda s: within("module.", s) | {"n_averaged": torch.tensor(9)},
    "settings": lambda s: {"state_dict": s, "hyper_parameters": {f"opt_{i}": i for i in range(900)}},
    "history": lambda s: {"history": {i: {"loss": 0.1} for i in range(900)}, "state_dict": s},
    "more tensors beside": lambda s: {"state_dict": s, "vgg": {f"l{i}.w": torch.zeros(1) for i in range(900)}},
    "numpy scalar": lambda s: {"state_dict": s, "best": np.float64(1.25), "n": np.int64(3), "ok": np.bool_(True)},
    "numpy array": lambda s: {"state_dict": s, "curve": np.arange(6.0)},
    "list": lambda s: [3, s],
    "deep": lambda s: {"a": {"b": {"c": {"network": s}}}},
    "twice the same": lambda s: {"state_dict": s, "model": {k: v.clone() for k, v in s.items()}},
    "namespace": lambda s: {"net": s, "a": argparse.Namespace(out=pathlib.Path("x"), at=datetime.date(2024, 1, 2))},
    "containers": lambda s: {
        "net": collections.OrderedDict(s),
        "log": collections.defaultdict(list, a=[1]),
        "count": collections.Counter("aab"),
        "last": collections.deque([1, 2], maxlen=2),
        "simple": types.SimpleNamespace(a=1),
    },
    "dictionaries of parts": lambda s: {
        part: {k.removeprefix(f"{part}."): v for k, v in s.items() if k.startswith(f"{part}.")}
        for part in ("encoder", "decoders")
    },
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_wrapping_is_unwrapped(wrapping, zipped, state, imported):
    found = imported(WRAPPINGS[wrapping](state), _use_new_zipfile_serialization=zipped)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_becomes_fp32(dtype, state, imported):
    found = imported({key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()})
    assert {value.dtype for value in found.values() if value.is_floating_point()} == {torch.float32}
    for key, value in state.items():
        assert torch.equal(found[key], value.to(dtype).to(value.dtype) if value.is_floating_point() else value)


def test_a_module_that_was_pickled_whole_needs_no_code(state, imported, tmp_path, monkeypatch):
    made = types.ModuleType("someones_network")
    code = "from torch import nn\nclass Config(dict): pass\nclass Net(nn.Module): pass\n"
    exec(code, made.__dict__)
    for name in ("Net", "Config"):
        getattr(made, name).__module__ = "someones_network"
    monkeypatch.setitem(sys.modules, "someones_network", made)
    whole = made.Net()
    for name, module in registrator_alone(configure("registrator", "mcnet", SMALL)).named_children():
        whole.add_module(name, module)
    whole.load_state_dict(state)
    torch.save({"model": whole, "cfg": made.Config(lr=1)}, tmp_path / "whole.pth")
    monkeypatch.delitem(sys.modules, "someones_network")
    import_checkpoint("mcnet", tmp_path / "whole.pth", tmp_path / "w.safetensors", SMALL)
    tensors, _ = read_tensors(tmp_path / "w.safetensors")
    assert all(torch.equal(tensors[f"module/registrator/{key}"], value) for key, value in state.items())
    assert "someones_network" not in sys.modules


def test_safetensors_are_read_whatever_their_name(state, tmp_path):
    save_file(within("model.", state), tmp_path / "w.pth")
    import_checkpoint("mcnet", tmp_path / "w.pth", tmp_path / "w.safetensors", SMALL)
    assert read_tensors(tmp_path / "w.safetensors")[0]


# --- several networks

SIDE_BY_SIDE = {
    "dictionaries": (lambda a, b: {"ema": b, "model": a}, "model", "ema"),
    "data parallel and average": (lambda a, b: {"model": within("module.", a), "model_ema": b}, "model", "model_ema"),
    "timm": (lambda a, b: {"state_dict": a, "state_dict_ema": b}, "state_dict", "state_dict_ema"),
    "prefixes": (lambda a, b: {"state_dict": within("net.", a) | within("ema.", b)}, "state_dict.net", "ema"),
    "counted": (lambda a, b: {"m": a, "swa": within("module.", b) | {"n_averaged": torch.tensor(2)}}, "m", "swa"),
}


@pytest.mark.parametrize("kind", SIDE_BY_SIDE)
def test_two_networks_that_fit_ask_for_a_part(kind, state, imported):
    make, first, second = SIDE_BY_SIDE[kind]
    saved = make(state, {key: value + 1 for key, value in state.items()})
    with pytest.raises(UsageError, match=r"holds 2 networks that fit mcnet: .*name one with --part") as error:
        imported(saved)
    assert all(name in str(error.value) for name in (first, second))
    assert torch.equal(imported(saved, first)["encoder.stem.weight"], state["encoder.stem.weight"])
    assert torch.equal(imported(saved, second)["encoder.stem.weight"], state["encoder.stem.weight"] + 1)


def test_a_part_that_is_no_or_two_parts_is_told(state, imported):
    saved = {"a": {"net": state}, "b": {"net": {key: value + 1 for key, value in state.items()}}}
    with pytest.raises(DataError, match="has no part 'c'; it has a, b"):
        imported(saved, "c")
    with pytest.raises(UsageError, match=r"--part net could be a\.net, b\.net"):
        imported(saved, "net")
    assert torch.equal(imported(saved, "b.net")["encoder.stem.weight"], state["encoder.stem.weight"] + 1)


@pytest.mark.parametrize("prefix", ["module.", "model."])
@pytest.mark.parametrize("first", [True, False])
def test_a_network_inside_another_is_not_chosen_in_silence(state, imported, prefix, first):
    inner, outer = within(prefix, state), {key: value + 1 for key, value in state.items()}
    with pytest.raises(RegbenchError) as error:
        imported(inner | outer if first else outer | inner)
    assert "both stand for one tensor" in str(error.value) or "holds 2 networks" in str(error.value)
    found = imported(inner | outer, prefix.rstrip("."))
    assert torch.equal(found["encoder.stem.weight"], state["encoder.stem.weight"])


def test_what_does_not_fit_is_refused(state, imported):
    with pytest.raises(DataError, match="Missing key"):
        imported({key: value for key, value in state.items() if key != "encoder.stem.weight"})
    with pytest.raises(DataError, match="Unexpected key"):
        imported(state | {"head.weight": torch.zeros(3)})
    with pytest.raises(DataError, match="size mismatch"):
        imported(state | {"encoder.stem.weight": torch.zeros(3)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, state, imported, network, tmp_path):
    state["encoder.stem.weight"].view(-1)[0] = value
    with pytest.raises(DataError, match=r"hold NaN or infinity, such as encoder\.stem\.weight"):
        imported({"state_dict": state})
    broken = registrator_alone(configure("registrator", "mcnet", SMALL))
    broken.load_state_dict(state)
    write_weights(tmp_path / "nan.safetensors", {"registrator": broken}, component="mcnet")
    with pytest.raises(DataError, match="hold NaN or infinity"):
        load_weights(broken, tmp_path / "nan.safetensors")


def test_double_weights_beyond_fp32_are_refused(state, imported):
    state = {key: value.double() if value.is_floating_point() else value for key, value in state.items()}
    state["encoder.stem.weight"].view(-1)[0] = 1e300
    with pytest.raises(DataError, match="hold NaN or infinity"):
        imported(state)


def test_the_published_file_is_not_overwritten(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="is the published file itself"):
        import_checkpoint("mcnet", tmp_path / "w.pth", tmp_path / "w.pth", SMALL)


# --- no code, and other kinds of files


class Runs:
    """A pickle of it runs a command."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("function", "argument"), [(os.mkdir, "ran"), (eval, "__import__('os').mkdir('ran')"), (exec, "open('ran', 'w')")]
)
def test_no_code_of_a_file_is_run(state, imported, tmp_path, monkeypatch, function, argument, zipped):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="can run code when it is loaded; it is not read") as error:
        imported({"state_dict": state, "x": Runs(function, argument)}, _use_new_zipfile_serialization=zipped)
    assert "weights_only" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def zip_of(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("w.pth")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def torch_bytes(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def script_bytes():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


OTHERS = {
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 4\n", "is a Git LFS pointer"),
    "html": (lambda: b"\n<!DOCTYPE html><html><title>Quota exceeded</title></html>", "is an HTML page"),
    "html with a declaration": (lambda: b"<?xml version='1.0'?><html></html>", "is an HTML page"),
    "text": (lambda: b"404: Not Found", "is a text file that begins with '404: Not Found'"),
    "json": (lambda: b'{"message": "Bad credentials"}', "is a text file"),
    "empty": (lambda: b"", "is empty"),
    "gzip": (lambda: gzip.compress(b"x"), "is a gzip archive; unpack it first"),
    "zip": (lambda: zip_of("mcnet.pth", b"x"), r"is a zip archive that holds mcnet\.pth; unpack it first"),
    "tar": (lambda: tar_of(b"x"), "is a tar archive"),
    "npz": (lambda: zip_of("a.npy", b"x"), "is an archive of NumPy arrays"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
    "pickle": (lambda: pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
    "torchscript": (script_bytes, "is a TorchScript program"),
    "cut zip": (lambda: torch_bytes({"a": torch.zeros(999)})[:-50], "truncated"),
    "cut legacy": (lambda: torch_bytes({"a": torch.zeros(9)}, _use_new_zipfile_serialization=False)[:200], "truncated"),
    "cut in the middle": (lambda: torch_bytes({"a": torch.zeros(9)})[:40], "truncated"),
    "noise": (lambda: bytes(range(128, 256)) * 3, "truncated or damaged"),
    "no tensors": (lambda: torch_bytes({"a": 1}), "holds no dictionary of tensors"),
    "a tensor": (lambda: torch_bytes(torch.zeros(3)), "holds no dictionary of tensors"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kind", OTHERS)
def test_files_of_other_kinds_are_named(kind, tmp_path):
    make, said = OTHERS[kind]
    (tmp_path / "w.pth").write_bytes(make())
    with pytest.raises(DataError, match=said) as error:
        import_checkpoint("mcnet", tmp_path / "w.pth", tmp_path / "w.safetensors", SMALL)
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)
    assert "w.pth" in str(error.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kind", ["lfs", "html", "cut zip", "torchscript", "zip"])
def test_as_weights_they_are_named_too(kind, tmp_path, network):
    (tmp_path / "w.safetensors").write_bytes(OTHERS[kind][0]())
    with pytest.raises(DataError, match=OTHERS[kind][1]):
        load_weights(network, tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.ckpt", "w.safetensors"])
def test_a_checkpoint_as_weights_says_what_to_do(name, state, network, tmp_path):
    torch.save(state, tmp_path / name)
    with pytest.raises(DataError, match=r"is a PyTorch checkpoint.*regbench weights import NAME"):
        load_weights(network, tmp_path / name)
    save_file(state, tmp_path / name)
    with pytest.raises(DataError, match=r"is no weights file of regbench.*regbench weights import NAME"):
        load_weights(network, tmp_path / name)


# --- without a network that says what fits


def test_the_largest_dictionary_is_read_and_twins_are_told(tmp_path):
    large = {f"layer{i}.weight": torch.full((2,), float(i)) for i in range(5)}
    torch.save({"state_dict": large, "other": {"x": torch.zeros(1)}, "epoch": torch.tensor(1)}, tmp_path / "a.pth")
    assert read_published(tmp_path / "a.pth").keys() == large.keys()
    twin = within("module.", {key: value + 1 for key, value in large.items()}) | {"n_averaged": torch.tensor(2)}
    torch.save({"model": large, "ema": twin}, tmp_path / "b.pth")
    with pytest.raises(DataError, match="networks of one form side by side, 'ema' and 'model'"):
        read_published(tmp_path / "b.pth")
    assert read_published(tmp_path / "b.pth", "model").keys() == large.keys()
