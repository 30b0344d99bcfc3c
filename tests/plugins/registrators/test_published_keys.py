"""Published checkpoints: their names, written out here, find their place; each tensor the one it belongs to."""

import pytest
import torch
from click.testing import CliRunner

from regbench.cli.weights import command
from regbench.errors import DataError, UsageError
from regbench.tools.import_weights import import_checkpoint
from regbench.weights.files import read_tensors
from regbench.weights.published import read_published


class Checkpoint(dict):
    """Tensors under the names a released network gives them, each of values nobody else has."""

    def add(self, name, *shape):
        self[name] = torch.randn(shape, generator=torch.Generator().manual_seed(len(self)))

    def conv(self, name, inputs, outputs, side, bias=True):
        self.add(f"{name}.weight", outputs, inputs, side, side)
        if bias:
            self.add(f"{name}.bias", outputs)

    def norm(self, name, channels):
        self.add(f"{name}.weight", channels)
        self.add(f"{name}.bias", channels)

    def batch_norm(self, name, channels):
        self.norm(name, channels)
        self.add(f"{name}.running_mean", channels)
        self.add(f"{name}.running_var", channels)
        self[f"{name}.num_batches_tracked"] = torch.tensor(len(self))

    def residual(self, name, inputs, outputs):
        self.conv(f"{name}.conv1", inputs, outputs, 3)
        self.conv(f"{name}.conv2", outputs, outputs, 3)
        self.conv(f"{name}.downsample.0", inputs, outputs, 1)

    def cnn(self, name, inputs, width, pools):
        for i in range(pools):
            self.conv(f"{name}.layer{i + 1}.0", inputs if i == 0 else width, width, 3)
            self.norm(f"{name}.layer{i + 1}.1", width)
        self.conv(f"{name}.layer10.0", width, width, 3)
        self.norm(f"{name}.layer10.1", width)
        self.conv(f"{name}.layer10.3", width, 2, 1)


def ihn_encoder(name):
    state = Checkpoint()
    state.conv(f"{name}.conv1", 3, 64, 7)
    for layer, inputs, outputs in ((2, 64, 64), (3, 64, 96)):
        state.residual(f"{name}.layer{layer}.0", inputs, outputs)
        state.residual(f"{name}.layer{layer}.1", outputs, outputs)
    state.conv(f"{name}.conv2", 96, 256, 1)
    state.conv(f"{name}.conv3", 64, 256, 1)
    return state


def ihn(scales):
    state = ihn_encoder("fnet1")
    state.cnn("update_block_4.cnn", 164, 128, 4)
    if scales == 2:
        state.cnn("update_block_2.cnn", 164, 80, 5)
    return dict(state)


def ihn_lite():
    state = ihn_encoder("fnet")
    state.conv("update_block.in_conv", 164, 64, 1)
    for layers, count in (("same_layers", 2), ("down_layers", 4)):
        for i in range(count):
            state.conv(f"update_block.{layers}.{i}.0", 64, 64, 3)
            state.norm(f"update_block.{layers}.{i}.1", 64)
    state.conv("update_block.out_conv", 64, 2, 1)
    return dict(state)


def rhwf(scales):
    state = Checkpoint()
    state.conv("encoder.conv1", 3, 32, 3)
    for layer, inputs, outputs in ((1, 32, 56), (2, 56, 80)):
        state.residual(f"encoder.layer{layer}.0", inputs, outputs)
        state.residual(f"encoder.layer{layer}.1", outputs, outputs)
    state.conv("encoder.conv_1", 56, 96, 1)
    state.conv("encoder.conv_2", 80, 96, 1)
    state.conv("conv3.layer0.0", 130, 128, 3)
    for i in range(scales):
        for attention in ("slf_attn", "crs_attn"):
            for part in ("w_qs", "w_ks", "w_vs", "fc"):
                state.conv(f"transformer_{i}.{attention}.{part}", 96, 96, 1, bias=False)
            state.norm(f"transformer_{i}.{attention}.ln", 96)
        state.conv(f"transformer_{i}.pos_ffn.w_1", 96, 96, 1)
        state.conv(f"transformer_{i}.pos_ffn.w_2", 96, 96, 1)
        state.norm(f"transformer_{i}.pos_ffn.ln", 96)
        state.conv(f"conv1_{i}.layer0.0", (145, 81)[i], 128, 1)
        state.cnn(("update_block_4.cnn", "update_block_2.cnn")[i], 128, (80, 64)[i], (4, 5)[i])
    return dict(state)


def mhn():
    state = Checkpoint()
    for net, widths in (
        ("net2", (32, 64, 64, 128)),
        ("net1", (32, 64, 64, 128, 128)),
        ("net0", (32, 64, 64, 128, 128, 256)),
    ):
        inputs = 2
        for i, width in enumerate(widths):
            block = f"{net}.down{i}.maxpool_conv.1.double_conv" if i else f"{net}.inc.double_conv"
            for j, channels in ((0, inputs), (3, width)):
                state.conv(f"{block}.{j}", channels, width, 3)
                state.batch_norm(f"{block}.{j + 1}", width)
            inputs = width
        state.conv(f"{net}.out_layer.2", inputs, 8, 1)
    return dict(state)


def within(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def imported(name, saved, folder, **options):
    torch.save(saved, folder / "published.pth")
    count = import_checkpoint(name, folder / "published.pth", folder / "ours.safetensors", **options)
    tensors, metadata = read_tensors(folder / "ours.safetensors")
    assert metadata["range_source"] == metadata["range_target"] == "0..255 of uint8"
    return count, {key.removeprefix("module/registrator/"): value for key, value in tensors.items()}


CASES = {
    "ihn1": (lambda: ihn(1), 1_307_970, {
        "fnet1.layer2.1.conv2.weight": "encoder.levels.0.1.conv2.weight",
        "fnet1.layer3.1.downsample.0.bias": "encoder.levels.1.1.shortcut.bias",
        "update_block_4.cnn.layer3.0.weight": "decoders.0.layers.2.0.weight",
        "update_block_4.cnn.layer10.1.bias": "decoders.0.last.1.bias",
    }),
    "ihn": (lambda: within("module.", ihn(2)), 1_715_652, {
        "module.update_block_2.cnn.layer5.0.weight": "decoders.1.layers.4.0.weight",
        "module.update_block_2.cnn.layer10.3.weight": "decoders.1.head.weight",
    }),
    "ihn-lite": (ihn_lite, 760_066, {
        "update_block.same_layers.1.0.weight": "decoders.0.before.1.0.weight",
        "update_block.down_layers.1.0.weight": "decoders.0.layers.1.0.weight",
    }),
    "rhwf1": (lambda: rhwf(1), 930_114, {
        "transformer_0.slf_attn.w_ks.weight": "transformers.0.own.key.weight",
        "transformer_0.crs_attn.w_vs.weight": "transformers.0.cross.value.weight",
        "transformer_0.crs_attn.fc.weight": "transformers.0.cross.out.weight",
        "transformer_0.pos_ffn.w_2.weight": "transformers.0.feed_forward.reduce.weight",
    }),
    "rhwf": (lambda: {"net": rhwf(2), "step": 120000}, 1_292_868, {
        "transformer_1.slf_attn.ln.weight": "transformers.1.own.norm.weight",
        "update_block_2.cnn.layer4.0.weight": "decoders.1.layers.3.0.weight",
    }),
    "mhn": (mhn, 2_566_936, {
        "net0.down2.maxpool_conv.1.double_conv.3.weight": "levels.2.blocks.2.3.weight",
        "net1.down4.maxpool_conv.1.double_conv.1.running_var": "levels.1.blocks.4.1.running_var",
        "net2.out_layer.2.bias": "levels.0.head.bias",
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_published_name_finds_its_place(name, tmp_path):
    make, count, places = CASES[name]
    saved = make()
    found, ours = imported(name, saved, tmp_path)
    assert found == count
    state = saved.get("net", saved)
    for theirs, place in places.items():
        assert torch.equal(ours[place], state[theirs]), place


@pytest.mark.parametrize(("name", "make"), [("ihn-lite", ihn_lite), ("mhn", mhn)])
def test_estimator_is_taken_out_of_sshnet(name, make, tmp_path):
    teacher = within("homo_estimator.", make()) | {"modal_trans.conv.weight": torch.zeros(8, 3, 3, 3)}
    student = {key: value + 1 for key, value in within("homo_estimator.", make()).items()}
    saved = {"SSHNet": teacher, "SSHNet-D": student}
    key = {"ihn-lite": "decoders.0.head.weight", "mhn": "levels.0.head.weight"}[name]
    with pytest.raises(UsageError, match=r"SSHNet, SSHNet-D; name one with --part"):
        imported(name, saved, tmp_path)
    taken = [imported(name, saved, tmp_path, part=part)[1][key] for part in ("SSHNet", "SSHNet-D")]
    torch.testing.assert_close(taken[1], taken[0] + 1)


def test_part_that_is_not_there_is_named(tmp_path):
    torch.save({"SSHNet": mhn()}, tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"a\.pth: has no part 'student'; it has SSHNet"):
        read_published(tmp_path / "a.pth", "student")
    torch.save(mhn(), tmp_path / "b.pth")
    with pytest.raises(DataError, match="it has none"):
        read_published(tmp_path / "b.pth", "student")


def test_checkpoint_of_another_form_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no checkpoint of ihn1 at these settings"):
        imported("ihn1", ihn(2), tmp_path)
    with pytest.raises(DataError, match="is no checkpoint of rhwf1 at these settings"):
        imported("rhwf1", rhwf(2), tmp_path)


def test_command_line_imports_a_part_and_lists_who_can(tmp_path):
    torch.save({"SSHNet": {}, "SSHNet-D": within("homo_estimator.", ihn_lite())}, tmp_path / "a.pth")
    out = tmp_path / "w.safetensors"
    arguments = ["import", "ihn-lite", str(tmp_path / "a.pth"), "--out", str(out), "--part", "SSHNet-D"]
    found = CliRunner().invoke(command, arguments)
    assert found.exit_code == 0, found.output
    assert "760,066 parameters" in found.output
    listed = CliRunner().invoke(command, ["list"]).output
    names = {row.split()[0] for row in listed.splitlines()}
    assert {"ihn", "ihn1", "ihn-lite", "rhwf", "rhwf1", "mhn", "mcnet"} <= names
    assert "scpnet-net" not in names
