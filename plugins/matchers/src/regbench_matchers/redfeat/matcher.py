"""ReDFeat: detection and description learned together across modalities, then matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from regbench import PairInfo, Registration, Registrator, whole_batch
from regbench_matchers.blocks.nearest import euclidean, nearest
from regbench_matchers.blocks.opencv import Matrix, collect
from regbench_matchers.blocks.robust import RobustConfig, expected_by_chance, robust_homography
from regbench_matchers.redfeat import loss as redfeat_loss
from regbench_matchers.redfeat.network import PUBLISHED_KEYS, Network, peaks, standardised

_FLAT = 1 / 255


class ReDFeatConfig(RobustConfig):
    """Network and losses are the published ones, matching is that of the paper's registration experiments."""

    width: int = Field(4, ge=1, description="channels of the adapters, in units of 8, 16 and 32")
    dim: int = Field(128, ge=8, multiple_of=8, description="of the descriptors")
    samples: int = Field(4096, ge=16, description="pixels of a pair whose descriptors the loss compares")
    peaking: float = Field(1.0, ge=0, description="weight of the peaking loss")
    repeatability: float = Field(8.0, ge=0, description="weight of the repeatability loss")
    score: float = Field(0.01, ge=0, le=1, description="least score of a keypoint")
    count: int = Field(4096, ge=4, description="strongest keypoints kept")
    border: int = Field(5, ge=1, description="px at the rim without keypoints, as the loss teaches nothing there")
    ratio: float = Field(1.0, gt=0, le=1, description="largest ratio of first to second distance; 1 allows all")
    mutual: bool = Field(True, description="keep only pairs that are each other's nearest")
    false_alarms: float | None = Field(
        1.0, gt=0, description="a pair fails if chance explains its inliers more often than so; None: never"
    )

    presets: ClassVar = {
        "quick": {"width": 1, "dim": 32, "samples": 512},
        "smoke": {"width": 1, "dim": 16, "samples": 128},
        "tiny": {"width": 1, "dim": 8, "samples": 64},
    }


@dataclass(frozen=True)
class Described(Registration):
    """A registration with the dense maps it came from, which the loss is about."""

    maps: redfeat_loss.Maps | None = None


class ReDFeat(Registrator):
    """ReDFeat (Deng and Ma, arXiv 2205.07439, 2022) trained and used as a registrator.

    Each modality has its own adapter; encoder and detector are shared. In eval mode the strongest peaks of both score
    maps are matched by mutually nearest descriptors, and USAC_MAGSAC gives the homography. In train mode nothing is
    matched, since the loss compares the maps themselves under the known homography: the displacement is zero and
    ``ok`` False, so that an error logged from it is identity's.

    The published training is Adam at 1e-3 with weight decay 5e-4, annealed by a cosine over 50 epochs, gradients
    clipped at 5, two crops of 192 px a step: ``--set`` each of ``strategy.optimiser=adam``,
    ``strategy.schedule=cosine``, ``strategy.lr=1e-3``, ``strategy.weight_decay=5e-4``, ``strategy.clip=5``,
    ``strategy.batch=2`` and ``protocol.patch=192``. Maps are of full resolution throughout, so that a large batch
    takes memory and time: 2 to 4 pairs a step suit a small budget too.

    Differences. Images are standardised patch by patch, theirs before they are cropped. Theirs are at least 256 px
    and also searched at half the size down to that; patches are smaller, so there is one scale. They fit by RANSAC at
    10 px, here by the estimator all matchers share, and a homography that chance explains is a failure here.
    ``ratio=0.9 mutual=false score=0.4`` are those of their demo.
    """

    Config = ReDFeatConfig
    any_size = True
    published_keys: ClassVar[Sequence[tuple[str, str]]] = (*PUBLISHED_KEYS, (r"^", "network."))

    def __init__(self, config: ReDFeatConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.network = Network(config.width, config.dim)

    def forward(self, source: Tensor, target: Tensor) -> Described:
        """One iteration, ``(1, B, 4, 2)`` pixels, with the maps :meth:`loss` needs."""
        images = (standardised(source), standardised(target))
        of_source, of_target = (self.network(image, side) for side, image in enumerate(images))
        descriptors, scores = zip(of_source, of_target, strict=True)
        maps = redfeat_loss.Maps(descriptors, scores, images, self._lots(source))
        if self.training:
            return Described(*self._unmatched(source), maps)
        flat = [[bool(image.amax() - image.amin() < _FLAT) for image in side] for side in (source, target)]
        with torch.no_grad():
            answers = [None if flat[0][i] or flat[1][i] else self._match(maps, i) for i in range(len(source))]
        solved = collect(answers, source)
        return Described(solved.displacements, solved.size, solved.ok, maps)

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Description, peaking and repeatability under the true homography, mean over the batch.

        Args:
            registration: what :meth:`forward` returned.
            displacement: label ``(B, 4, 2)`` pixels.
            weight: optional ``(B,)`` weight of each sample, mean one.

        Raises:
            ValueError: a registration that did not come from :meth:`forward`, or images of two sizes.
        """
        if not isinstance(registration, Described) or registration.maps is None:
            raise ValueError("ReDFeat's loss needs what its forward returned: the registration carries no maps")
        source, target = registration.maps.images
        if source.shape != target.shape:
            raise ValueError(f"ReDFeat trains on images of one size, got {source.shape[-2:]} and {target.shape[-2:]}")
        c = self.config
        each = redfeat_loss.loss(registration.maps, displacement, c.samples, c.peaking, c.repeatability)
        return (each if weight is None else each * weight).mean()

    def _lots(self, image: Tensor) -> Tensor:
        """By which the loss draws pixels: at random in training, else always the same."""
        count = (image.shape[0], image.shape[-2] * image.shape[-1])
        if self.training:
            return 1 - whole_batch.draw(lambda n: torch.rand(n, count[1], device=image.device), count[0])
        # The golden ratio's multiples are spread evenly over (0, 1].
        order = torch.arange(count[1], device=image.device, dtype=torch.float64)
        return (1 - order * 0.6180339887498949 % 1).float().expand(count)

    def _unmatched(self, source: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        count, device = len(source), source.device
        ok = torch.zeros(count, dtype=torch.bool, device=device)
        return torch.zeros(1, count, 4, 2, device=device), (source.shape[-2], source.shape[-1]), ok

    def _match(self, maps: redfeat_loss.Maps, i: int) -> Matrix | None:
        c = self.config
        points, described = [], []
        for scores, descriptors in zip(maps.scores, maps.descriptors, strict=True):
            at = peaks(scores[i, 0], c.border, c.score, c.count)
            points.append(at.double().cpu().numpy())
            described.append(descriptors[i][:, at[:, 1], at[:, 0]].T.cpu().numpy().astype(np.float32))
        s, t = nearest(euclidean(described[0], described[1]), ratio=c.ratio, mutual=c.mutual)
        solved = robust_homography(points[0][s], points[1][t], c)
        if solved is None:
            return None
        size = (maps.images[1].shape[-2], maps.images[1].shape[-1])
        chance = expected_by_chance(solved[1], len(s), c.threshold, size)
        # Dense score maps give hundreds of matches whatever the images: a few of them always agree.
        return solved[0] if c.false_alarms is None or chance < log10(c.false_alarms) else None
