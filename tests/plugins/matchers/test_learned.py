"""Learned matchers without their weights: what they say, what fills them, and their geometry.

The networks are random and their attention adds nothing, so that they match equal descriptors: enough to prove that
points go in and come out in the project's coordinates.
"""

import math
import re

import kornia.core.download
import numpy as np
import pytest
import torch
from torch import nn

from regbench import PairInfo
from regbench.errors import DataError
from regbench.ops import to_grey
from regbench.plugins.registry import registry
from regbench_matchers.blocks.features import build, extract
from regbench_matchers.blocks.superpoint import SuperPoint, sample, suppress
from regbench_matchers.lightglue import LightGlue, LightGlueConfig
from regbench_matchers.loftr import LoFTR, LoFTRConfig
from regbench_matchers.superpoint_superglue import SuperPointSuperGlue, SuperPointSuperGlueConfig
from regbench_matchers.superpoint_superglue.superglue import SuperGlue, transport
from tests.plugins.matchers.scenes import nothing, textured


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of published files, and a network that must not be asked."""

    def refuse(*args, **kwargs):
        raise AssertionError("a download was attempted")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(kornia.core.download, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    return tmp_path / "hub" / "checkpoints"


def zero(layer):
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def scaled_identity(layer, gain):
    with torch.no_grad():
        layer.weight.copy_(gain * torch.eye(layer.weight.shape[0]).view_as(layer.weight))
        layer.bias.zero_()


def descriptive(network, layer):
    """Random weights whose descriptors differ from place to place: no part of them is common to all."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    means = []
    hook = layer.register_forward_hook(lambda _, __, out: means.append(out.mean(dim=(0, 2, 3))))
    with torch.no_grad():
        network(to_grey(textured(9, 128)))
    hook.remove()
    layer.bias.data.copy_(-means[0])


class Patches(nn.Module):
    """In place of LoFTR's backbone: random projections of patches centred where its cells lie."""

    def __init__(self):
        super().__init__()
        self.coarse = nn.Conv2d(1, 256, 15, stride=8, padding=7, bias=False)
        self.fine = nn.Conv2d(1, 128, 5, stride=2, padding=2, bias=False)
        for layer in (self.coarse, self.fine):
            layer.weight.data -= layer.weight.mean(dim=(-1, -2), keepdim=True)

    def forward(self, image):
        return tuple(30 * nn.functional.normalize(layer(image), dim=1) for layer in (self.coarse, self.fine))


def lightglue(features, **settings):
    matcher = LightGlue(LightGlueConfig(features=features, count=256, confidence=0.0, **settings), PairInfo())
    for layer in matcher.matcher.transformers:
        zero(layer.self_attn.ffn[-1])
        zero(layer.cross_attn.ffn[-1])
    for head in matcher.matcher.log_assignment:
        scaled_identity(head.final_proj, 20.0)
        zero(head.matchability)
    if features == "superpoint":
        descriptive(matcher.extractor, matcher.extractor.descriptor[1])
    return ready(matcher)


def superglue(**settings):
    config = SuperPointSuperGlueConfig(count=256, confidence=0.0, **settings)
    matcher = SuperPointSuperGlue(config, PairInfo())
    for layer in matcher.matcher.layers:
        zero(layer.mlp[-1])
    zero(matcher.matcher.position[-1])
    scaled_identity(matcher.matcher.project, 30.0)
    descriptive(matcher.extractor, matcher.extractor.descriptor[1])
    return ready(matcher)


def loftr(**settings):
    matcher = LoFTR(LoFTRConfig(**settings), PairInfo())
    for layer in (*matcher.network.loftr_coarse.layers, *matcher.network.loftr_fine.layers):
        zero(layer.norm2)
    matcher.network.pos_encoding = nn.Identity()
    matcher.network.backbone = Patches()
    return ready(matcher)


def ready(matcher):
    matcher._missing = None  # as if weights had been found
    return matcher.eval()


# Shifts a network without training is equivariant to: multiples of its stride.
MADE = {
    "lightglue-disk": (lambda **s: lightglue("disk", **s), (16, -32)),
    "lightglue-sift": (lambda **s: lightglue("sift", **s), (9, -14)),
    "lightglue-superpoint": (lambda **s: lightglue("superpoint", **s), (16, -8)),
    "superpoint-superglue": (superglue, (16, -8)),
    "loftr": (loftr, (16, -8)),
}
every = pytest.mark.parametrize("name", MADE)


def made(name, **settings):
    torch.manual_seed(0)
    return MADE[name][0](**settings)


def shifted(shift, seed=0, side=160):
    """Windows of one image, target(p + shift) = source(p), nothing interpolated."""
    image = textured(seed, side + 64)
    x, y = shift
    return image[..., 32 : 32 + side, 32 : 32 + side], image[..., 32 - y : 32 - y + side, 32 - x : 32 - x + side]


@every
def test_known_shift_is_found_in_pixels_x_then_y(name):
    shift = MADE[name][1]
    found = made(name).register(*shifted(shift))
    assert found.ok.all()
    assert (found.displacement - torch.tensor(shift)).abs().max() < (2.5 if "disk" in name else 1)


@every
def test_points_lie_where_the_images_agree(name):
    shift = MADE[name][1]
    with torch.no_grad():
        source, target = made(name).correspondences(*shifted(shift))
    assert source.shape == target.shape
    assert source.shape[1] == 2
    agree = (target - source - torch.tensor(shift)).abs().amax(dim=1) < 1
    assert agree.sum() >= 10
    assert source.min() >= -0.5
    assert source.max() <= 159.5


@every
def test_enlarged_images_give_points_of_the_images_given(name):
    if name == "lightglue-disk":
        pytest.skip("without training DISK is not equivariant enough to judge an enlarged image")
    shift = (16, -8)
    found = made(name, upscale=2.0).register(*shifted(shift, side=96))
    assert found.ok.all()
    assert (found.displacement - torch.tensor(shift)).abs().max() < 1


@every
def test_pairs_are_independent_and_repeatable(name):
    matcher, shift = made(name), MADE[name][1]
    pairs = [shifted(shift, seed, 128) for seed in (0, 1)]
    source, target = (torch.cat([p[k] for p in pairs]) for k in (0, 1))
    together = matcher.register(source, target).displacement
    alone = torch.cat([matcher.register(source[i : i + 1], target[i : i + 1]).displacement for i in (1, 0)])
    assert torch.equal(alone.flip(0), together)


@every
def test_blank_images_fail_and_training_mode_does_not_reach_the_network(name):
    matcher = made(name).train()
    assert not any(module.training for child in matcher.children() for module in child.modules())
    flat, textured_ = nothing()["flat"][0], nothing()["one flat"][0]
    assert not matcher.register(flat, flat).ok.any()
    assert not matcher.register(textured_, flat).ok.any()


@every
def test_without_weights_it_can_be_built_and_says_what_to_fetch(name, cache):
    matcher = made(name)
    fresh = type(matcher)(matcher.config, PairInfo())
    with pytest.raises(DataError) as error:
        fresh.register(*shifted((0, 0), side=64))
    message = str(error.value)
    assert fresh.published()[0].names[0] in message
    assert str(cache) in message
    assert "\n" not in message


@every
def test_a_named_place_without_the_files_is_refused_at_once(name, tmp_path):
    config = made(name).config.model_copy(update={"weights": str(tmp_path)})
    with pytest.raises(DataError, match=str(tmp_path)):
        type(made(name))(config, PairInfo())


@every
def test_weights_of_the_whole_matcher_make_it_usable(name):
    matcher = made(name)
    fresh = type(matcher)(matcher.config, PairInfo())
    if name == "loftr":
        fresh.network.backbone = Patches()
        fresh.network.pos_encoding = nn.Identity()
    fresh.load_state_dict(matcher.state_dict())
    pair = shifted(MADE[name][1], side=128)
    assert torch.equal(fresh.eval().register(*pair).displacement, matcher.register(*pair).displacement)


def keys_of(*layers, norm=False):
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked") if norm else ("weight", "bias")
    return [f"{layer}.{part}" for layer in layers for part in parts]


def published_keys():
    """The keys of the authors' files."""
    glue = ["bin_score", *keys_of("final_proj")]
    glue += keys_of(*(f"kenc.encoder.{i}" for i in (0, 3, 6, 9, 12)))
    glue += keys_of(*(f"kenc.encoder.{i}" for i in (1, 4, 7, 10)), norm=True)
    for n in range(18):
        layer = f"gnn.layers.{n}"
        glue += keys_of(*(f"{layer}.attn.{k}" for k in ("merge", "proj.0", "proj.1", "proj.2")))
        glue += keys_of(f"{layer}.mlp.0", f"{layer}.mlp.3") + keys_of(f"{layer}.mlp.1", norm=True)
    point = keys_of(*(f"conv{n}{ab}" for n in (1, 2, 3, 4, "P", "D") for ab in "ab"))
    return {"superpoint_v1.pth": point, "superglue_outdoor.pth": glue}


def test_published_files_of_superpoint_and_superglue_fill_both_networks(tmp_path):
    donor = made("superpoint-superglue")
    for file in donor.published():
        ours = donor.get_submodule(file.submodule).state_dict()
        theirs = {}
        for key in published_keys()[file.names[0]]:
            renamed = key
            for pattern, replacement in file.keys:
                renamed = re.sub(pattern, replacement, renamed)
            theirs[key] = ours.pop(renamed)
        assert not ours, f"{file.names[0]} leaves {sorted(ours)[:3]}"
        torch.save(theirs, tmp_path / file.names[0])
    config = donor.config.model_copy(update={"weights": str(tmp_path)})
    torch.manual_seed(5)
    filled = SuperPointSuperGlue(config, PairInfo())
    pair = shifted((16, -8), side=128)
    assert torch.equal(filled.eval().register(*pair).displacement, donor.register(*pair).displacement)
    (tmp_path / "superglue_outdoor.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match=r"superglue_outdoor\.pth"):
        SuperPointSuperGlue(config, PairInfo())
    torch.save({"conv1a.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "superpoint_v1.pth")
    with pytest.raises(DataError, match="missing"):
        SuperPointSuperGlue(config, PairInfo())


def test_published_files_of_loftr_and_lightglue_fill_their_networks(cache):
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    donor = LoFTR(LoFTRConfig(), PairInfo())
    theirs = {f"matcher.{key}": value for key, value in donor.network.state_dict().items()}
    torch.save({"state_dict": theirs}, cache / "loftr_outdoor.ckpt")
    filled = LoFTR(LoFTRConfig(), PairInfo())
    assert filled._missing is None
    assert all(torch.equal(a, b) for a, b in zip(donor.parameters(), filled.parameters(), strict=True))
    donor_glue = LightGlue(LightGlueConfig(features="sift"), PairInfo())
    theirs = {}
    for key, value in donor_glue.matcher.state_dict().items():
        parts = key.split(".")
        if parts[0] == "transformers":
            parts = [parts[2], parts[1], *parts[3:]]
        if key != "confidence_thresholds":  # derived: the published file has none
            theirs[".".join(parts)] = value
    torch.save(theirs, cache / "sift_lightglue_v0-1_arxiv-pth")  # the name kornia keeps it under
    filled_glue = LightGlue(LightGlueConfig(features="sift"), PairInfo())
    assert filled_glue._missing is None
    assert all(torch.equal(a, b) for a, b in zip(donor_glue.parameters(), filled_glue.parameters(), strict=True))


def test_superpoint_reads_its_classes_row_by_row():
    network = SuperPoint(count=50).eval()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    network.detector[1].bias.data[3 * 8 + 5] = 9.0  # row 3, column 5 of every cell
    with torch.no_grad():
        points, descriptors, scores = network(torch.rand(1, 1, 40, 48))
    assert descriptors.shape == (1, points.shape[1], 256)
    assert (points[0, :, 0] % 8 == 5).all()
    assert (points[0, :, 1] % 8 == 3).all()
    assert (scores > 0.9).all()
    assert {tuple(p) for p in points[0].int().tolist()} == {(x, y) for x in range(5, 44, 8) for y in range(11, 36, 8)}


def test_descriptors_are_read_between_cells():
    ramp = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij"))[None] + 1
    found = sample(ramp, torch.tensor([[3.5, 3.5], [47.0, 39.0], [25.25, 3.5]]))
    expected = torch.tensor([[1.0, 1.0], [5.0, 6.0], [1.0, 3.5]])
    torch.testing.assert_close(found, nn.functional.normalize(expected, dim=1), atol=1e-5, rtol=0)


def test_suppression_keeps_no_two_neighbours_and_every_maximum():
    heat = torch.rand(40, 40, generator=torch.Generator().manual_seed(0))
    kept = suppress(heat, 3)
    y, x = kept.nonzero(as_tuple=True)
    away = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs()) + 99 * torch.eye(len(y))
    assert away.min() > 3
    for i in range(40):
        for j in range(40):
            if heat[i, j] == heat[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4].max():
                assert kept[i, j] == heat[i, j]


def test_transport_is_a_partial_assignment_and_agrees_with_scaling():
    generator = torch.Generator().manual_seed(0)
    affinity = torch.randn(1, 5, 7, generator=generator)
    found = transport(affinity, torch.tensor(0.3), 200)[0].exp().double()
    assert (found[:5].sum(dim=1) - 1).abs().max() < 1e-3
    assert (found[:, :7].sum(dim=0) - 1).abs().max() < 1e-3
    full = np.full((6, 8), math.exp(0.3))
    full[:5, :7] = affinity[0].double().exp().numpy()
    rows, columns, u, v = np.array([1.0] * 5 + [7]), np.array([1.0] * 7 + [5]), np.ones(6), np.ones(8)
    for _ in range(200):
        u = rows / (full @ v)
        v = columns / (full.T @ u)
    np.testing.assert_allclose(found.numpy(), u[:, None] * full * v, atol=1e-4)


def test_superglue_attends_as_its_formula_says():
    torch.manual_seed(0)
    layer = SuperGlue(width=8, depth=1, heads=2).layers[0].double().eval()
    x, source = torch.randn(1, 8, 3).double(), torch.randn(1, 8, 5).double()
    query, key, value = (
        (m.weight[:, :, 0] @ y[0] + m.bias[:, None]).detach()
        for m, y in ((layer.query, x), (layer.key, source), (layer.value, source))
    )
    message = torch.zeros(8, 3).double()
    for head in range(2):
        rows = list(range(head, 8, 2))  # channels of a head lie interleaved in the published weights
        for i in range(3):
            weight = torch.softmax((query[rows, i] @ key[rows]) / 2.0, dim=0)
            message[rows, i] = value[rows] @ weight
    merged = layer.merge.weight[:, :, 0] @ message + layer.merge.bias[:, None]
    expected = layer.mlp(torch.cat([x[0], merged])[None])
    torch.testing.assert_close(layer(x, source), expected)


def test_parameter_counts_are_the_published_ones():
    count = {type(m).__name__: sum(p.numel() for p in m.parameters()) for m in (SuperPoint(), SuperGlue())}
    assert count == {"SuperPoint": 1_300_865, "SuperGlue": 12_023_297}


def test_all_are_registered():
    names = {c.name for c in registry().all("registrator")}
    assert {"loftr", "lightglue", "superpoint-superglue"} <= names


def test_points_of_aliked_move_with_the_image():
    torch.manual_seed(0)
    network, shift = build("aliked", 256).eval(), torch.tensor([32.0, -32.0])
    with torch.no_grad():
        a, b = (extract(network, image, 256) for image in shifted((32, -32)))
    assert a.points.shape == (1, 256, 2)
    assert a.descriptors.shape == (1, 256, 128)
    shares = [
        ((a.points[0][:, None] + sign * shift - b.points[0]).abs().amax(-1).amin(1) < 0.1).float().mean()
        for sign in (1, -1)
    ]
    assert shares[0] > 0.2
    assert shares[1] < 0.05
