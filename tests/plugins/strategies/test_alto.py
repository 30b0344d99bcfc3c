"""AltO's losses against loops, its alternation, its batch norm."""

from __future__ import annotations

import pytest
import torch

from regbench import Registration, geometry
from regbench.api.types import Batch, Pair
from regbench.plugins.registry import registry
from regbench.testing.parts import context, planned_stages
from regbench.testing.training import train_stage
from regbench_strategies.alto import AltO, AltOConfig, barlow_twins, encoder, positions, projector, warps

SIZE = (32, 32)


def strategy(**settings) -> AltO:
    return AltO(AltOConfig(**(dict(AltOConfig.presets["tiny"]) | settings)))


def test_published_networks():
    c = AltOConfig()
    nets = encoder(c.depths, c.widths), projector(c.depths, c.widths)
    assert [sum(p.numel() for p in net.parameters()) for net in nets] == [1_347_904, 6_822_400]
    features = nets[0](torch.rand(1, 3, 128, 128))
    assert features.shape == (1, 128, 32, 32)
    assert nets[1].eval()(features).shape == (1, 256)


def test_barlow_twins_against_a_loop():
    a, b = torch.randn(2, 12, 5).unbind()
    expected = 0.0
    for i in range(5):
        for j in range(5):
            x, y = a[:, i], b[:, j]
            entry = float(((x - x.mean()) * (y - y.mean())).sum() / 11 / (x.std() + 1e-5) / (y.std() + 1e-5))
            expected += (1 - entry) ** 2 if i == j else 0.005 * entry**2
    assert float(barlow_twins(a, b, 0.005)) == pytest.approx(expected, rel=1e-4)


def test_barlow_twins_of_white_features_is_zero_and_of_their_negative_four_each():
    white = torch.linalg.qr(torch.randn(64, 9))[0]
    white = torch.linalg.qr(white - white.mean(0))[0]  # columns: orthogonal, and of mean zero
    assert float(barlow_twins(white, white, 0.005)) == pytest.approx(0.0, abs=1e-4)
    assert float(barlow_twins(white, -white, 0.005)) == pytest.approx(36.0, rel=1e-3)


def test_geometry_compares_positions_of_each_image_on_its_own():
    a, b = torch.randn(2, 3, 4, 6, 6).unbind()
    together = barlow_twins(positions(a), positions(b), 0.005)
    alone = [barlow_twins(a[i].flatten(1).T, b[i].flatten(1).T, 0.005) for i in range(3)]
    torch.testing.assert_close(together, torch.stack(alone))


class Shifts:
    """Two estimates: three pixels to the right, then none."""

    def __call__(self, source, target):
        found = torch.zeros(2, len(source), 4, 2)
        found[0, ..., 0] = 3.0
        return Registration(found, SIZE)


def test_every_estimate_warps_and_the_last_is_handed_on_detached():
    image = torch.rand(2, 3, *SIZE, requires_grad=True)
    first, last = warps(image, Shifts()(image, image))
    torch.testing.assert_close(first[..., 3:], image[..., :-3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last, image, atol=1e-5, rtol=1e-5)
    made = strategy(decay=0.5)
    made.registrator, made.encoder = Shifts(), torch.nn.AvgPool2d(2)
    batch = Batch(2, 0, torch.Generator())
    batch.views["pair"] = Pair(image, torch.rand(2, 3, *SIZE))
    shared: dict[str, torch.Tensor] = {}
    found = made._geometry_loss(batch, shared)["loss"]
    assert not shared["warped"].requires_grad
    torch.testing.assert_close(shared["warped"], last.detach())
    target = positions(made.encoder(2 * batch.pair.target - 1))
    each = [barlow_twins(positions(made.encoder(2 * w - 1)), target, 0.005).mean() for w in (first, last)]
    torch.testing.assert_close(found, 0.5 * each[0] + each[1])


def test_aligned_is_better_than_not():
    from regbench.testing.images import textured

    whole = textured(2, (40, 40))
    source, target = whole[..., 4:36, 4:36], whole[..., 4:36, 0:32]  # target(p + (4, 0)) = source(p)
    torch.manual_seed(1)  # some networks of eight random features tell little
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
    with torch.no_grad():
        features = [positions(net(x)) for x in (geometry.warp(source, _right(4)), source, target)]
        aligned, not_aligned = (float(barlow_twins(f, features[2], 0.005).mean()) for f in features[:2])
    assert aligned < 0.6 * not_aligned


def _right(pixels: float) -> torch.Tensor:
    return geometry.translation(torch.tensor([[pixels, 0.0]] * 2))


def test_the_alternation_is_two_ordered_objectives():
    ctx = context(registry().get("registrator", "mcnet"), None)
    made = strategy()
    (stage,) = planned_stages(made, ctx)
    assert [o.updates for o in stage.objectives] == [("registrator",), ("encoder", "projector")]
    assert [o.clip for o in stage.objectives] == [1.0, None]
    (joint,) = planned_stages(strategy(alternate=False), context(registry().get("registrator", "mcnet"), None))
    assert [o.updates for o in joint.objectives] == [("registrator", "encoder", "projector")]


def test_the_frozen_encoder_normalises_each_modality_by_its_own_statistics():
    ctx = context(registry().get("registrator", "mcnet"), None)
    made = strategy()
    (stage,) = planned_stages(made, ctx)
    changes = train_stage(stage, ctx, labels=False, steps=1)
    assert {"encoder/1.running_mean", "projector/0.0.bn1.running_mean"} <= changes.buffers
    assert made.encoder.training
    # source twice (two estimates of each of two scales) and target once, then once each
    estimates = 4
    assert int(made.encoder[1].num_batches_tracked) == estimates + 1 + 2


def test_published_schedule():
    c = AltOConfig()
    assert (c.batch, c.lr, c.weight_decay, c.clip, c.redundancy, c.decay) == (16, 3e-4, 1e-5, 1.0, 0.005, 0.85)
    assert c.steps == 200 * round(8750 / 16)
