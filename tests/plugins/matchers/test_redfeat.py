"""ReDFeat: its size, its losses against plain arithmetic, its matching on features that are known to be right."""

import math
from argparse import Namespace

import pytest
import torch
from torch import nn

from regbench import PairInfo, Registration, geometry
from regbench.tools.import_weights import import_checkpoint
from regbench.weights.files import read_tensors
from regbench_matchers.redfeat import ReDFeat, ReDFeatConfig
from regbench_matchers.redfeat import loss as losses
from regbench_matchers.redfeat.network import Network, peaks, standardised
from tests.plugins.matchers.scenes import nothing, textured

TINY = ReDFeatConfig(**ReDFeatConfig.presets["tiny"])


def build(seed=0, **settings):
    torch.manual_seed(seed)
    return ReDFeat(TINY.model_copy(update=settings), PairInfo(patch=64, rho=16))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def unit(*shape, seed=0, dtype=torch.float32):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return nn.functional.normalize(drawn, dim=1)


def drawn(count=40, seed=0, dtype=torch.float64, valid=None):
    """Places on a coarse grid, with descriptors and scores at random."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randint(0, 24, (count, 2), generator=generator).to(dtype)
    scores = torch.rand(4, count, generator=generator, dtype=dtype)
    valid = torch.ones(count, dtype=torch.bool) if valid is None else valid
    descriptors = (unit(count, 6, seed=seed + 1, dtype=dtype), unit(count, 6, seed=seed + 2, dtype=dtype))
    return losses.SampledPixels(place, valid, descriptors, (scores[0], scores[1]), (scores[2], scores[3]))


def changed(pair, **fields):
    return losses.SampledPixels(**(vars(pair) | fields))


def test_network_has_the_layers_of_the_released_code():
    with torch.device("meta"):
        network = Network()
    convolution = lambda a, b, side, bias=True: a * b * side * side + b * bias  # noqa: E731
    adapter = sum(convolution(a, b, 3) for a, b in [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)])
    detector = sum(
        convolution(a, b, 3, bias=False)
        for a, b in [(128, 64), (64, 32), (32, 16), (16, 16), (16, 16), (16, 16), (16, 2)]
    )
    assert [parameters(a) for a in network.adapters] == [adapter, adapter] == [287_008, 287_008]
    assert parameters(network.encoder) == 3 * convolution(128, 128, 3) == 442_752
    assert parameters(network.prior) + parameters(network.conditional) == 129 + detector == 104_097
    assert parameters(network) == 1_120_865


def test_every_pixel_sees_as_far_as_the_dilations_reach():
    torch.manual_seed(0)
    network = Network(width=1, dim=8).eval()
    for p in network.parameters():
        p.data = torch.rand_like(p)  # nothing cancels, nothing is cut off by a ReLU
    image = torch.rand(1, 3, 101, 101, requires_grad=True)
    x = image
    for blocks in (network.adapters[0], network.encoder):
        for block in blocks:
            x = block(x)
    seen = torch.autograd.grad(x[0, 0, 50, 50], image)[0].abs().sum(dim=1)[0] > 0
    reach = 1 + 1 + 1 + 2 + 2 + 4 + 4 + 8 + 16
    assert seen.nonzero().aminmax(dim=0).min.tolist() == [50 - reach, 50 - reach]
    assert seen.nonzero().aminmax(dim=0).max.tolist() == [50 + reach, 50 + reach]
    with torch.no_grad():
        descriptor, score = network(image.detach(), 0)
    assert descriptor.shape == (1, 8, 101, 101)
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(1, 101, 101))
    assert score.shape == (1, 1, 101, 101)
    assert 0 <= score.min() <= score.max() <= 1


def test_modalities_share_all_but_their_adapters():
    network = Network(width=1, dim=8).eval()
    image = standardised(textured(1, 64))
    first, second = network(image, 0), network(image, 1)
    assert not torch.allclose(first[0], second[0], atol=1e-3)
    network.adapters[1].load_state_dict(network.adapters[0].state_dict())
    for a, b in zip(network(image, 0), network(image, 1), strict=True):
        assert torch.equal(a, b)


def test_contrast_and_brightness_of_an_image_do_not_matter():
    network = build().eval()
    source, target = textured(1, 64), textured(2, 64)
    maps = network(source, target).maps
    other = network(0.3 * source + 0.2, target).maps
    torch.testing.assert_close(other.scores[0], maps.scores[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(other.descriptors[0], maps.descriptors[0], atol=1e-3, rtol=1e-3)


def hardness_by_loops(pair):
    """The formula of the paper's code, one place after the other."""
    found = []
    angle = lambda s: math.acos(min(max(s, -1 + 1e-5), 1 - 1e-5))  # noqa: E731
    source, target = pair.descriptors
    for j in range(len(pair.place)):
        worst = {"within source": -1.0, "within target": -1.0, "to source": -1.0, "to target": -1.0, "match": -1.0}
        for i in range(len(pair.place)):
            squared = float((pair.place[i] - pair.place[j]).square().sum())
            similarities = {
                "within source": source[i] @ source[j],
                "within target": target[i] @ target[j],
                "to source": source[i] @ target[j],
                "to target": source[j] @ target[i],
            }
            for kind, s in similarities.items():
                if squared >= 49 and s <= 0.9:
                    worst[kind] = max(worst[kind], float(s))
            if squared < 9:
                worst["match"] = max(worst["match"], float(similarities["to source"]))
        across = max(worst["to source"], worst["to target"])
        apart = sum((math.pi - angle(s)) ** 2 / 3 for s in (worst["within source"], worst["within target"], across))
        found.append((apart + angle(worst["match"]) ** 2) ** 2)
    return torch.tensor(found, dtype=torch.float64)


def test_hardness_is_the_formula_place_by_place():
    pair = drawn()
    torch.testing.assert_close(losses.descriptor_hardness(pair), hardness_by_loops(pair))


def test_places_one_image_does_not_show_are_compared_with_nothing():
    pair = drawn(valid=torch.arange(40) < 25)
    alone = losses.SampledPixels(*(
        tuple(x[:25] for x in field) if isinstance(field, tuple) else field[:25] for field in vars(pair).values()
    ))  # fmt: skip
    assert torch.equal(
        losses.descriptor_hardness(pair), torch.cat([losses.descriptor_hardness(alone), torch.zeros(15)])
    )
    hardness = losses.descriptor_hardness(pair)
    assert torch.allclose(losses._description_loss(hardness, pair), losses._description_loss(hardness[:25], alone))
    assert torch.allclose(losses._coupling_loss(hardness, pair), losses._coupling_loss(hardness[:25], alone))


def test_gradient_of_the_hardness_is_that_of_finite_differences():
    pair = drawn(16)

    def hardness(source, target):
        return losses.descriptor_hardness(changed(pair, descriptors=(source, target)))

    inputs = [x.clone().requires_grad_() for x in pair.descriptors]
    assert torch.autograd.gradcheck(hardness, inputs, eps=1e-7, atol=1e-4)


def test_description_weighs_by_scores_it_does_not_teach():
    pair = drawn()
    for field in ("scores", "smoothed"):
        for x in getattr(pair, field):
            x.requires_grad_()
    hardness = torch.rand(40, dtype=torch.float64, requires_grad=True)
    found = losses._description_loss(hardness, pair)
    weight = (pair.smoothed[0] * pair.smoothed[1]).detach()
    assert float(found.detach()) == pytest.approx(float((weight * hardness.detach()).sum() / weight.sum()), rel=1e-4)
    found.backward()
    assert hardness.grad.abs().min() > 0
    assert all(x.grad is None for x in (*pair.scores, *pair.smoothed))


def test_peaking_weighs_by_descriptors_it_does_not_teach():
    pair = drawn()
    for x in pair.scores:
        x.requires_grad_()
    hardness = torch.linspace(0, 1, 40, dtype=torch.float64, requires_grad=True)
    losses._coupling_loss(hardness, pair).backward()
    assert hardness.grad is None
    # The easier half is asked for higher scores, the more the easier; the harder half is left alone.
    for x in pair.scores:
        assert (x.grad[:20] < 0).all()
        assert not x.grad[20:].any()


def test_peaking_of_no_score_at_all_is_what_its_terms_sum_up_to():
    image = standardised(textured(3, 64))
    nothing_found = losses._peaking_loss(torch.zeros(1, 1, 64, 64), image)
    torch.testing.assert_close(nothing_found, torch.tensor([2.0]))  # no peak in any patch, none in any neighbourhood
    everywhere = losses._peaking_loss(torch.ones(1, 1, 64, 64), image)
    grid = torch.zeros(1, 1, 64, 64)
    grid[..., 8::8, 8::8] = 1
    assert losses._peaking_loss(grid, image) < nothing_found < everywhere


def test_peaks_off_the_edges_cost_more():
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = 1
    on, off = torch.zeros(2, 1, 1, 64, 64)
    on[..., 20:44:8, 32] = 1
    off[..., 20:44:8, 16] = 1
    found = [losses._peaking_loss(score, standardised(image)) for score in (on, off)]
    assert found[0] < found[1]


def test_repeatability_is_the_cosine_of_patterns_where_descriptors_agree():
    score = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    similar = torch.ones(1, 1, 32, 32)
    torch.testing.assert_close(
        losses._repeatability_loss(score, 0.2 * score, similar), torch.zeros(1), atol=1e-5, rtol=0
    )
    even = (torch.arange(32) % 2).expand(1, 1, 32, 32).float()
    torch.testing.assert_close(losses._repeatability_loss(even, 1 - even, similar), torch.ones(1))
    half = similar.clone()
    half[..., 16:] = 0
    mixed = torch.where(half > 0, score, 0)
    assert losses._repeatability_loss(score, mixed, half) < 0.6 * losses._repeatability_loss(score, mixed, similar)


def ideal_maps(shift, size=64, seed=0):
    """Descriptors and scores that are the same at the same place of both images, target(p + shift) = source(p)."""
    x, y = shift
    whole = unit(1, 16, size + 40, size + 40, seed=seed)
    score = torch.rand(1, 1, size + 40, size + 40, generator=torch.Generator().manual_seed(seed))
    cut = lambda m, dx, dy: m[..., 20 - dy : 20 - dy + size, 20 - dx : 20 - dx + size].contiguous()  # noqa: E731
    images = (standardised(textured(1, size)), standardised(textured(2, size)))
    priority = torch.rand(1, size * size, generator=torch.Generator().manual_seed(1))
    return losses.Maps((cut(whole, 0, 0), cut(whole, x, y)), (cut(score, 0, 0), cut(score, x, y)), images, priority)


def test_loss_is_least_where_the_label_is_right():
    maps = ideal_maps((6, -3))
    found = {
        label: losses.loss(maps, torch.tensor(label).float().expand(1, 4, 2), 300, 1.0, 8.0)
        for label in [(6, -3), (-6, 3), (0, 0), (2, -3)]
    }
    right = found.pop((6, -3))
    assert right.shape == (1,)
    assert all(right < 0.7 * wrong for wrong in found.values()), found


def test_weights_of_the_losses_are_what_they_are_multiplied_by():
    maps, label = ideal_maps((0, 0)), torch.zeros(1, 4, 2)
    base = losses.loss(maps, label, 200, 0.0, 0.0)
    peaked, repeated = losses.loss(maps, label, 200, 1.0, 0.0) - base, losses.loss(maps, label, 200, 0.0, 1.0) - base
    torch.testing.assert_close(losses.loss(maps, label, 200, 2.0, 8.0), base + 2 * peaked + 8 * repeated)


def test_loss_survives_a_label_that_leaves_no_overlap():
    found = build().train()
    registration = found(*torch.rand(2, 1, 3, 64, 64))
    loss = found.loss(registration, torch.full((1, 4, 2), 500.0))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in found.parameters() if p.grad is not None)


def test_a_pair_has_the_same_loss_alone():
    network = build().eval()
    source, target = torch.cat([textured(i, 64) for i in (1, 2)]), torch.cat([textured(i, 64) for i in (3, 4)])
    label = torch.randn(2, 4, 2)
    with torch.no_grad():
        both = network.loss(network(source, target), label)
        alone = [network.loss(network(source[i : i + 1], target[i : i + 1]), label[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(both, torch.stack(alone).mean())


def test_loss_needs_the_maps_and_one_size():
    network = build()
    with pytest.raises(ValueError, match="no maps"):
        network.loss(Registration(torch.zeros(1, 1, 4, 2), (64, 64)), torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="one size"):
        network.loss(network(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 72)), torch.zeros(1, 4, 2))


def test_peaks_are_local_maxima_strongest_first_away_from_the_rim():
    score = torch.zeros(32, 32)
    for x, y, value in [(10, 20, 0.5), (25, 7, 0.9), (2, 2, 1.0), (11, 21, 0.4), (16, 16, 0.05)]:
        score[y, x] = value
    assert peaks(score, 5, 0.1, 10).tolist() == [[25, 7], [10, 20]]
    assert peaks(score, 1, 0.01, 10).tolist() == [[2, 2], [25, 7], [10, 20], [16, 16]]
    assert peaks(score, 1, 0.01, 1).tolist() == [[2, 2]]


class Ideal(nn.Module):
    """In place of the network: descriptors are random projections of patches, scores the local contrast."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.project = nn.Conv2d(3, 64, 11, padding=5, bias=False)
        self.project.weight.data -= self.project.weight.data.mean(dim=(-1, -2), keepdim=True)

    def forward(self, image, side):
        contrast = (image - nn.functional.avg_pool2d(image, 9, 1, 4)).abs().sum(dim=1, keepdim=True)
        return nn.functional.normalize(self.project(image), dim=1), (contrast / 10).clamp(0, 1)


@pytest.fixture
def ideal():
    network = build()
    network.network = Ideal()
    return network.eval()


def test_shift_has_the_sign_of_the_convention(ideal):
    image = textured(7, 256)
    source, target = image[..., 20:200, 10:230], image[..., 26:236, 13:223]
    found = ideal.register(source, target)
    assert found.ok.all()
    assert found.size == (180, 220)
    assert (found.displacement - torch.tensor([-3.0, -6.0])).abs().max() < 0.3


def test_homography_is_recovered(ideal):
    truth = 6 * torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    image = textured(5, 160)
    h = geometry.homography_from_displacement(truth, (160, 160))
    found = ideal.register(geometry.sample(image, h), image)
    assert found.ok.all()
    assert geometry.corner_error(found.displacement, truth).max() < 1


@pytest.mark.parametrize("kind", ["flat", "one flat", "noise"])
def test_pairs_without_an_answer_fail_honestly(ideal, kind):
    found = ideal.register(*nothing()[kind])
    assert not found.ok.any()
    assert found.displacement.abs().max() == 0


def test_nothing_is_matched_in_training():
    network = build().train()
    found = network(*torch.rand(2, 2, 3, 64, 64))
    assert found.displacements.shape == (1, 2, 4, 2)
    assert not found.displacement.any()
    assert not found.ok.any()


def test_gradients_reach_every_parameter():
    network = build().train()
    source, target = torch.cat([textured(i, 64) for i in (1, 2)]), torch.cat([textured(i, 64) for i in (3, 4)])
    network.loss(network(source, target), torch.zeros(2, 4, 2)).backward()
    assert not [k for k, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def released_state():
    """Tensors under the names of the authors' checkpoints, written out."""
    state = {}

    def convolution(name, a, b, side=3, bias=True):
        state[f"{name}.weight"] = torch.randn(b, a, side, side)
        if bias:
            state[f"{name}.bias"] = torch.randn(b)

    def statistics(name, channels):
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(channels), torch.rand(channels)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    for side in (1, 2):
        widths = (3, 32, 32, 64, 64, 128, 128)
        for i in range(6):
            convolution(f"ada{side}.ops.{i}.0", widths[i], widths[i + 1])
            statistics(f"ada{side}.ops.{i}.1", widths[i + 1])
    for i in range(3):
        convolution(f"enc.ops.{i}.0", 128, 128)
        if i < 2:
            statistics(f"enc.ops.{i}.1", 128)
    convolution("det.PriorEstimator.0", 128, 1, side=1)
    for i, (a, b) in enumerate([(128, 64), (64, 32), (32, 16)]):
        convolution(f"det.ConditionalEstimator.preconv.{3 * i}", a, b, bias=False)
        statistics(f"det.ConditionalEstimator.preconv.{3 * i + 1}", b)
    for n in (1, 2, 3):
        statistics(f"det.ConditionalEstimator.bn{n}.0", 16)
        convolution(f"det.ConditionalEstimator.layer{n}.0", 16, 16, bias=False)
        statistics(f"det.ConditionalEstimator.layer{n}.1", 16)
    convolution("det.ConditionalEstimator.postconv.0", 16, 2, bias=False)
    return state


def test_published_checkpoints_find_their_place(tmp_path):
    state = released_state()
    file = tmp_path / "VIS_SAR.pth"
    torch.save({"args": Namespace(lr=1e-3), "epoch_idx": 50, "model": state, "optimizer": {"state": {}}}, file)
    assert import_checkpoint("redfeat", file, tmp_path / "redfeat.safetensors") == 1_120_865
    tensors = read_tensors(tmp_path / "redfeat.safetensors")[0]
    prefix = next(key for key in tensors if key.endswith("network.prior.weight")).removesuffix("prior.weight")
    for ours, theirs in {
        "adapters.0.3.0.weight": "ada1.ops.3.0.weight",
        "adapters.1.5.1.running_var": "ada2.ops.5.1.running_var",
        "encoder.2.0.bias": "enc.ops.2.0.bias",
        "conditional.peaks.1.norm.0.running_mean": "det.ConditionalEstimator.bn2.0.running_mean",
        "conditional.peaks.2.response.0.weight": "det.ConditionalEstimator.layer3.0.weight",
    }.items():
        assert torch.equal(tensors[prefix + ours], state[theirs]), ours
