"""Views of the training data: labels that are right, randomness that can be repeated."""

import numpy as np
import pytest
import torch

from regbench import geometry
from regbench.data.manifest import test_manifest as make_manifest
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.errors import UsageError

VIEWS = ("pair", "self_source", "self_target", "unpaired")
SMALL = Protocol(patch=32, rho=8)


def protocol(**changes):
    return SMALL.model_copy(update=changes)


def tensors(batch):
    found = {}
    for name, view in batch.views.items():
        found |= {f"{name}.{k}": v for k, v in vars(view).items() if isinstance(v, torch.Tensor)}
    return found


def same(first, second):
    a, b = tensors(first), tensors(second)
    return {name: torch.equal(a[name], b[name]) for name in a}


def mismatch(source, target, displacement):
    """Mean difference of the source, pushed forward by its label, from the target, where both are seen."""
    size = (source.shape[-2], source.shape[-1])
    h = geometry.homography_from_displacement(displacement, size)
    back = geometry.invert(h)
    seen = geometry.inside(back, size, size) * geometry.sample(torch.ones_like(source[:, :1]), back)
    seen = (seen > 0.999).expand_as(source)
    assert seen.float().mean() > 0.4
    return (geometry.warp(source, h) - target).abs()[seen].mean()


@pytest.fixture(scope="module")
def same_pack(smooth_images):
    """Seven images of which A and B are the same; the prepared pack."""
    images = smooth_images(7, (80, 100))
    return images


@pytest.fixture(scope="module")
def twins(make_pack, same_pack):
    return make_pack(same_pack, same_pack)


@pytest.fixture(scope="module")
def coded(make_pack):
    """Images whose pixels say where they are: red x, green y, blue the image (A) or 100 more (B)."""
    y, x = np.mgrid[:96, :96].astype(np.uint8)
    a = [np.stack([x, y, np.full_like(x, 10 * i)], -1) for i in range(6)]
    return make_pack(a, [image + np.array([0, 0, 100], np.uint8) for image in a])


def place(patch, offset=0):
    """(image, x, y) of every coded patch's top left pixel."""
    x, y, code = (patch[:, c, 0, 0] * 255 for c in range(3))
    return torch.stack([((code - offset) / 10), x, y], -1).round().int()


# --- labels


@pytest.mark.parametrize("pairing", ["frozen", "online"])
@pytest.mark.parametrize("source", ["A", "B"])
def test_pair_label_maps_source_onto_target(twins, pairing, source):
    sampler = PairSampler(twins, protocol(pairing=pairing, source=source), seed=0, labels=True)
    pair = sampler.batch("s", 0, 24, ("pair",)).pair
    right = mismatch(pair.source, pair.target, pair.displacement)
    assert right < 0.01
    assert mismatch(pair.source, pair.target, -pair.displacement) > 4 * right
    assert mismatch(pair.source, pair.target, torch.zeros(24, 4, 2)) > 4 * right
    assert pair.displacement.abs().max() <= 8
    assert torch.equal(pair.displacement, pair.displacement.round())


@pytest.mark.parametrize("augment", ["sync_flip_rot", "indep_homography"])
def test_labels_of_augmented_pairs_are_composed(twins, augment):
    sampler = PairSampler(twins, protocol(frozen_augment=augment), seed=1, labels=True)
    plain = PairSampler(twins, SMALL, seed=1, labels=True).batch("stage", 0, 24, ("pair",)).pair
    pair = sampler.batch("stage", 0, 24, ("pair",)).pair
    assert mismatch(pair.source, pair.target, pair.displacement) < 0.02
    assert not torch.equal(pair.displacement, plain.displacement)
    again = [sampler.batch("stage", step, 24, ("pair",)).pair.displacement for step in (0, 1)]
    assert torch.equal(again[0], pair.displacement)
    assert not torch.equal(again[1], pair.displacement)


def test_flips_and_turns_are_of_the_square(twins):
    sampler = PairSampler(twins, protocol(frozen_augment="sync_flip_rot"), seed=1)
    plain = PairSampler(twins, SMALL, seed=1).batch("stage", 0, 64, ("pair",)).pair
    pair = sampler.batch("stage", 0, 64, ("pair",)).pair
    seen = set()
    for i in range(64):
        options = [
            (turns, mirrored)
            for turns in range(4)
            for mirrored in (False, True)
            if all(
                torch.allclose(new[i], torch.rot90(old[i].flip(-1) if mirrored else old[i], turns, (-2, -1)), atol=1e-4)
                for new, old in ((pair.source, plain.source), (pair.target, plain.target))
            )
        ]
        assert len(options) == 1
        seen.add(options[0])
    assert len(seen) == 8


def test_independent_views_stay_within_the_patches(coded):
    sampler = PairSampler(coded, protocol(frozen_augment="indep_homography"), seed=1)
    plain = PairSampler(coded, SMALL, seed=1).batch("stage", 0, 64, ("pair",)).pair.target
    target = sampler.batch("stage", 0, 64, ("pair",)).pair.target
    for channel in (0, 1):  # red says x, green y: the new patch sees no place the old did not
        low, high = plain[:, channel].flatten(1).amin(1), plain[:, channel].flatten(1).amax(1)
        new_low, new_high = target[:, channel].flatten(1).amin(1), target[:, channel].flatten(1).amax(1)
        assert (new_low >= low - 1e-3).all()
        assert (new_high <= high + 1e-3).all()
        assert (new_high - new_low < high - low - 1e-3).float().mean() > 0.8


def test_augmented_given_pairs_keep_true_labels(given):
    made = Protocol(patch=32, rho=8, pairing="given", frozen_augment="indep_homography")
    pair = PairSampler(given, made, seed=1, labels=True).batch("stage", 0, 12, ("pair",)).pair
    assert mismatch(pair.source, pair.target, pair.displacement) < 0.02


def test_online_pairs_are_not_augmented():
    with pytest.raises(ValueError, match="use --pairing frozen"):
        Protocol(pairing="online", frozen_augment="sync_flip_rot")


@pytest.mark.parametrize("view", ["self_source", "self_target"])
def test_self_label_maps_warped_onto_image(tiny_pack, view):
    found = getattr(PairSampler(tiny_pack, SMALL, seed=0).batch("s", 0, 24, (view,)), view)
    # A speckled image is blurred by interpolation; the label is right where the match is best.
    right = mismatch(found.warped, found.image, found.displacement)
    for wrong in (-found.displacement, torch.zeros_like(found.displacement), found.displacement.roll(1, 0)):
        assert mismatch(found.warped, found.image, wrong) > 1.5 * right


def test_self_label_is_exact_on_smooth_images(twins):
    batch = PairSampler(twins, SMALL, seed=0).batch("s", 0, 24, ("self_source", "self_target"))
    for found in (batch.self_source, batch.self_target):
        assert mismatch(found.warped, found.image, found.displacement) < 0.01
        h = geometry.homography_from_displacement(found.displacement, (32, 32))
        assert torch.equal(found.mask, geometry.inside(h, (32, 32), (32, 32)))
        assert 0.3 < found.mask.mean() < 1


def test_self_pairs_are_made_of_the_pairs_own_patches(tiny_pack):
    batch = PairSampler(tiny_pack, SMALL, seed=0).batch("s", 0, 8, VIEWS)
    assert torch.equal(batch.self_source.image, batch.pair.source)
    assert torch.equal(batch.self_target.image, batch.pair.target)
    assert not torch.equal(batch.self_source.displacement, batch.self_target.displacement)


def test_labels_are_given_to_the_supervised_alone(tiny_pack):
    for pairing in ("frozen", "online"):
        chosen = protocol(pairing=pairing)
        hidden = PairSampler(tiny_pack, chosen, seed=3).batch("s", 0, 8, ("pair",)).pair
        shown = PairSampler(tiny_pack, chosen, seed=3, labels=True).batch("s", 0, 8, ("pair",)).pair
        assert hidden.displacement is None
        assert shown.displacement.shape == (8, 4, 2)
        assert torch.equal(hidden.source, shown.source)
        assert torch.equal(hidden.target, shown.target)


# --- randomness


@pytest.mark.parametrize("pairing", ["frozen", "online"])
def test_a_step_can_be_drawn_again(tiny_pack, pairing):
    first, second = (PairSampler(tiny_pack, protocol(pairing=pairing), seed=5) for _ in range(2))
    first.batch("s", 0, 8, VIEWS)  # what was drawn before must not matter
    a, b = first.batch("s", 1, 8, VIEWS), second.batch("s", 1, 8, VIEWS)
    assert all(same(a, b).values())
    assert torch.equal(a.noise(a.pair.source), b.noise(b.pair.source))
    only = second.batch("s", 1, 8, ("self_target",))  # nor which other views are asked for
    assert torch.equal(only.self_target.warped, a.self_target.warped)


@pytest.mark.parametrize("pairing", ["frozen", "online"])
def test_another_step_stage_or_seed_draws_something_else(tiny_pack, pairing):
    sampler = PairSampler(tiny_pack, protocol(pairing=pairing), seed=5)
    base = sampler.batch("s", 1, 8, VIEWS)
    other = PairSampler(tiny_pack, protocol(pairing=pairing), seed=6)
    for changed in (sampler.batch("s", 2, 8, VIEWS), sampler.batch("t", 1, 8, VIEWS), other.batch("s", 1, 8, VIEWS)):
        assert not any(same(base, changed).values())
        assert changed.generator.initial_seed() != base.generator.initial_seed()


@pytest.mark.parametrize(
    "settings", [{"pairing": "frozen"}, {"pairing": "online"}, {"frozen_augment": "sync_flip_rot"}]
)
def test_pairs_that_come_again_are_warped_anew(tiny_pack, settings):
    sampler = PairSampler(tiny_pack, protocol(**settings), seed=5)
    first, second, again = (sampler.batch("s", step, 8, VIEWS, repeat_pairs=2) for step in (0, 1, 2))
    assert [batch.pair_step for batch in (first, second, again)] == [0, 1, 0]
    assert all(same(first, sampler.batch("s", 0, 8, VIEWS)).values())  # the first visit is that of a stage without
    for name in ("source", "target"):
        assert torch.equal(getattr(again.pair, name), getattr(first.pair, name))
        assert not torch.equal(getattr(again.pair, name), getattr(second.pair, name))
    for name in ("self_source", "self_target"):
        one, other = getattr(first, name), getattr(again, name)
        assert torch.equal(one.image, other.image)
        assert not torch.equal(one.displacement, other.displacement)
        assert not torch.equal(one.warped, other.warped)
    assert again.pair_generator.initial_seed() == first.pair_generator.initial_seed() == first.generator.initial_seed()
    assert again.generator.initial_seed() != first.generator.initial_seed()
    assert not torch.equal(first.unpaired.source, again.unpaired.source)


def visits(sampler, steps=12, size=60):
    """{(image, x, y): set of displacements} of every pair met."""
    met = {}
    for step in range(steps):
        pair = sampler.batch("s", step, size, ("pair",)).pair
        for where, label in zip(place(pair.target, 100).tolist(), pair.displacement, strict=True):
            met.setdefault(tuple(where), set()).add(tuple(label.flatten().tolist()))
    return met


def test_frozen_pairs_keep_their_displacement_for_ever(coded):
    frozen = protocol(oversample=4)
    sampler = PairSampler(coded, frozen, seed=0, labels=True)
    met = visits(sampler)
    assert sampler.pairs_per_epoch == 6 * 4
    assert sum(len(labels) for labels in met.values()) == 6 * 4
    assert all(len(labels) == 1 for labels in met.values())
    assert [sum(where[0] == i for where in met) for i in range(6)] == [4] * 6
    assert visits(PairSampler(coded, frozen, seed=9, labels=True)) == met  # another run: the same data set


def test_online_pairs_are_new_at_every_visit(coded):
    sampler = PairSampler(coded, protocol(pairing="online"), seed=0, labels=True)
    met = visits(sampler, steps=4)
    assert sampler.pairs_per_epoch == 6
    assert len({label for labels in met.values() for label in labels}) == 4 * 60
    assert {where[0] for where in met} == set(range(6))
    other = visits(PairSampler(coded, protocol(pairing="online"), seed=1, labels=True), steps=4)
    assert not set().union(*met.values()) & set().union(*other.values())


def test_windows_keep_rho_away_from_the_border(coded):
    met = visits(PairSampler(coded, protocol(pairing="online"), seed=0, labels=True))
    xy = torch.tensor([where[1:] for where in met])
    assert xy.min() == 8
    assert xy.max() == 96 - 32 - 8


def test_source_and_target_show_the_same_image_of_either_modality(coded):
    for source, offsets in (("A", (0, 100)), ("B", (100, 0))):
        pair = PairSampler(coded, protocol(source=source), seed=0).batch("s", 0, 40, ("pair",)).pair
        shown = [place(patch, offset)[:, 0] for patch, offset in zip((pair.source, pair.target), offsets, strict=True)]
        assert torch.equal(*shown)


def test_unpaired_images_are_independent(coded):
    sampler = PairSampler(coded, protocol(pairing="online"), seed=0)
    drawn = [sampler.batch("s", step, 100, ("pair", "unpaired")) for step in range(6)]
    unpaired_s = torch.cat([place(b.unpaired.source) for b in drawn])[:, 0]
    unpaired_t = torch.cat([place(b.unpaired.target, 100) for b in drawn])[:, 0]
    pair_s = torch.cat([place(b.pair.source) for b in drawn])[:, 0]
    for first, second in ((unpaired_s, unpaired_t), (unpaired_s, pair_s), (unpaired_t, pair_s)):
        equal = (first == second).float().mean()
        assert abs(equal - 1 / 6) < 4 * (5 / 36 / 600) ** 0.5


# --- kinds of packs


def test_grey_images_are_replicated_and_reported(tiny_pack):
    for source, (grey, colour) in (("A", ("target", "source")), ("B", ("source", "target"))):
        chosen = protocol(source=source)
        info = pair_info(tiny_pack, chosen)
        assert (getattr(info, f"{grey}_channels"), getattr(info, f"{colour}_channels")) == (1, 3)
        assert (getattr(info, f"{colour}_modality"), getattr(info, f"{grey}_modality")) == ("optical", "sar")
        pair = PairSampler(tiny_pack, chosen, seed=0).batch("s", 0, 4, ("pair",)).pair
        image = getattr(pair, grey)
        assert image.shape == (4, 3, 32, 32)
        assert torch.equal(image[:, 0], image[:, 2])
        assert not torch.equal(getattr(pair, colour)[:, 0], getattr(pair, colour)[:, 2])


def test_images_are_float_in_the_unit_interval(tiny_pack):
    batch = PairSampler(tiny_pack, SMALL, seed=0).batch("s", 0, 8, VIEWS)
    for name, tensor in tensors(batch).items():
        assert tensor.dtype == torch.float32, name
        if "displacement" not in name:
            assert 0 <= tensor.min() < tensor.max() <= 1, name


def test_sixteen_bit_packs_give_the_same_views(make_pack, same_pack, twins):
    deep = make_pack(*[[image.astype(np.uint16) * 257 for image in same_pack]] * 2)
    online = protocol(pairing="online")  # frozen pairs depend on the content
    a, b = (PairSampler(pack, online, seed=0).batch("s", 0, 6, VIEWS) for pack in (twins, deep))
    for name, tensor in tensors(a).items():
        torch.testing.assert_close(tensors(b)[name], tensor, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def given(make_pack, same_pack):
    """Really unaligned pairs of known homographies, B(H p) = A(p); the last two without a label."""
    moved = torch.randint(-6, 7, (7, 4, 2), generator=torch.Generator().manual_seed(0)).double()
    h = geometry.homography_from_displacement(moved, (80, 100))
    a = torch.from_numpy(np.stack(same_pack))[:, None].float()
    b = geometry.warp(a, h.float(), padding="reflection").round().byte()[:, 0].numpy()
    return make_pack(same_pack, list(b), [*h[:5].numpy(), None, None])


@pytest.mark.parametrize("source", ["A", "B"])
def test_given_labels_map_source_onto_target(given, source):
    chosen = protocol(pairing="given", source=source)
    pair = PairSampler(given, chosen, seed=0, labels=True).batch("s", 0, 24, ("pair",)).pair
    right = mismatch(pair.source, pair.target, pair.displacement)
    assert right < 0.02
    assert mismatch(pair.source, pair.target, -pair.displacement) > 3 * right
    manifest = make_manifest(given, chosen)
    assert set(manifest.draws.index.tolist()) == set(range(5))
    assert manifest.draws.displacement.isfinite().all()


def test_given_pairs_need_no_label_without_supervision(given, make_pack, same_pack):
    online = protocol(pairing="given")
    assert PairSampler(given, online, seed=0).pairs_per_epoch == 7
    assert PairSampler(given, online, seed=0, labels=True).pairs_per_epoch == 5
    bare = make_pack(same_pack, same_pack, [None] * 7)
    batch = PairSampler(bare, online, seed=0).batch("s", 0, 4, VIEWS)
    assert batch.pair.displacement is None
    assert all(tensor.isfinite().all() for tensor in tensors(batch).values())
    with pytest.raises(UsageError, match="carries no labels"):
        PairSampler(bare, online, seed=0, labels=True)
    manifest = make_manifest(bare, online)
    assert manifest.truth == "none"
    assert manifest.draws.index.tolist() == list(range(7))
    assert manifest.draws.displacement.isnan().all()


# --- mistakes


@pytest.mark.parametrize(
    ("pack", "changes", "message"),
    [
        ("twins", {"patch": 96}, r"images of 100x80 px are too small for patch=96, rho=8 \(112x112 needed\)"),
        ("twins", {"rho": 25, "patch": 51}, "101x101 needed"),
        ("twins", {"pairing": "given"}, "holds aligned pairs.*--pairing frozen"),
        ("given", {}, "really unaligned pairs; use --pairing given"),
        ("given", {"pairing": "given", "patch": 96}, "96x96 needed|112x112 needed"),
    ],
)
def test_protocol_that_does_not_fit_the_pack_says_why(request, pack, changes, message):
    with pytest.raises(UsageError, match=message):
        PairSampler(request.getfixturevalue(pack), protocol(**changes), seed=0)


def test_largest_patch_that_fits_is_drawn(twins):
    batch = PairSampler(twins, protocol(patch=64), seed=0).batch("s", 0, 4, ("pair",))
    assert batch.pair.source.shape == (4, 3, 64, 64)
