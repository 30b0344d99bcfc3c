from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from regbench import PairInfo, geometry
from regbench.api.types import Batch, Pair, SelfPair
from regbench.ops import maximum_index_map
from regbench.results.schema import Component
from regbench.runs.finished import _configured
from regbench_translators.mimgcd import MIMGCD, MIMGCDConfig
from regbench_translators.mimgcd.diffusion import Schedule
from regbench_translators.mimgcd.encoder import MIMEncoder
from regbench_translators.mimgcd.norm import group_norm
from regbench_translators.mimgcd.translator import eroded
from regbench_translators.mimgcd.unet import UNet

INFO = PairInfo(64, 16, 3, 1, "optical", "sar")


def tiny(**settings) -> MIMGCD:
    torch.manual_seed(0)
    return MIMGCD(MIMGCDConfig(**(dict(MIMGCDConfig.presets["tiny"]) | settings)), INFO)


@pytest.mark.parametrize(
    ("base", "multipliers", "blocks", "millions"),
    [(64, (1, 2, 3, 4), 2, 22.29), (32, (1, 2, 4, 4), 2, 6.60), (32, (1, 2, 4, 4), 1, 4.50)],
)
def test_unet_has_the_size_of_an_adm_unet(base, multipliers, blocks, millions):
    with torch.device("meta"):
        network = UNet(3, 1, base, multipliers, blocks)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.02)


def groups(network: torch.nn.Module) -> list[tuple[int, int]]:
    """Channels and groups of every group norm."""
    return [(m.num_channels, m.num_groups) for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]


@pytest.mark.parametrize("preset", ["small", "hour", "quick", "smoke", "tiny"])
def test_narrow_networks_have_no_group_of_fewer_than_four_channels(preset):
    c = MIMGCDConfig(**MIMGCDConfig.presets[preset])
    with torch.device("meta"):
        found = groups(MIMGCD(c, INFO))
    assert found
    assert all(channels // number >= 4 for channels, number in found)
    assert {c.base // number for channels, number in found if channels == c.base} == {4}


def test_published_networks_keep_their_groups():
    with torch.device("meta"):
        wide, encoder = UNet(3, 1, 64, (1, 2, 3, 4), 2), MIMEncoder()
    assert {number for _, number in groups(wide)} == {32}
    assert {number for _, number in groups(encoder)} == {8}


@pytest.mark.parametrize(("channels", "number"), [(8, 2), (12, 3), (16, 4), (24, 6), (32, 8), (48, 12), (64, 16),
                                                  (96, 24), (128, 32), (160, 32), (10, 2), (6, 1), (3, 1)])  # fmt: skip
def test_groups_divide_the_channels(channels, number):
    assert group_norm(channels, 32, 4).num_groups == number


def test_groups_of_several_channels_keep_the_brightness_of_a_map():
    maps = torch.rand(1, 16, 8, 8)
    bright = maps.clone()
    bright[:, 0] += 3

    def change(least: int) -> torch.Tensor:
        norm = group_norm(16, 32, least)
        return (norm(bright) - norm(maps)).mean(dim=(-2, -1))[0].detach()

    assert change(1).abs().max() < 1e-5
    assert change(4)[0] > 1


def test_runs_made_before_open_with_their_groups():
    recorded = MIMGCDConfig(**MIMGCDConfig.presets["tiny"]).model_dump()
    del recorded["norm_group"]
    described = Component(name="mimgcd", distribution="x", version="0", config=recorded)
    chosen = _configured("translator", described, Path("run"))
    assert chosen is not None
    assert chosen.config.norm_group == 1
    with torch.device("meta"):
        old = chosen.component.load()(chosen.config, INFO)
    assert {number for channels, number in groups(old.unet) if channels == 8} == {8}
    kept = Component(name="mimgcd", distribution="x", version="0", config=recorded | {"norm_group": 4})
    assert _configured("translator", kept, Path("run")).config.norm_group == 4


def test_tweedie_inverts_the_forward_process():
    schedule = Schedule()
    x, noise = torch.randn(5, 1, 8, 8), torch.randn(5, 1, 8, 8)
    step = torch.tensor([0, 100, 300, 450, 599])
    noisy = schedule.noised(x, noise, step)
    torch.testing.assert_close(schedule.clean(noisy, noise, step, "eps"), x, atol=1e-4, rtol=1e-4)
    keep, add = schedule._factors(step)
    v = keep * noise - add * x
    torch.testing.assert_close(schedule.clean(noisy, v, step, "v"), x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(schedule.noise(noisy, v, step, "v"), noise, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("step", "gain"), [(300, 1.24), (450, 2.6), (600, 6.17), (999, 157)])
def test_error_gain_of_the_schedule(step, gain):
    abar = Schedule().abar[step]
    assert float(((1 - abar) / abar).sqrt()) == pytest.approx(gain, rel=0.03)


def batch(network: MIMGCD, mask: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image, warped = (torch.rand(2, 1, 64, 64, generator=generator).expand(-1, 3, -1, -1) for _ in range(2))
    made = Batch(2, 0, generator)
    made.views["self_target"] = SelfPair(image, warped, torch.zeros(2, 4, 2), torch.full((2, 1, 64, 64), mask))
    return made


def test_losses_are_those_of_the_paper():
    network = tiny()
    found = network._diffusion_loss(batch(network), {}, map_of=network._handcrafted)
    # The head starts at zero: eps is predicted as 0, so L_n is the mean absolute normal deviate.
    assert float(found["l_n"].detach()) == pytest.approx((2 / torch.pi) ** 0.5, rel=0.03)
    torch.testing.assert_close(found["loss"], found["l_n"] + found["l_t"])
    masked = network._diffusion_loss(batch(network, 0.0), {}, map_of=network._handcrafted)
    assert float(masked["l_t"].detach()) == 0


def test_translation_is_one_pass_in_the_source_geometry_slot():
    network = tiny(t2=450)
    source, target = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64).expand(-1, 3, -1, -1)
    seen = []
    network.unet.register_forward_hook(lambda m, args, out: seen.append(args))
    out = network.translate(source, target, generator=torch.Generator().manual_seed(0))
    assert out.shape == source.shape
    assert 0 <= out.min() <= out.max() <= 1
    assert len(seen) == 1
    x, step = seen[0]
    torch.testing.assert_close(x[:, 1:2], 2 * target[:, :1] - 1)  # the clean reference
    torch.testing.assert_close(x[:, 2:3], network.source_map(source))
    assert (step == 450).all()


def smooth(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 1, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1).expand(-1, 3, -1, -1)


def test_reducing_keeps_the_place_of_every_pixel(monkeypatch):
    network, target = tiny(reduce=2), smooth(0)
    monkeypatch.setattr(network, "_redraw", lambda image, guide, noise, step: image)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # the rim of an enlarged image is constant
    error = (network.translate(smooth(1), target) - target)[inner].abs()
    moved = (target.roll(1, dims=-1) - target)[inner].abs()
    assert error.mean() < 0.3 * moved.mean()


class Same(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


@pytest.mark.parametrize("reduce", [1, 2])
def test_maps_are_moved_by_the_estimate_whatever_the_reduction(reduce, monkeypatch):
    network, source = tiny(reduce=reduce), smooth(0)
    displacement = torch.tensor([[6.0, 3], [2, -5], [-4, 4], [5, 5]]).expand(2, -1, -1)
    h = geometry.homography_from_displacement(displacement, (64, 64))
    made = Batch(2, 0, torch.Generator())
    made.views["pair"] = Pair(source, geometry.warp(source, h, padding="border"))
    # Maps that move exactly as pictures do, and a perfect encoder: only the place of things can be wrong.
    monkeypatch.setattr(network, "_handcrafted", lambda image: 2 * image[:, :1] - 1)
    network.target_encoder = Same()

    def loss(estimate: torch.Tensor) -> float:
        stage = network.aligned_stages(SimpleNamespace(modules={"translator": network}, precision="fp32"), 1,
                                       lambda source, target: estimate)[0]  # fmt: skip
        return float(stage.objectives[0].loss(made, {})["loss"])

    assert loss(h) < 0.25 * loss(torch.eye(3).expand(2, -1, -1))


@pytest.mark.parametrize(("mim", "known"), [("index", True), ("value", False)])
def test_index_maps_are_moved_without_making_indices_up(mim, known, monkeypatch):
    network, source = tiny(mim=mim), torch.rand(2, 3, 64, 64)
    stripes = (torch.arange(64) // 4 % 2 * 2 - 1).float().expand(2, 1, 64, 64)  # two indices, first and last
    monkeypatch.setattr(network, "_handcrafted", lambda image: stripes)
    seen = []
    warp = geometry.warp
    monkeypatch.setattr(geometry, "warp", lambda *a, **k: seen.append(warp(*a, **k)) or seen[-1])
    h = geometry.homography_from_displacement(torch.full((2, 4, 2), 2.3), (64, 64))
    made = Batch(2, 0, torch.Generator())
    made.views["pair"] = Pair(source, source)
    context = SimpleNamespace(modules={"translator": network}, precision="fp32")
    stage = network.aligned_stages(context, 1, lambda source, target: h)[0]
    stage.objectives[0].loss(made, {})
    assert set(seen[0].unique().tolist()) <= {-1.0, 1.0} if known else len(seen[0].unique()) > 2
    shift = seen[0][0, 0, 32, 8:40]
    assert torch.equal(shift.sign(), stripes[0, 0, 32, 6:38].sign()) or not known


def test_the_map_comes_from_the_bank_that_is_asked_for():
    image = smooth(3)
    bank = {"mim_scales": 2, "mim_orientations": 8, "mim_wavelength": 4.0, "mim_ratio": 2.1, "mim_bandwidth": 0.6}
    found = tiny(**bank)._handcrafted(image)
    torch.testing.assert_close(found, maximum_index_map(image, "value", 2, 8, 4.0, 2.1, 0.6))
    for name, value in bank.items():
        assert not torch.allclose(tiny()._handcrafted(image), tiny(**{name: value})._handcrafted(image), atol=1e-3)
    torch.testing.assert_close(tiny()._handcrafted(image), maximum_index_map(image))


@pytest.mark.parametrize(("mim", "maps"), [("value", 3), ("vector", 6)])
def test_a_map_of_each_channel(mim, maps):
    colours = torch.cat([smooth(seed)[:, :1] for seed in (1, 2, 3)], dim=1)
    network = tiny(mim=mim, mim_of="channels")
    found = network.source_map(colours)
    assert found.shape == (2, maps, 64, 64)
    each = [maximum_index_map(colours[:, i : i + 1], mim) for i in range(3)]
    torch.testing.assert_close(found, torch.cat(each, dim=1))
    grey = smooth(4)
    network.learned.fill_(1)
    network._read_flag()
    assert network.source_map(colours).shape == found.shape
    assert network.translate(colours, grey, generator=torch.Generator().manual_seed(0)).shape == colours.shape


def test_the_schedule_is_the_one_asked_for():
    schedule = tiny(noise_steps=200, beta_first=1e-3, beta_last=0.1, t1_high=199, t2_low=50, t2_high=99, t2=80).schedule
    beta = torch.linspace(1e-3, 0.1, 200, dtype=torch.float64)
    torch.testing.assert_close(schedule.abar, (1 - beta).cumprod(0).float())
    beta = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    torch.testing.assert_close(tiny().schedule.abar, (1 - beta).cumprod(0).float())


def test_grey_targets_are_one_channel_inside():
    assert tiny().unet.head.out_channels == 1
    colour = MIMGCD(MIMGCDConfig(**MIMGCDConfig.presets["tiny"]), PairInfo(64, 16, 1, 3))
    assert colour.unet.head.out_channels == 3


def test_the_learned_flag_is_saved_with_the_weights():
    first, second = tiny(), tiny()
    first.learned.fill_(1)
    second.load_state_dict(first.state_dict())
    source = torch.rand(1, 3, 64, 64)
    assert second._guided_by_encoder
    assert not torch.equal(second.source_map(source), tiny().source_map(source))


def test_erosion_takes_the_rim_of_holes_only():
    mask = torch.ones(1, 1, 9, 9)
    assert (eroded(mask, 2) == 1).all()
    mask[..., 4, 4] = 0
    assert float(eroded(mask, 2).sum()) == 81 - 25
    assert eroded(mask, 0) is mask


def test_bad_patches_and_ranges_are_named():
    with pytest.raises(ValueError, match="multiple of 8"):
        MIMGCD(MIMGCDConfig(), PairInfo(100, 16))
    with pytest.raises(ValueError, match="t2_low"):
        tiny(t2_low=500, t2_high=400)
    with pytest.raises(ValueError, match=r"t1_high=999 lies beyond the last step, 499 \(noise_steps=500\)"):
        tiny(noise_steps=500)
    with pytest.raises(ValueError, match=r"beta_last=0\.9 leave nothing of an image"):
        tiny(beta_last=0.9)
