from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from regbench import PairInfo, geometry
from regbench.api.types import Batch, Pair, SelfPair
from regbench_translators.mimgcd import MIMGCD, MIMGCDConfig
from regbench_translators.mimgcd.diffusion import Schedule
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
