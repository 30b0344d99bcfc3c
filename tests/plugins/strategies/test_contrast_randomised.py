"""Random contrasts against closed forms and OpenCV, and the control that learns from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from regbench import PairInfo, Registration
from regbench.api.types import Batch, SelfPair
from regbench.distributed.batch import own, sharing_batches
from regbench.distributed.rank import Rank
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench.testing import parts
from regbench.testing.images import textured
from regbench_strategies.blocks.contrast import LEVELS, Contrast, blurred, curves, looked_up
from regbench_strategies.contrast_randomised import ContrastRandomised, ContrastRandomisedConfig, GreyFirst

SIZE = (32, 32)
NOTHING = dict.fromkeys((f"{step}_share" for step in ("curve", "blur", "gain", "speckle", "noise")), 0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(image: torch.Tensor, **settings) -> torch.Tensor:
    return Contrast(**settings).drawn(image, seeded())


def only(**settings) -> dict:
    return NOTHING | settings


@pytest.fixture(scope="module")
def images():
    return 0.2 + 0.5 * textured(64, SIZE)


@pytest.fixture(scope="module")
def grey(images):
    return images[:, :1].expand(-1, 3, -1, -1)


def correlation(a, b):
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


@pytest.mark.parametrize("channels", ["grey", "colour"])
def test_images_stay_images(images, channels):
    found = drawn(images, channels=channels)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert found.isfinite().all()
    assert 0 <= found.min() < 0.01
    assert 0.99 < found.max() <= 1
    assert found.std(dim=(1, 2, 3)).min() > 0.01  # something is left to see in every one


@pytest.mark.parametrize("image", [torch.zeros(4, 3, *SIZE), torch.full((4, 3, *SIZE), 0.3), torch.ones(4, 3, *SIZE)])
def test_an_image_of_one_grey_value_is_no_trouble(image):
    found = drawn(image)
    assert found.isfinite().all()
    assert 0 <= found.min() <= found.max() <= 1


def test_grey_contrasts_have_one_channel_and_colour_ones_have_three_but_for_a_share(images):
    assert torch.equal(*drawn(images)[:, :2].unbind(1))
    share = [
        float((found[:, 0] == found[:, 1]).all(-1).all(-1).float().mean())
        for found in (drawn(images, channels="colour", grey_share=s) for s in (0.0, 0.5, 1.0))
    ]
    assert share[0] == 0
    assert 0.3 < share[1] < 0.7
    assert share[2] == 1


def test_without_any_step_grey_values_are_stretched_rising_or_falling(grey):
    found = drawn(grey, **NOTHING)[:, :1]
    low, high = grey[:, :1].amin((2, 3), keepdim=True), grey[:, :1].amax((2, 3), keepdim=True)
    rising = (grey[:, :1] - low) / (high - low)
    is_rising = correlation(found, rising) > 0
    assert 0.3 < is_rising.float().mean() < 0.7
    expected = torch.where(is_rising.view(-1, 1, 1, 1), rising, 1 - rising)
    torch.testing.assert_close(found, expected, atol=0.6 / (LEVELS - 1), rtol=0)


def test_channels_are_mixed_by_shares_that_sum_to_one():
    image = torch.zeros(2000, 3, 1, 5)
    image[:, :, 0, 3] = 1  # and 0 beside it: the range that is stretched
    image[:, 0, 0, 0], image[:, 1, 0, 1], image[:, 2, 0, 2] = 1, 1, 1
    found = drawn(image, **NOTHING)[:, 0, 0]
    found = torch.where(found[:, 3:4] > 0.5, found, 1 - found)  # columns 0 to 2 show the shares of the channels
    torch.testing.assert_close(found[:, :3].sum(1), torch.ones(2000), atol=0.01, rtol=0)
    assert found[:, :3].mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert found[:, :3].var(0).tolist() == pytest.approx(
        [1 / 18] * 3, abs=0.01
    )  # of the uniform distribution on the triangle


def test_a_curve_passes_through_its_stretched_values():
    values = torch.rand(5, 2, 6, generator=seeded())
    found = curves(values)
    assert found.shape == (5, 2, LEVELS)
    assert found.amin(-1).abs().max() < 1e-6
    assert (found.amax(-1) - 1).abs().max() < 1e-6
    at = found[..., :: (LEVELS - 1) // 5]
    assert at.shape == values.shape
    assert correlation(at.flatten(0, 1), values.flatten(0, 1)).min() > 1 - 1e-5  # up to the stretch
    assert (found.diff(dim=-1).abs().amax(-1) < 0.05).all()  # smooth


def test_curves_are_not_monotone_but_of_two_values():
    steps = curves(torch.rand(200, 1, 6, generator=seeded())).diff(dim=-1)
    assert ((steps > 0).any(-1) & (steps < 0).any(-1)).float().mean() > 0.95
    line = torch.linspace(0, 1, LEVELS)
    found = curves(torch.tensor([[[0.2, 0.7]], [[0.9, 0.1]]]))
    torch.testing.assert_close(found[:, 0], torch.stack([line, 1 - line]), atol=1e-5, rtol=0)


def test_a_table_is_looked_up_over_the_range_of_each_channel():
    image = torch.tensor([[0.2, 0.3, 0.6], [10.0, 30.0, 20.0]]).view(1, 2, 1, 3)
    table = torch.stack([torch.arange(LEVELS), -torch.arange(LEVELS)])[None].float()
    assert looked_up(image, table).flatten().tolist() == [0, 64, 255, 0, -255, -128]


def test_a_contrast_changes_values_and_no_places(grey):
    coarse = (grey * 8).round() / 8
    found = drawn(coarse, **only(curve_share=1.0))
    for before, after in zip(coarse[:, 0], found[:, 0], strict=True):
        for value in before.unique():
            assert after[before == value].unique().numel() == 1


def test_the_blur_is_opencvs(images):
    deviation = torch.linspace(0, 2, 64).view(-1, 1, 1, 1)
    found = blurred(images, deviation, 6)
    assert torch.equal(found[0], images[0])
    for image, sigma, mine in zip(images[1:], deviation.flatten()[1:], found[1:], strict=True):
        oracle = cv2.GaussianBlur(
            image.permute(1, 2, 0).numpy(), (13, 13), float(sigma), borderType=cv2.BORDER_REFLECT_101
        )
        np.testing.assert_allclose(mine.permute(1, 2, 0).numpy(), oracle, atol=1e-5)


def flat(count: int = 256) -> torch.Tensor:
    """Grey 0.5 after the stretch, but for two pixels that span the range."""
    image = torch.full((count, 3, *SIZE), 0.5)
    image[..., 0, 0], image[..., 0, 1] = 0, 1
    return image


def deviations(settings) -> torch.Tensor:
    return drawn(flat(), **only(**settings))[:, 0, 1:].std(dim=(1, 2))


@pytest.mark.parametrize(("step", "level"), [("speckle", 0.5), ("noise", 1.0)])
def test_noise_is_as_strong_as_asked_and_as_frequent(step, level):
    found = deviations({f"{step}_share": 0.5, f"{step}_strength": 0.1})
    made = found > 1e-4
    assert 0.4 < made.float().mean() < 0.6
    assert found.max() == pytest.approx(0.1 * level, rel=0.1)
    assert found[made].mean() == pytest.approx(0.05 * level, rel=0.15)  # uniform up to the strength


def test_the_gain_field_is_smooth_and_as_strong_as_asked():
    field = (drawn(flat(2048), **only(gain_share=1.0, gain_strength=0.1))[:, 0, 1:] / 0.501).log()
    corner = field[:, -1, -1]  # is a value of the field, not between values
    assert corner.std() == pytest.approx(0.1, rel=0.05)
    assert field.diff(dim=-1).abs().max() < 0.1
    assert field.std(dim=(1, 2)).min() > 0.01


def test_shares_are_drawn_apart(grey):
    found = drawn(flat(), **only(speckle_share=0.5, noise_share=0.5))[:, 0, 1:].std(dim=(1, 2)) > 1e-4
    assert 0.65 < found.float().mean() < 0.85


def test_two_renderings_of_an_image_differ_and_the_same_numbers_give_the_same(grey):
    generator = seeded()
    first, second = (Contrast().drawn(grey, generator) for _ in range(2))
    assert torch.equal(first, drawn(grey))
    alike = correlation(first, second)
    assert alike.abs().mean() < 0.6
    assert (alike < -0.2).any()  # inverted ones are among them
    assert (alike > 0.2).any()


@pytest.mark.parametrize("channels", ["grey", "colour"])
def test_processes_that_share_a_batch_draw_what_one_draws(images, channels):
    whole = drawn(images, channels=channels)
    for number in range(2):
        with sharing_batches(Rank(number, 2)):
            torch.testing.assert_close(drawn(own(images), channels=channels), own(whole))


def test_every_choice_is_a_setting():
    component = registry().get("strategy", "contrast-randomised")
    names = set(component.load().Config.model_fields)
    assert set(Contrast.model_fields) < names
    found = build_config(component, {"knots": 3, "noise_strength": 0.2, "steps": 7})
    assert (found.knots, found.noise_strength, found.steps) == (3, 0.2, 7)
    assert set(component.load().Config.presets) == {"hour", "quick", "smoke"}


def test_both_images_of_a_pair_get_a_contrast_of_their_own():
    strategy = ContrastRandomised(ContrastRandomisedConfig(**NOTHING, steps=1))
    shown = []

    class Recorder:
        def __call__(self, source, target):
            shown.append((source, target))
            return Registration(torch.zeros(1, len(source), 4, 2), SIZE)

        def loss(self, registration, displacement):
            return displacement.sum()

    strategy.registrator = Recorder()
    image = textured(64, SIZE)
    ones = torch.ones(32, 4, 2)
    pairs = [SelfPair(x, x, ones, torch.ones(32, 1, *SIZE)) for x in image.chunk(2)]
    batch = Batch(32, 0, seeded(), dict(zip(("self_source", "self_target"), pairs, strict=True)))
    assert strategy._loss(batch, {})["ace"] == pytest.approx(2**0.5)
    ((source, target),) = shown
    assert source.shape == target.shape == image.shape
    same = (correlation(source, target) > 0).float().mean()
    assert 0.3 < same < 0.7  # rising and falling by a coin of either side


def test_what_is_deployed_sees_what_was_trained():
    info = PairInfo(32, 8, 3, 1)

    seen = []

    class Registrator(torch.nn.Module):
        def forward(self, source, target):
            seen.extend([source, target])
            return Registration(torch.zeros(1, len(source), 4, 2), SIZE)

    pair = torch.rand(2, 2, 3, *SIZE).unbind()
    GreyFirst(Registrator(), info)(*pair)
    for was, image in zip(seen, pair, strict=True):
        torch.testing.assert_close(was, image.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    ctx = parts.context(registry().get("registrator", "mcnet"), None)
    colour = ContrastRandomised(ContrastRandomisedConfig(channels="colour"))
    assert colour.build(ctx) is colour.registrator
    made = ContrastRandomised(ContrastRandomisedConfig())
    assert isinstance(made.build(ctx), GreyFirst)
    (stage,) = made.stages(ctx)
    assert stage.views == ("self_source", "self_target")
    assert stage.deploys == {"registrator": made.whole}


def test_golden_contrasts():
    """The draws and their order are part of what a seed means."""
    grey, colour = (drawn(textured(2, (32, 32)), channels=channels) for channels in ("grey", "colour"))
    found = [*grey[:, 0, 7, 9], *grey.mean((1, 2, 3)), *colour[:, 2, 7, 9], *colour.mean((1, 2, 3))]
    assert [float(x) for x in found] == pytest.approx(
        [0.616, 0.9643, 0.4303, 0.6291, 0.3902, 0.6187, 0.3088, 0.4576], abs=1e-3
    )
