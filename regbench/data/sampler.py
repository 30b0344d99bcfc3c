"""The only source of training data: device-side batches of views, and the supervision firewall.

Images live on the device as the pack stores them, or are read ahead where they do not fit; every patch is cut there,
in batches. All randomness is drawn on the CPU from seeds hashed of (run seed, purpose, stage, step): any batch can be
regenerated, a resume needs no generator state, and CPU and GPU see the same data. Processes that share a batch all draw
the whole of it, and cut their own samples.

The firewall. A strategy without supervision is handed views that hold neither the hidden displacement nor anything it
follows from. This guards against mistakes; a plugin that means to can draw the labels again (``docs/trust.md``).

* ``pair`` has no mask, and its windows never leave the image.
* ``self_source`` and ``self_target`` are made of the very patches of ``pair``: no image of A is ever shown at the
  place of an image of B. The synthetic warp composes with the hidden one (one interpolation) and sees what lies around
  the patch; its mask depends on the synthetic warp alone. Known limit: where the composed warp leaves an image that is
  hardly larger than patch + 2 rho, the picture is mirrored, and the place of that mirror line depends on the hidden
  warp too. Mirroring at the patch itself would show the network the synthetic label at every border instead.
* Augmented pairs (``protocol.frozen_augment``) are cut from within the patches of the pair, by draws of another stream.
* ``unpaired`` draws both images independently, from the same marginals.
* Hidden displacements come from their own stream of seeds; the generator a strategy is handed is of another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import geometry
from regbench.api.types import Batch, Pair, PairInfo, SelfPair, Unpaired
from regbench.data.augment import composed_label, draw_views
from regbench.data.images import Images, Streamed
from regbench.data.packs.pack import Pack
from regbench.data.pairs import (
    DataFacts,
    Draws,
    check_fits,
    cut,
    draw_displacements,
    draw_pairs,
    given_pairs,
    sides,
    source_patch,
    target_patch,
)
from regbench.data.photometric import Distortion
from regbench.data.protocol import Protocol
from regbench.devices import to_device
from regbench.distributed.batch import draw, own, rows
from regbench.errors import UsageError
from regbench.seeds import seed_of

PREFETCH_STEPS = 2
"""Coming steps whose images are prefetched, where a pack is streamed."""


def pair_info(pack: DataFacts, protocol: Protocol) -> PairInfo:
    """What networks may know of the pairs of a pack under a protocol."""
    order = (0, 1) if protocol.source == "A" else (1, 0)
    return PairInfo(
        patch=protocol.patch,
        rho=protocol.rho,
        source_channels=pack.channels[order[0]],
        target_channels=pack.channels[order[1]],
        source_modality=pack.modalities[order[0]],
        target_modality=pack.modalities[order[1]],
    )


class PairSampler:
    """Batches of views of a pack's training split.

    Args:
        pack: the data.
        protocol: patch, range, pairing.
        seed: of the run.
        device: where images live and patches are cut.
        labels: whether ``pair`` carries its displacement; True only for strategies that declare supervision.

    Raises:
        UsageError: the protocol does not fit the pack, the pack has no training images, or labels are needed of a
            set that has none.
    """

    def __init__(
        self, pack: Pack, protocol: Protocol, *, seed: int, device: torch.device | str = "cpu", labels: bool = False
    ) -> None:
        check_fits(pack, protocol)
        count = pack.counts["train"]
        if count == 0:
            raise UsageError(f"{pack.name} has no training pairs")
        self.protocol = protocol
        self.labels = labels
        self.device = torch.device(device)
        self._seed = seed
        self._pack = pack
        self._count = count
        self._source, self._target = sides(pack, "train", protocol, self.device)
        self._prefetches = isinstance(self._source, Streamed)
        self._ready: dict[tuple[str, str, int, int], Draws] = {}
        self._fixed: Draws | None = None
        if protocol.pairing == "frozen":
            generator = torch.Generator().manual_seed(
                seed_of("frozen pairs", pack.sha256, protocol.patch, protocol.rho, protocol.oversample)
            )
            index = torch.arange(count).repeat(protocol.oversample)
            self._fixed = draw_pairs(index, pack.size, protocol, generator)
        elif protocol.pairing == "given":
            self._fixed = given_pairs(pack, "train", protocol, labelled=labels)
            if not len(self._fixed):
                raise UsageError(f"{pack.name} carries no labels, which a supervised strategy needs")

    @property
    def pairs_per_epoch(self) -> int:
        """Training pairs of one pass: fixed pairs, or images when every visit draws anew."""
        return len(self._fixed) if self._fixed is not None else self._count

    def batch(self, stage: str, step: int, size: int, views: tuple[str, ...], repeat_pairs: int | None = None) -> Batch:
        """The batch of one step, or this process's share of it: a function of the run's seed and the arguments.

        Args:
            stage: name of the stage.
            step: number of the step in it.
            size: pairs in the batch of all processes.
            views: names of the views the stage declares (``pair``, ``self_source``, ``self_target``, ``unpaired``).
            repeat_pairs: number of steps after which the pairs come again, with other synthetic warps; None: never.
        """
        pair_step = _pair_step(step, repeat_pairs)
        noise, of_pairs = (self._generator("noise", stage, n) for n in (step, pair_step))
        batch = Batch(size, step, noise, pair_step=pair_step, pair_generator=of_pairs)
        draws = self._drawn("pairs", stage, pair_step, size)
        colours = draws.colours or (None, None)
        source_view, target_view = self._source_view(draws), to_device(geometry.translation(draws.origin), self.device)
        displacement, patch = draws.displacement, self.protocol.patch
        augmented = self.protocol.frozen_augment != "none"
        if augmented:
            generator = self._generator("augment", stage, pair_step)
            both = draw_views(self.protocol.frozen_augment, size, patch, self.protocol.rho, generator)
            views_of = own(both[0]), own(both[1])
            displacement = composed_label(displacement, *views_of, patch)
            first, second = (to_device(view, self.device) for view in views_of)
            source_view, target_view = geometry.product(source_view, first), geometry.product(target_view, second)
        if {"pair", "self_source"} & set(views):
            source_images = self._source.take(draws.index)
            if augmented:
                source = cut(source_images, source_view, patch, colours[0])
            else:
                source = source_patch(source_images, draws, self.protocol)
        if {"pair", "self_target"} & set(views):
            shared = self._target is self._source and "pair" in views
            target_images = source_images if shared else self._target.take(draws.index)
            if augmented:
                target = cut(target_images, target_view, patch, colours[1])
            else:
                target = target_patch(target_images, draws, self.protocol)
        if "pair" in views:
            label = to_device(displacement, self.device) if self.labels else None
            batch.views["pair"] = Pair(source, target, label)
        if "self_source" in views:
            generator = self._generator("self_source", stage, step)
            batch.views["self_source"] = self._self_pair(source, source_images, source_view, colours[0], generator)
        if "self_target" in views:
            generator = self._generator("self_target", stage, step)
            batch.views["self_target"] = self._self_pair(target, target_images, target_view, colours[1], generator)
        if "unpaired" in views:
            batch.views["unpaired"] = self._unpaired(size, stage, step)
        if self._prefetches:
            for coming in range(step + 1, step + 1 + PREFETCH_STEPS):
                self._prefetch(stage, coming, size, views, _pair_step(coming, repeat_pairs))
        return batch

    def _generator(self, purpose: str, stage: str, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self._seed, purpose, stage, step))

    def _drawn(self, purpose: str, stage: str, step: int, size: int) -> Draws:
        """The draws of a step; :meth:`_prefetch` may have made them already."""
        ready = self._ready.pop((purpose, stage, step, size), None)
        return ready if ready is not None else self._draw(purpose, stage, step, size)

    def _draw(self, purpose: str, stage: str, step: int, size: int) -> Draws:
        generator = self._generator(purpose, stage, step)
        if self._fixed is not None:
            draws = self._fixed[torch.randint(0, len(self._fixed), (size,), generator=generator)]
        else:
            index = torch.randint(0, self._count, (size,), generator=generator)
            draws = draw_pairs(index, self._pack.size, self.protocol, generator)
        return draws.coloured(self._pack, lambda: self._generator(f"{purpose} colours", stage, step))[rows()]

    def _prefetch(self, stage: str, step: int, size: int, views: tuple[str, ...], pair_step: int) -> None:
        """Make the draws of a coming step and prefetch their images."""
        needed: dict[str, list[Images]] = {}
        if {"pair", "self_source"} & set(views):
            needed.setdefault("pairs", []).append(self._source)
        if {"pair", "self_target"} & set(views):
            needed.setdefault("pairs", []).append(self._target)
        if "unpaired" in views:
            needed |= {"unpaired source": [self._source], "unpaired target": [self._target]}
        for purpose, sides_needed in needed.items():
            key = (purpose, stage, pair_step if purpose == "pairs" else step, size)
            if key in self._ready:  # drawn a step ago
                continue
            self._ready[key] = self._draw(*key)
            for images in sides_needed:
                images.prefetch(self._ready[key].index)
        while len(self._ready) > 8 * PREFETCH_STEPS:  # of a stage that ended earlier
            self._ready.pop(next(iter(self._ready)))

    def _source_view(self, draws: Draws) -> Tensor:
        """Patch pixels to image pixels of the source; the hidden displacement is in it."""
        view = geometry.translation(draws.origin)
        if self.protocol.pairing != "given":  # else the images themselves are unaligned, nothing is added
            size = (self.protocol.patch, self.protocol.patch)
            view = geometry.product(view, geometry.homography_from_displacement(draws.displacement, size))
        return to_device(view, self.device)

    def _self_pair(
        self, image: Tensor, images: Tensor, view: Tensor, colours: Distortion | None, generator: torch.Generator
    ) -> SelfPair:
        patch = self.protocol.patch
        drawn = draw(lambda n: draw_displacements(n, patch, self.protocol.rho, generator), len(image))
        displacement = to_device(drawn, self.device)
        h = geometry.homography_from_displacement(displacement, (patch, patch))
        view = geometry.product(view, h)
        warped = cut(images, view, patch, colours)  # warped(p) = image(H p), composed with the pack's own warp
        mask = geometry.inside(h, (patch, patch), (patch, patch))
        return SelfPair(image, warped, displacement, mask)

    def _unpaired(self, size: int, stage: str, step: int) -> Unpaired:
        first = self._drawn("unpaired source", stage, step, size)
        second = self._drawn("unpaired target", stage, step, size)
        source = source_patch(self._source.take(first.index), first, self.protocol)
        return Unpaired(source, target_patch(self._target.take(second.index), second, self.protocol))


def _pair_step(step: int, repeat_pairs: int | None) -> int:
    """The step that first had the pairs of this one."""
    return step if repeat_pairs is None else step % repeat_pairs
