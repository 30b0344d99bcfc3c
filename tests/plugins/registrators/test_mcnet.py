"""MCNet: the published sizes, the published loss, the published weights."""

import cv2
import pytest
import torch
from pydantic import ValidationError

from regbench import PairInfo, Registration, geometry
from regbench.data.pairs import cut, draw_displacements
from regbench.errors import DataError
from regbench.tools.import_weights import import_checkpoint
from regbench.weights.files import load_weights
from regbench_registrators.blocks.head import corners_of_cells
from regbench_registrators.mcnet import MCNet, MCNetConfig


def build(patch=128, device="meta", preset=None, **settings):
    with torch.device(device):
        return MCNet(MCNetConfig(**(MCNetConfig.presets[preset] if preset else {}) | settings), PairInfo(patch=patch))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


# --- sizes


def test_published_network_has_the_published_parameters():
    network = build()
    assert parameters(network) == 846_470
    assert parameters(network.encoder) == 274_496
    assert [parameters(d) for d in network.decoders] == [153_602, 190_658, 227_714]


def test_four_scales_have_the_parameters_of_colreg():
    assert parameters(build(scales=4)) == 1_201_672


def test_strides_run_from_coarse_to_fine():
    assert MCNetConfig().strides == (4, 2, 1)
    assert MCNetConfig(scales=4).strides == (8, 4, 2, 1)
    assert MCNetConfig(**MCNetConfig.presets["quick"]).strides == (16, 8, 4)


@pytest.mark.parametrize("patch", [64, 128, 256])
def test_decoder_depth_follows_the_patch(patch):
    network = build(patch)
    depths = [len(d.layers) for d in network.decoders]
    assert depths == {64: [3, 4, 5], 128: [4, 5, 6], 256: [5, 6, 7]}[patch]
    for stride, depth in zip(network.config.strides, depths, strict=True):
        assert patch // stride // 2**depth == 2


@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (64, "smoke"), (128, "tiny"), (32, "tiny")])
def test_presets_estimate_once_an_iteration(patch, preset):
    torch.manual_seed(0)
    network = build(patch, "cpu", preset)
    source, target = torch.rand(2, 3, 3, patch, patch)
    found = network(source, target)
    assert found.displacements.shape == (network.config.scales * network.config.iterations, 3, 4, 2)
    assert found.size == (patch, patch)
    assert network.features(source).shape[-1] == patch // network.config.strides[0]
    # Images do not influence each other.
    alone = network(source[1:2], target[1:2])
    torch.testing.assert_close(alone.displacements, found.displacements[:, 1:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("patch", "scales"), [(96, 3), (120, 3), (8, 3), (16, 4)])
def test_wrong_patch_says_what_is_needed(patch, scales):
    with pytest.raises(ValueError, match=f"power of two, at least {4 * 2 ** (scales - 1)} px; got {patch}"):
        build(patch, scales=scales)


def test_impossible_settings_are_named():
    with pytest.raises(ValidationError, match="stem_stride=2 is coarser than finest=1"):
        MCNetConfig(stem_stride=2)
    with pytest.raises(ValidationError, match="3 levels are needed down to stride 4"):
        MCNetConfig(widths=(8, 8))
    with pytest.raises(ValidationError, match="scales"):
        MCNetConfig(scales=5)


def test_cells_of_the_head_are_the_corners():
    cells = torch.tensor([[[[10, 20], [30, 40]], [[11, 21], [31, 41]]]])  # x, y; top, bottom; left, right
    assert corners_of_cells(cells).tolist() == [[[10, 11], [20, 21], [30, 31], [40, 41]]]


def test_every_iteration_is_trained_through_the_later_ones():
    torch.manual_seed(0)
    network = build(32, "cpu", "tiny", iterations=1)
    found = network(*torch.rand(2, 2, 3, 32, 32))
    found.displacement.sum().backward()  # the last estimate alone
    assert all(p.grad is not None for p in network.decoders[0].parameters())
    assert network.decoders[0].head.weight.grad.abs().max() > 0


# --- the loss


def by_hand(estimates, truth):
    """FGO, word by word of the published code."""
    total, reached = 0.0, False
    for estimate in estimates:
        x = sum(abs(float(e) - float(t)) for e, t in zip(estimate.flatten(), truth.flatten(), strict=True))
        x /= truth.numel()
        reached = reached or x < 1.0
        total += x - (1 / (x + 0.1) if reached else 0.0)
    return total


@pytest.mark.parametrize(
    "errors", [(5, 3, 2, 1.5), (5, 0.5, 0.2, 0.1), (5, 0.5, 3, 2), (0.2, 4, 4, 4), (3, 2, 1, 0.999)]
)
def test_fgo_equals_a_loop_with_its_sticky_flag(errors):
    truth = torch.randint(-8, 9, (3, 4, 2), generator=torch.Generator().manual_seed(0)).double()
    signs = torch.randint(0, 2, (4, 3, 4, 2), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    estimates = truth + signs * torch.tensor(errors).double().view(4, 1, 1, 1)
    found = build().loss(Registration(estimates, (128, 128)), truth)
    assert float(found) == pytest.approx(by_hand(estimates, truth), rel=1e-9)


def test_fgo_threshold_is_of_the_batch_not_of_a_sample():
    truth = torch.zeros(2, 4, 2)
    estimates = torch.stack([torch.zeros(4, 2), torch.full((4, 2), 6.0)])[None]  # one exact, mean 3
    assert float(build().loss(Registration(estimates, (128, 128)), truth)) == pytest.approx(3.0)


@pytest.mark.parametrize(("x", "flagged"), [(2.0, False), (1.01, False), (0.99, True), (0.5, True), (0.1, True)])
def test_fgo_multiplies_the_gradient_of_l1(x, flagged):
    grads = []
    for loss in ("fgo", "l1"):
        estimates = torch.full((1, 2, 4, 2), x, dtype=torch.float64).requires_grad_()
        build(loss=loss).loss(Registration(estimates, (128, 128)), torch.zeros(2, 4, 2)).backward()
        grads.append(estimates.grad)
    gain = 1 + 1 / (x + 0.1) ** 2 if flagged else 1.0
    torch.testing.assert_close(grads[0], gain * grads[1])
    torch.testing.assert_close(grads[1], torch.full_like(grads[1], 1 / 16))


def test_loss_weighs_samples():
    truth = torch.zeros(2, 4, 2)
    estimates = torch.stack([torch.full((4, 2), 2.0), torch.full((4, 2), 6.0)])[None]
    found = build().loss(Registration(estimates, (128, 128)), truth, torch.tensor([2.0, 0.0]))
    assert float(found) == pytest.approx(2.0)


# --- the published weights


@pytest.fixture(scope="module")
def checkpoint(shared_data):
    file = shared_data.parent / "weights" / "mcnet_mscoco.pth"
    if not file.is_file():
        pytest.skip(f"no published checkpoint at {file}")
    return file


@pytest.fixture(scope="module")
def imported(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "mcnet.safetensors"
    assert import_checkpoint("mcnet", checkpoint, out) == 846_470
    return out


@pytest.fixture(scope="module")
def published(imported):
    network = build(device="cpu").eval()
    metadata = load_weights(network, imported)
    assert metadata["supervision"] == "homography"
    return network


@pytest.fixture(scope="module")
def photographs(shared_data):
    files = sorted((shared_data / "mscoco2017" / "test2017").glob("*.jpg"))[:6]
    if len(files) < 6:
        pytest.skip("no MSCOCO test images")
    images = [cv2.resize(cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB), (240, 240)) for f in files]
    return torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images])


def pairs(images, displacement):
    """source(p) = image(origin + H p), target(p) = image(origin + p)."""
    shift = geometry.translation(torch.full((len(images), 2), 56.0))
    h = geometry.homography_from_displacement(displacement, (128, 128))
    return cut(images, shift @ h, 128), cut(images, shift, 128)


def test_published_weights_reach_the_published_error(published, photographs):
    truth = draw_displacements(len(photographs), 128, 32, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = published.register(*pairs(photographs, truth))
    assert found.ok.all()
    errors = [geometry.corner_error(d, truth).median() for d in found.displacements]
    assert errors[-1] < 0.05
    assert errors[0] > errors[2] > errors[-1]


def test_published_weights_know_the_direction_of_a_shift(published, photographs):
    truth = torch.tensor([11.0, -6.0]).expand(1, 4, 2)
    with torch.inference_mode():
        found = published(*pairs(photographs[3:4], truth))
    assert (found.displacement - truth).abs().max() < 0.3


def test_published_weights_do_not_fit_another_patch(imported):
    for network in (build(64, "cpu"), build(128, "cpu", scales=4)):
        with pytest.raises(DataError):
            load_weights(network, imported)


def test_broken_checkpoint_is_named(checkpoint, tmp_path):
    broken = tmp_path / "half.pth"
    broken.write_bytes(checkpoint.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"half\.pth: is truncated"):
        import_checkpoint("mcnet", broken, tmp_path / "out.safetensors")
    with pytest.raises(DataError, match=r"absent\.pth: no such file"):
        import_checkpoint("mcnet", tmp_path / "absent.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_checkpoint_of_another_size_is_refused(checkpoint, tmp_path):
    with pytest.raises(DataError, match="is no checkpoint of mcnet at these settings"):
        import_checkpoint("mcnet", checkpoint, tmp_path / "out.safetensors", {"dim": 64})


def test_the_published_map_of_a_coarse_scale_is_off_by_what_the_code_says():
    displacement = torch.randint(-32, 33, (2000, 4, 2), generator=torch.Generator().manual_seed(0)).double()
    published = geometry.homography_from_displacement(displacement / 4, (32, 32))
    exact = geometry.homography_from_displacement(displacement, (128, 128))
    points = torch.cartesian_prod(*[torch.arange(32.0, dtype=torch.float64)] * 2)
    error = (4 * geometry.transform_points(published, points) - geometry.transform_points(exact, 4 * points)).norm(
        dim=-1
    )
    assert float(error.mean()) == pytest.approx(0.64, abs=0.02)
    assert float(error.max()) > 10
