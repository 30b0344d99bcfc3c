"""The frozen test pairs of a pack as tensors: what judges, timers and pictures look at."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from regbench.data.manifest import Manifest
from regbench.data.packs.pack import Pack
from regbench.data.pairs import sides, source_patch, target_patch
from regbench.data.protocol import Protocol


class TestPairs:
    """The images of a manifest's pairs, cut when they are needed; pair ``i`` is entry ``i`` of the manifest.

    Args:
        pack: holds the test images.
        manifest: the frozen pairs.
        protocol: which side is the source, and the patch.
        device: where images are cut and returned.

    Attributes:
        name: of the data set.
        manifest: as given.
        patch: side of the patches, px.
        device: as given.

    Raises:
        DataError: the pack cannot be read.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, pack: Pack, manifest: Manifest, protocol: Protocol, device: torch.device | str = "cpu") -> None:
        self.name, self.manifest, self.patch = pack.name, manifest, protocol.patch
        self.device = torch.device(device)
        self._source, self._target = sides(pack, "test", protocol, self.device)
        # Really unaligned pairs are taken as they are.
        self._protocol = protocol if pack.aligned else protocol.model_copy(update={"pairing": "given"})

    def __len__(self) -> int:
        return len(self.manifest.draws)

    def images(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Source and target of the pairs start..stop-1, ``(B, 3, patch, patch)`` float32 in [0, 1] each."""
        draws = self.manifest.draws[slice(start, stop)]
        source = self._source.take(draws.index)
        target = source if self._target is self._source else self._target.take(draws.index)
        return source_patch(source, draws, self._protocol), target_patch(target, draws, self._protocol)

    def prefetch(self, start: int, stop: int) -> None:
        """Announce that the pairs start..stop-1 are needed next; nothing happens where there are none."""
        index = self.manifest.draws[slice(start, stop)].index
        if len(index):
            self._source.prefetch(index)
            self._target.prefetch(index)

    def aligned_target(self, start: int, stop: int) -> Tensor:
        """The target of these pairs in the geometry of their source, ``(B, 3, patch, patch)`` float32 in [0, 1].

        It shows the truth: only what is judged may be compared with it.

        Raises:
            ValueError: the pairs are really unaligned, so no aligned target is known.
        """
        if self._protocol.pairing == "given":
            raise ValueError(f"{self.name} holds really unaligned pairs: no aligned target is known")
        draws = self.manifest.draws[slice(start, stop)]
        colours = draws.colours and (draws.colours[1], draws.colours[1])
        return source_patch(self._target.take(draws.index), replace(draws, colours=colours), self._protocol)
