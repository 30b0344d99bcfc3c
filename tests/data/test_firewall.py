"""The supervision firewall: nothing an unsupervised strategy receives tells the hidden displacement.

Every image of the pack is its own random texture, so pixel values carry no content that could be memorised, and the
images are hardly larger than patch + 2 rho, where borders would show most. A linear model is fitted to what a strategy
receives; on samples it was not fitted to it must do no better than on shuffled displacements. Controls with a leak
built in prove that it would be found.
"""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from regbench import geometry
from regbench.config import Protocol
from regbench.data.pack import Pack
from regbench.data.pairs import Draws, draw_displacements, draw_pairs
from regbench.data.sampler import PairSampler, pair_info
from regbench.engine.context import RunContext
from regbench.errors import UsageError
from regbench.plugins import registry
from regbench.seeds import seed_of
from regbench.testing import parts, training

PATCH, RHO, SIDE = 32, 8, 50
VIEWS = ("pair", "self_source", "self_target", "unpaired")
SIZE = (PATCH, PATCH)
SEED = 20240607
CHANCE, FOUND = 4.5, 10.0
"""Standard deviations above shuffled displacements: what is never reached by chance, and what a leak exceeds."""


@pytest.fixture(scope="module")
def textures(make_pack):
    noise = torch.randn(800, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    noise = F.avg_pool2d(noise, 3, 1, 1)
    images = (128 + 60 * noise / noise.abs().amax()).round().byte()[:, 0].numpy()
    return make_pack(list(images[:400]), list(images[400:]))


@dataclasses.dataclass
class Received:
    """What a strategy is handed in many steps, and the displacement it must not know."""

    tensors: dict
    hidden: torch.Tensor


def receive(pack, pairing, augment="none"):
    protocol = Protocol(patch=PATCH, rho=RHO, pairing=pairing, oversample=3, frozen_augment=augment)
    blind = PairSampler(pack, protocol, seed=SEED)
    knowing = PairSampler(pack, protocol, seed=SEED, labels=True)
    plain = PairSampler(pack, protocol.model_copy(update={"frozen_augment": "none"}), seed=SEED, labels=True)
    parts, hidden, pairs = {}, [], []
    for step in range(10):
        batch = blind.batch("stage", step, 100, VIEWS)
        truth = knowing.batch("stage", step, 100, ("pair",)).pair
        assert torch.equal(truth.source, batch.pair.source)
        hidden.append(truth.displacement)
        pairs.append(plain.batch("stage", step, 100, ("pair",)).pair.displacement)
        for name, view in batch.views.items():
            for field in dataclasses.fields(view):
                tensor = getattr(view, field.name)
                if tensor is not None:
                    # Grey images are replicated: one channel says it all.
                    parts.setdefault(f"{name}.{field.name}", []).append(tensor[:, :1] if tensor.ndim == 4 else tensor)
    hidden = torch.cat(hidden)
    # A frozen pair that was met twice must not be in both halves.
    _, pair = torch.cat(pairs).flatten(1).unique(dim=0, return_inverse=True)
    keep = torch.tensor(sorted({int(p): i for i, p in enumerate(pair)}.values()))
    assert len(keep) > 600
    return Received({name: torch.cat(part)[keep] for name, part in parts.items()}, hidden[keep])


CASES = [("frozen", "none"), ("online", "none"), ("frozen", "sync_flip_rot"), ("frozen", "indep_homography")]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(x for x in case if x != "none"))
def received(request, textures):
    return receive(textures, *request.param)


def leak(features, hidden, shuffles=100):
    """How far the held-out fit of ridge regression lies above that of shuffled displacements, in deviations."""
    x, y = features.flatten(1), hidden.flatten(1).double()
    x = x - x.mean(0)
    kernel = (x @ x.T).double()
    if kernel.diagonal().mean() < 1e-9:
        return 0.0  # the same for every sample
    kernel = kernel / kernel.diagonal().mean()
    n = len(x)
    k = 2 * n // 3
    fit = torch.linalg.solve(kernel[:k, :k] + 0.1 * torch.eye(k, dtype=torch.float64), kernel[:k, k:]).T
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(n)] + [torch.randperm(n, generator=generator) for _ in range(shuffles)]
    tried = torch.stack([y[order] for order in orders])
    mean = tried[:, :k].mean(1, keepdim=True)
    guess, truth = fit @ (tried[:, :k] - mean), tried[:, k:] - mean
    match = (guess * truth).sum((1, 2)) / (guess.norm(dim=(1, 2)) * truth.norm(dim=(1, 2)))
    return float((match[0] - match[1:].mean()) / match[1:].std())


def marks(image):
    """What padding leaves behind: pixels that are exactly zero, or exactly like a neighbour."""
    right = F.pad((image[..., 1:] == image[..., :-1]).float(), (0, 1))
    below = F.pad((image[..., 1:, :] == image[..., :-1, :]).float(), (0, 0, 0, 1))
    return torch.maximum((image == 0).float(), right * below)


def permuted(image):
    """Pixels permuted across samples, at each place anew; what padding left behind stays with its sample."""
    order = torch.rand(image.shape, generator=torch.Generator().manual_seed(1)).argsort(0)
    return torch.cat([image.gather(0, order), marks(image)], 1)


def hidden_view(hidden):
    return geometry.homography_from_displacement(hidden, SIZE)


# --- what is received


def test_strategy_receives_these_tensors_and_no_others(received):
    self_pair = ("image", "warped", "displacement", "mask")
    expected = {"pair.source", "pair.target", "unpaired.source", "unpaired.target"}
    expected |= {f"{view}.{name}" for view in ("self_source", "self_target") for name in self_pair}
    assert set(received.tensors) == expected


def test_no_tensor_tells_the_hidden_displacement(received):
    assert all(tensor.isfinite().all() for tensor in received.tensors.values())
    found = {name: leak(tensor, received.hidden) for name, tensor in received.tensors.items()}
    assert {name: z for name, z in found.items() if z > CHANCE} == {}


def test_no_padding_tells_the_hidden_displacement(received):
    images = {name: t for name, t in received.tensors.items() if t.ndim == 4 and not name.endswith("mask")}
    assert len(images) == 8
    found = {name: leak(marks(tensor), received.hidden) for name, tensor in images.items()}
    assert {name: z for name, z in found.items() if z > CHANCE} == {}


def test_pixels_permuted_across_samples_tell_nothing(received):
    images = {name: t for name, t in received.tensors.items() if t.ndim == 4 and not name.endswith("mask")}
    found = {name: leak(permuted(tensor), received.hidden) for name, tensor in images.items()}
    assert {name: z for name, z in found.items() if z > CHANCE} == {}


def test_self_displacements_are_independent_of_the_hidden_one(received):
    sides = [received.tensors[f"{view}.displacement"].flatten(1) for view in ("self_source", "self_target")]
    products = torch.cat([*sides, sides[0] * sides[1], sides[0] ** 2, sides[1] ** 2], 1)
    assert leak(products, received.hidden) < CHANCE


# --- controls: a leak would be found


def test_control_mask_of_the_hidden_warp_is_found(received):
    assert leak(geometry.inside(hidden_view(received.hidden), SIZE, SIZE), received.hidden) > FOUND


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_control_padding_of_a_view_that_leaves_the_image_is_found(received, padding):
    leaking = geometry.sample(received.tensors["pair.target"], hidden_view(received.hidden), padding=padding)
    assert leak(marks(leaking), received.hidden) > FOUND
    assert leak(permuted(leaking), received.hidden) > FOUND
    if padding == "zeros":
        assert leak(leaking, received.hidden) > FOUND  # also as pixel values


def test_control_self_displacement_that_knows_the_hidden_one_is_found(received):
    told = received.tensors["self_source.displacement"] + 0.5 * received.hidden
    assert leak(told, received.hidden) > FOUND


# --- mirrors


def mirrored(image, seen, dim):
    """How well every pixel's neighbours match across it, where all of them are seen."""
    error, known = 0.0, 1.0
    for k in (1, 2, 3):
        ahead, behind = (torch.roll(image, s * k, dim) for s in (-1, 1))
        error = error + (ahead - behind) ** 2
        known = known * torch.roll(seen, -k, dim) * torch.roll(seen, k, dim)
    return torch.exp(-error / (3 * 0.25 * image.var())) * known


def mirrors(tensors, view):
    """Mirror lines around the patch of a self-pair, in the patch's own frame (its own warp is known)."""
    margin = 10
    side = PATCH + 2 * margin
    moved = geometry.homography_from_displacement(tensors[f"{view}.displacement"], SIZE)
    shift = geometry.translation(torch.full((len(moved), 2), -float(margin)))
    back = geometry.invert(moved) @ shift
    image = geometry.sample(tensors[f"{view}.warped"], back, (side, side))
    seen = geometry.inside(back, (side, side), SIZE)
    across, along = mirrored(image, seen, 3)[:, 0], mirrored(image, seen, 2)[:, 0]
    half = side // 2  # a profile for each of the four borders
    lines = [across[:, :half].mean(1), across[:, half:].mean(1), along[..., :half].mean(2), along[..., half:].mean(2)]
    return torch.cat([*lines, *(line**2 for line in lines)], 1)


@pytest.fixture(scope="module")
def many(textures):
    """The leak is faint: more samples, fewer views."""
    sampler = PairSampler(textures, Protocol(patch=PATCH, rho=RHO, pairing="online"), seed=SEED, labels=True)
    batches = [sampler.batch("stage", step, 250, ("pair", "self_source", "self_target")) for step in range(10)]
    tensors = {
        f"{view}.{name}": torch.cat([getattr(getattr(batch, view), name)[:, :4] for batch in batches])
        for view in ("self_source", "self_target")
        for name in ("displacement", "warped")
    }
    tensors = {name: tensor[:, :1] if tensor.ndim == 4 else tensor for name, tensor in tensors.items()}
    return Received(tensors, torch.cat([batch.pair.displacement for batch in batches]))


@pytest.mark.xfail(
    strict=True, reason="self_source.warped mirrors image A at its border, which shows where the view lies"
)
def test_mirrored_border_of_the_source_tells_nothing(many):
    assert leak(mirrors(many.tensors, "self_source"), many.hidden) < CHANCE


def test_mirrored_border_of_the_target_tells_nothing(many):
    assert leak(mirrors(many.tensors, "self_target"), many.hidden) < CHANCE


# --- seeds and objects


def reachable(thing, seen=None):
    """Every object that can be had from one by attributes, items and elements."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return []
    seen[id(thing)] = thing
    parts = []
    if isinstance(thing, dict):
        parts = [*thing, *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = list(thing)
    elif not isinstance(thing, (torch.Tensor, str, bytes)):
        parts = list(getattr(thing, "__dict__", {}).values())
    return [thing, *(found for part in parts for found in reachable(part, seen))]


def seeds_in(things):
    """Every number in reach that could be a seed, and what a strategy could hash of it."""
    numbers = {t.initial_seed() for t in things if isinstance(t, torch.Generator)}
    numbers |= {t for t in things if isinstance(t, int) and not isinstance(t, bool)}
    return numbers | {seed_of(n, "pairs", "stage", 3) for n in numbers}


def agreement(seed, hidden, protocol, count):
    """Share of the hidden offsets that a seed reproduces, drawn as the sampler draws them or directly."""
    best = 0.0
    for skip in (False, True):
        generator = torch.Generator().manual_seed(seed % 2**63)
        if skip:
            index = torch.randint(0, count, (len(hidden),), generator=generator)
            drawn = draw_pairs(index, (SIDE, SIDE), protocol, generator).displacement
        else:
            drawn = draw_displacements(len(hidden), PATCH, RHO, generator)
        best = max(best, float((drawn == hidden).float().mean()))
    return best


@pytest.fixture(scope="module", params=["frozen", "online"])
def handed(request, textures):
    """Batch and context as a strategy gets them, the hidden displacement, the protocol."""
    protocol = Protocol(patch=PATCH, rho=RHO, pairing=request.param)
    batch = PairSampler(textures, protocol, seed=SEED).batch("stage", 3, 64, VIEWS)
    hidden = PairSampler(textures, protocol, seed=SEED, labels=True).batch("stage", 3, 64, ("pair",)).pair.displacement
    context = RunContext(pair_info(textures, protocol), torch.device("cpu"), {}, seed=SEED)
    return batch, context, hidden, protocol


def test_no_seed_in_reach_reproduces_the_hidden_displacement(handed, textures):
    batch, context, hidden, protocol = handed
    seeds = seeds_in(reachable(batch) + reachable(context))
    assert batch.generator.initial_seed() in seeds
    assert context.seed in seeds
    assert SEED not in seeds
    for seed in seeds:  # each offset is one of 17: 0.059 by chance, 512 of them
        assert agreement(seed, hidden, protocol, textures.counts["train"]) < 0.12, seed


def test_control_the_runs_own_seed_reproduces_online_displacements(handed, textures):
    _, _, hidden, protocol = handed
    found = agreement(seed_of(SEED, "pairs", "stage", 3), hidden, protocol, textures.counts["train"])
    assert (found == 1) == (protocol.pairing == "online")


def test_no_object_in_reach_holds_the_label_or_its_source(handed):
    batch, context, hidden, _ = handed
    things = reachable(batch) + reachable(context)
    assert not [t for t in things if isinstance(t, (PairSampler, Pack, Draws))]
    labels = [t for t in things if isinstance(t, torch.Tensor) and t.shape[-2:] == (4, 2)]
    assert len(labels) == 2  # of the two self-pairs
    assert batch.pair.displacement is None
    for label in labels:
        assert (label == hidden).float().mean() < 0.12
        assert (label == -hidden).float().mean() < 0.12


UNSUPERVISED = [c for c in registry().all("strategy") if c.load().supervision == "none"]


def planned(component):
    """A strategy with the first small partners it accepts, after ``stages``."""
    for pair in parts.partners(component):
        made, context = parts.build_strategy(component), parts.context(*pair, seed=SEED)
        try:
            return made, context, made.stages(context)
        except UsageError:
            continue
    pytest.skip("no installed registrator and translator fit it")


@pytest.mark.parametrize("component", UNSUPERVISED, ids=lambda component: component.name)
def test_no_unsupervised_strategy_has_a_label_or_its_seed_in_reach(component):
    made, context, stages = planned(component)
    blind = PairSampler(training.tiny_pack(), parts.PROTOCOL, seed=SEED)
    knowing = PairSampler(training.tiny_pack(), parts.PROTOCOL, seed=SEED, labels=True)
    for stage in stages:
        batch = blind.batch(stage.name, 3, 8, stage.views)
        assert set(batch.views) == set(stage.views) <= set(VIEWS)
        hidden = knowing.batch(stage.name, 3, 8, ("pair",)).pair.displacement
        things = reachable([made, context, stage, batch])
        assert not [t for t in things if isinstance(t, (PairSampler, Pack, Draws))]
        seeds = seeds_in(things)
        assert batch.generator.initial_seed() in seeds
        assert not {SEED, seed_of(SEED, "pairs", stage.name, 3)} & seeds
        labels = [t for t in things if isinstance(t, torch.Tensor) and t.shape == hidden.shape]
        assert len(labels) == sum(view.startswith("self_") for view in stage.views)
        for label in labels:
            assert (label == hidden).float().mean() < 0.2  # 1/33 by chance, 64 offsets


def test_a_finished_run_brings_no_seed_into_reach(monkeypatch):
    # A teacher is often of this run's own seed, which every online displacement could be drawn from.
    result = SimpleNamespace(identity=SimpleNamespace(seed=SEED))
    run = SimpleNamespace(result=result, run_id="0" * 12, supervision="homography")
    monkeypatch.setattr("regbench.engine.archive.open_run", lambda *_: run)
    context = RunContext(parts.INFO, torch.device("cpu"), {}, seed=SEED)
    assert context.run(Path("finished")) is run
    assert SEED in seeds_in(reachable(run))
    assert SEED not in seeds_in(reachable(context))
    assert [(a.run_id, a.supervision) for a in context.ancestors] == [("0" * 12, "homography")]


def test_self_images_of_a_row_are_not_aligned(make_pack):
    # Even where A and B are the same image, no window of one lies at the window of the other.
    noise = torch.rand(6, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    images = list((noise * 255).byte().numpy())
    pack = make_pack(images, images)
    for pairing in ("frozen", "online"):
        protocol = Protocol(patch=PATCH, rho=RHO, pairing=pairing)
        batch = PairSampler(pack, protocol, seed=SEED).batch("stage", 0, 200, VIEWS)
        hidden = PairSampler(pack, protocol, seed=SEED, labels=True).batch("stage", 0, 200, ("pair",)).pair.displacement
        assert hidden.flatten(1).abs().amax(1).min() > 1
        for first, second in (
            (batch.self_source.image, batch.self_target.image),
            (batch.self_source.warped, batch.self_target.image),
            (batch.self_source.warped, batch.self_target.warped),
        ):
            a, b = (x[:, 0].flatten(1) - x[:, 0].flatten(1).mean(1, keepdim=True) for x in (first, second))
            alike = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
            assert alike.max() < 0.9
            assert alike.mean() < 0.3


# --- every strategy


UNSUPERVISED = [c for c in registry().all("strategy") if c.load().supervision == "none"]


@pytest.mark.parametrize("component", UNSUPERVISED, ids=lambda c: c.name)
def test_nothing_an_unsupervised_strategy_can_reach_holds_a_label(component, monkeypatch):
    handed = []

    class Recording(PairSampler):
        def batch(self, stage, step, size, views):
            handed.append((stage, step, size, super().batch(stage, step, size, views)))
            return handed[-1][-1]

    monkeypatch.setattr(training, "PairSampler", Recording)
    pack, protocol = training.tiny_pack(), parts.PROTOCOL
    for partners in parts.partners(component):
        strategy, context = parts.build_strategy(component), parts.context(*partners, pair_info(pack, protocol))
        try:
            stages = strategy.stages(context)
            break
        except UsageError:  # such as rounds with a translator that cannot refine
            continue
    knowing = PairSampler(pack, protocol, seed=0, labels=True)
    for stage in stages:
        training.train_stage(stage, context, labels=False, steps=1)
    things = reachable(strategy) + reachable(context)
    assert not [t for t in things if isinstance(t, (PairSampler, Pack, Draws))]
    assert {stage for stage, *_ in handed} == {stage.name for stage in stages}
    for stage, step, size, batch in handed:
        hidden = knowing.batch(stage, step, size, ("pair",)).pair.displacement
        assert "pair" not in batch.views or batch.pair.displacement is None
        told = [t for t in reachable(batch) + things if isinstance(t, torch.Tensor) and t.shape == hidden.shape]
        assert not [t for t in told if (t == hidden).float().mean() > 0.5]
