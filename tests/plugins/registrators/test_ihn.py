"""IHN: the published sizes, what each scale sees, where gradients go."""

import pytest
import torch
from pydantic import ValidationError

from regbench import PairInfo, Registration, geometry
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench_registrators.ihn import IHN, IHNConfig


def build(name="ihn", patch=128, device="meta", **settings):
    component = next(c for c in registry().all("registrator") if c.name == name)
    with torch.device(device):
        return IHN(build_config(component, settings), PairInfo(patch=patch))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


class Says(torch.nn.Module):
    """A decoder that says the same whatever it sees, and keeps what it saw."""

    def __init__(self, increment):
        super().__init__()
        self.increment, self.seen = torch.tensor(increment, dtype=torch.float32), []

    def forward(self, x):
        self.seen.append(x)
        return self.increment.expand(x.shape[0], 4, 2)


# --- sizes


@pytest.mark.parametrize(("name", "count"), [("ihn1", 1_307_970), ("ihn", 1_715_652), ("ihn-lite", 760_066)])
def test_published_networks_have_the_published_parameters(name, count):
    assert parameters(build(name)) == count


def test_the_estimator_of_scpnet_is_published_but_for_a_dead_head_and_two_equal_channels():
    network, one = build("scpnet-net"), build("ihn1")
    stem = next(m for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d))
    assert stem.weight.shape == (64, 3, 7, 7)
    grey = stem.weight.numel() * 2 // 3  # SCPNet reads one channel, here it is given three times
    assert parameters(network) - parameters(network.encoder.heads["2"]) - grey == 1_285_058
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in one.state_dict().items()}
    assert network.config.model_dump() == one.config.model_dump() | {"iterations": (1, 3)}


def test_parts_have_the_published_parameters():
    network = build()
    assert parameters(network.encoder) == 527_040
    assert [parameters(d) for d in network.decoders] == [780_930, 407_682]
    assert parameters(build("ihn1").encoder.heads["2"]) == 16_640


def test_strides_run_from_coarse_to_fine():
    assert [build(name).strides for name in ("ihn", "ihn1", "ihn-lite")] == [(4, 2), (4,), (4,)]
    assert build("ihn", 64, preset="quick").strides == (8, 4)
    assert build("ihn1", 64, preset="quick").strides == (4,)


@pytest.mark.parametrize(("patch", "depths"), [(64, [3, 4]), (128, [4, 5]), (256, [5, 6])])
def test_decoder_depth_follows_the_patch(patch, depths):
    assert [len(d.layers) for d in build(patch=patch).decoders] == depths


@pytest.mark.parametrize("name", ["ihn", "ihn1", "ihn-lite"])
@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (128, "tiny"), (32, "tiny")])
def test_presets_estimate_once_an_iteration(name, patch, preset):
    torch.manual_seed(0)
    network = build(name, patch, "cpu", preset=preset).eval()
    source, target = torch.rand(2, 3, 3, patch, patch)
    found = network(source, target)
    assert found.displacements.shape == (sum(network.config.iterations[: len(network.strides)]), 3, 4, 2)
    assert found.size == (patch, patch)
    assert network.features(source).shape[-1] == patch // network.strides[0]
    alone = network(source[1:2], target[1:2])  # images do not influence each other
    torch.testing.assert_close(alone.displacements, found.displacements[:, 1:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("patch", [96, 8])
def test_wrong_patch_says_what_is_needed(patch):
    with pytest.raises(ValueError, match=f"IHN .* power of two, at least 16 px; got {patch}"):
        build(patch=patch)


def test_impossible_settings_are_named():
    with pytest.raises(ValidationError, match=r"levels at strides \(2, 4, 8\) are needed"):
        IHNConfig(finest=4)
    with pytest.raises(ValidationError, match="multiple of 8"):
        IHNConfig(decoder_widths=(100, 80))


# --- what each scale sees


def test_decoder_is_given_both_levels_and_the_flow():
    network = build("ihn1", 64, "cpu", preset="tiny", iterations=(2, 1)).eval()
    network.decoders[0] = says = Says([[8.0, -4.0]] * 4)
    network(*torch.rand(2, 1, 3, 64, 64))
    assert [x.shape[1] for x in says.seen] == [2 * 49 + 2] * 2
    flows = [x[:, -2:] for x in says.seen]
    assert not flows[0].any()
    torch.testing.assert_close(flows[1][:, 0], torch.full((1, 16, 16), 2.0))  # 8 px at stride 4
    torch.testing.assert_close(flows[1][:, 1], torch.full((1, 16, 16), -1.0))


@pytest.mark.parametrize("composition", ["add", "compose"])
def test_second_scale_sees_the_target_warped_by_the_first(composition):
    network = build("ihn", 64, "cpu", preset="tiny", iterations=(2, 1), composition=composition).eval()
    first = torch.tensor([[4.0, -6.0]]).expand(1, 4, 2)  # a shift: the published flow is exact
    second = torch.tensor([[[1.0, 0.0], [-2.0, 1.0], [0.0, 3.0], [2.0, -1.0]]])
    network.decoders[0], network.decoders[1] = Says((first / 2)[0].tolist()), Says(second[0].tolist())
    encoded = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(inputs[0]))
    source, target = torch.rand(2, 1, 3, 64, 64)
    found = network(source, target)
    h = geometry.homography_from_displacement(first, (64, 64))
    torch.testing.assert_close(encoded[1], geometry.sample(2 * target - 1, h), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.displacements[:2], torch.stack([first / 2, first]))
    # After a shift the homographies' product and the displacements' sum agree.
    torch.testing.assert_close(found.displacement, first + second, atol=1e-4, rtol=0)


def test_compositions_differ_where_the_first_is_no_shift():
    estimates = []
    first = [[4.0, -6.0], [-3.0, 2.0], [5.0, 1.0], [-6.0, -6.0]]
    second = [[1.0, 0.0], [-2.0, 1.0], [0.0, 3.0], [2.0, -1.0]]
    for composition in ("add", "compose"):
        network = build("ihn", 64, "cpu", preset="tiny", iterations=(1, 1), composition=composition).eval()
        network.decoders[0], network.decoders[1] = Says(first), Says(second)
        estimates.append(network(*torch.rand(2, 1, 3, 64, 64)).displacement)
    torch.testing.assert_close(estimates[0][0], torch.tensor(first) + torch.tensor(second))
    # A pixel of the source goes by the second homography into the warped target, and on by the first.
    size, corners = (64, 64), geometry.corners((64, 64))
    h1, h2 = (geometry.homography_from_displacement(torch.tensor([d]), size) for d in (first, second))
    expected = geometry.transform_points(h1, geometry.transform_points(h2, corners)) - corners
    torch.testing.assert_close(estimates[1], expected, atol=1e-4, rtol=0)
    assert (estimates[0] - estimates[1]).abs().max() > 0.1


def test_forms_differ_in_range_of_the_images():
    image = torch.rand(1, 3, 64, 64)
    seen = []
    for name in ("ihn1", "ihn-lite"):
        network = build(name, 64, "cpu", preset="tiny")
        network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        network.features(image)
    torch.testing.assert_close(seen, [2 * image - 1, image])


# --- training


@pytest.mark.parametrize(
    ("name", "dead"), [("ihn", set()), ("ihn1", {"encoder.heads.2"}), ("ihn-lite", {"encoder.heads.2"})]
)
def test_gradients_reach_all_but_the_dead_convolution(name, dead):
    torch.manual_seed(0)
    network = build(name, 64, "cpu", preset="tiny")
    network.loss(network(*torch.rand(2, 2, 3, 64, 64)), 8 * torch.randn(2, 4, 2)).backward()
    without = {key.rsplit(".", 1)[0] for key, p in network.named_parameters() if p.grad is None}
    assert without == dead
    still = [
        k for k, p in network.named_parameters() if k.endswith("weight") and p.grad is not None and not p.grad.any()
    ]
    assert not still


def test_lookup_is_detached_where_the_form_says_so():
    torch.manual_seed(0)
    images = torch.rand(2, 1, 3, 64, 64)
    grads = []
    for detach in (False, True):
        torch.manual_seed(1)
        network = build("ihn1", 64, "cpu", preset="tiny", detach_lookup=detach)
        network(*images).displacement.sum().backward()
        grads.append(network.encoder.stem.weight.grad)
    assert not torch.allclose(grads[0], grads[1])


def test_loss_starts_anew_at_the_second_scale():
    network = build("ihn", gamma=0.5, iterations=(2, 2))
    truth = torch.zeros(1, 4, 2)
    estimates = torch.tensor([4.0, 3.0, 2.0, 1.0]).view(4, 1, 1, 1).expand(4, 1, 4, 2)
    assert float(network.loss(Registration(estimates, (128, 128)), truth)) == pytest.approx(0.5 * 4 + 3 + 0.5 * 2 + 1)
