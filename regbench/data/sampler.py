"""The only source of training data: device-side batches of views, and the supervision firewall.

Images live on the device as the pack stores them; every patch is cut there, in batches. All randomness is drawn on
the CPU from seeds hashed of (run seed, purpose, stage, step): any batch can be regenerated, a resume needs no
generator state, and CPU and GPU see the same data.

The firewall. A strategy without supervision gets views that hold neither the hidden displacement nor anything it can
be computed from:

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
from regbench.config import Protocol
from regbench.data.augment import composed_label, draw_views
from regbench.data.pack import Pack
from regbench.data.pairs import Draws, check_fits, cut, draw_displacements, draw_pairs, given_pairs, sides
from regbench.errors import UsageError
from regbench.seeds import seed_of


def pair_info(pack: Pack, protocol: Protocol) -> PairInfo:
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
        UsageError: the protocol does not fit the pack, the pack has no training images, or labels are asked of a
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
        self._size = pack.size
        self._count = count
        self._source, self._target = sides(pack, "train", protocol, self.device)
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

    def batch(self, stage: str, step: int, size: int, views: tuple[str, ...]) -> Batch:
        """The batch of one step: a pure function of the run's seed and the arguments."""
        draws = self._draw(size, self._generator("pairs", stage, step))
        batch = Batch(size, step, self._generator("noise", stage, step))
        source_view, target_view = self._hidden(draws)
        displacement = draws.displacement
        if self.protocol.frozen_augment != "none":
            patch, rho = self.protocol.patch, self.protocol.rho
            generator = self._generator("augment", stage, step)
            first, second = draw_views(self.protocol.frozen_augment, size, patch, rho, generator)
            source_view, target_view = source_view @ self._place(first), target_view @ self._place(second)
            displacement = composed_label(displacement, first, second, patch)
        index = self._place(draws.index)
        if {"pair", "self_source"} & set(views):
            source = cut(self._source, index, source_view, self.protocol.patch)
        if {"pair", "self_target"} & set(views):
            target = cut(self._target, index, target_view, self.protocol.patch)
        if "pair" in views:
            label = self._place(displacement) if self.labels else None
            batch.views["pair"] = Pair(source, target, label)
        if "self_source" in views:
            generator = self._generator("self_source", stage, step)
            batch.views["self_source"] = self._self_pair(source, self._source, index, source_view, generator)
        if "self_target" in views:
            generator = self._generator("self_target", stage, step)
            batch.views["self_target"] = self._self_pair(target, self._target, index, target_view, generator)
        if "unpaired" in views:
            batch.views["unpaired"] = self._unpaired(size, stage, step)
        return batch

    def _generator(self, purpose: str, stage: str, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self._seed, purpose, stage, step))

    def _place(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def _draw(self, size: int, generator: torch.Generator) -> Draws:
        if self._fixed is not None:
            return self._fixed[torch.randint(0, len(self._fixed), (size,), generator=generator)]
        index = torch.randint(0, self._count, (size,), generator=generator)
        return draw_pairs(index, self._size, self.protocol, generator)

    def _hidden(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Patch pixels to image pixels, for source and target; the hidden displacement is in the first."""
        shift = geometry.translation(draws.origin)
        if self.protocol.pairing == "given":  # the images themselves are unaligned, nothing is added
            return self._place(shift), self._place(shift)
        patch = (self.protocol.patch, self.protocol.patch)
        hidden = shift @ geometry.homography_from_displacement(draws.displacement, patch)
        return self._place(hidden), self._place(shift)

    def _self_pair(
        self, image: Tensor, images: Tensor, index: Tensor, view: Tensor, generator: torch.Generator
    ) -> SelfPair:
        patch = self.protocol.patch
        drawn = draw_displacements(len(index), patch, self.protocol.rho, generator)
        displacement = self._place(drawn)
        h = geometry.homography_from_displacement(displacement, (patch, patch))
        warped = cut(images, index, view @ h, patch)  # warped(p) = image(H p), composed with the pack's own warp
        mask = geometry.inside(h, (patch, patch), (patch, patch))
        return SelfPair(image, warped, displacement, mask)

    def _unpaired(self, size: int, stage: str, step: int) -> Unpaired:
        patch = self.protocol.patch
        first = self._draw(size, self._generator("unpaired source", stage, step))
        second = self._draw(size, self._generator("unpaired target", stage, step))
        source = cut(self._source, self._place(first.index), self._hidden(first)[0], patch)
        target = cut(self._target, self._place(second.index), self._hidden(second)[1], patch)
        return Unpaired(source, target)
