"""ONNX files are the networks they were made of, in onnxruntime, at every batch size."""

from __future__ import annotations

import sys

import pytest
import torch

from regbench import PairInfo, Registration, Registrator
from regbench.api.config import ComponentConfig
from regbench.errors import RegbenchError, UsageError
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench.tools import onnx_export as export
from regbench.tools.onnx_export import export_network, export_onnx, largest_difference


def network(name: str) -> Registrator:
    return registrator_alone(configure("registrator", name, {"preset": "tiny"}), PairInfo(64, 16))


class Mean(Registrator):
    """Moves every corner by a learned factor of the difference of mean brightness; fails on brighter targets."""

    def __init__(self):
        super().__init__(ComponentConfig(), PairInfo(16, 4))
        self.factor = torch.nn.Parameter(torch.arange(1.0, 9.0).reshape(4, 2))

    def forward(self, source, target):
        brighter = source.mean((1, 2, 3)) - target.mean((1, 2, 3))
        return Registration((brighter[:, None, None] * self.factor)[None], (16, 16), brighter > 0)


@pytest.fixture(scope="module")
def mean_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "mean.onnx"
    return file, export_network(Mean(), "mean", file, {"component": "mean"})


def test_the_file_says_what_it_is(mean_file):
    import onnx

    file, done = mean_file
    assert (done.parameters, done.dynamic) == (8, True)
    model = onnx.load(file)
    onnx.checker.check_model(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["patch"] == "16"
    assert facts["component"] == "mean"
    assert [i.name for i in model.graph.input] == ["source", "target"]
    assert [o.name for o in model.graph.output] == ["displacement", "ok"]
    assert not file.with_name("mean.onnx.part").exists()


def test_displacement_and_ok_come_out_at_any_batch_size(mean_file):
    import onnxruntime

    session = onnxruntime.InferenceSession(mean_file[0], providers=["CPUExecutionProvider"])
    bright, dark = (torch.full((5, 3, 16, 16), value) for value in (0.75, 0.25))
    bright[3], dark[3] = 0.25, 0.75
    displacement, ok = session.run(None, {"source": bright.numpy(), "target": dark.numpy()})
    expected = 0.5 * torch.arange(1.0, 9.0).reshape(1, 4, 2).repeat(5, 1, 1)
    expected[3] *= -1
    torch.testing.assert_close(torch.from_numpy(displacement), expected)
    assert ok.tolist() == [True, True, True, False, True]


def test_another_network_is_noticed(mean_file):
    other = Mean()
    other.factor.data += 1
    assert largest_difference(export._OfTensors(other), mean_file[0], 16, (2,)) > 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "mcnet",
        "ihn1",
        "mhn",
        "dhn",
    ],
)
def test_networks_are_themselves_in_onnxruntime(name, tmp_path):
    done = export_network(network(name), name, tmp_path / "network.onnx")
    assert done.dynamic
    assert done.difference < 1e-3  # px, on noise, the least friendly of images


def test_a_matcher_is_refused(tmp_path):
    with pytest.raises(UsageError, match="sift: is no network, so there is nothing to export"):
        export_onnx("sift", tmp_path / "sift.onnx")


def test_a_name_without_weights_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has to be trained"):
        export_onnx("mcnet", tmp_path / "mcnet.onnx")


def test_what_the_exporter_cannot_express_is_one_line(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise ValueError("first line\nsecond line")

    monkeypatch.setattr(torch.onnx, "export", broken)
    with pytest.raises(RegbenchError, match=r"^mean: torch's ONNX exporter cannot express it: first line$"):
        export_network(Mean(), "mean", tmp_path / "mean.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RegbenchError, match="onnxruntime cannot be imported"):
        export_onnx("sift", tmp_path / "sift.onnx")


def test_the_file_says_which_values_are_black_and_white(tmp_path, monkeypatch):
    """As the weights or the run do that it was made of."""
    import onnx

    from regbench.runs.execute import execute
    from regbench.runs.plan import Request, make_plan
    from regbench.tools.onnx_export import export_onnx

    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))
    small = {"train": 3, "test": 3, "size": 128, "range_a": "10..200"}
    sets = {"dataset": small, "strategy": {"steps": 1}, "protocol": {"source": "B"}}
    plan = make_plan(Request("mcnet", "supervised", budget="smoke", device="cpu", out=tmp_path, sets=sets))
    execute(plan)
    about = {"settings": {"registrator": {"preset": "smoke"}, "protocol": {"patch": 64, "rho": 16}}}
    for what, options in ((str(plan.folder), {}), ("mcnet", about | {"weights": plan.folder / "weights.safetensors"})):
        export_onnx(what, tmp_path / "net.onnx", **options)
        facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "net.onnx").metadata_props}
        assert (facts["range_source"], facts["range_target"]) == ("0..255 of uint8", "10..200 of uint8")
