"""ReDFeat: a matcher whose detection and description are learned together across modalities."""

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
from regbench_matchers.blocks.nearest import euclidean, match
from regbench_matchers.blocks.opencv import collect
from regbench_matchers.blocks.robust import RobustConfig, Solution, expected_by_chance, robust_homography
from regbench_matchers.presets import REDFEAT_PRESETS
from regbench_matchers.published_keys import REDFEAT_KEYS
from regbench_matchers.redfeat import loss as redfeat_loss
from regbench_matchers.redfeat.network import Network, peaks, standardised

_FLAT = 1 / 255  # an image whose values span less has no content


class ReDFeatConfig(RobustConfig):
    """Network and losses are the published ones; matching is that of the paper's registration experiments."""

    width: int = Field(4, ge=1, description="channels of the adapters, in units of 8, 16 and 32")
    dim: int = Field(128, ge=8, multiple_of=8, description="of the descriptors")
    samples: int = Field(4096, ge=16, description="pixels of a pair whose descriptors the loss compares")
    peaking: float = Field(1.0, ge=0, description="weight of the peaking loss")
    repeatability: float = Field(8.0, ge=0, description="weight of the repeatability loss")
    score: float = Field(0.01, ge=0, le=1, description="least score of a keypoint")
    count: int = Field(4096, ge=4, description="strongest keypoints kept")
    border: int = Field(5, ge=1, description="px at the rim without keypoints, since the loss leaves them out")
    ratio: float = Field(1.0, gt=0, le=1, description="largest ratio of first to second distance; 1 allows all")
    mutual: bool = Field(True, description="keep only pairs that are each other's nearest")
    false_alarms: float | None = Field(
        1.0, gt=0, description="a pair fails if chance gives as many inliers more often than this; None: never"
    )

    presets = REDFEAT_PRESETS


@dataclass(frozen=True)
class DenseRegistration(Registration):
    """A registration with the dense maps that it came from, from which the loss is computed."""

    maps: redfeat_loss.Maps | None = None


class ReDFeat(Registrator):
    """ReDFeat (Deng and Ma, arXiv 2205.07439, 2022) trained and used as a registrator.

    Each modality has its own adapter; encoder and detector are shared. In eval mode the strongest peaks of both score
    maps are matched by mutually nearest descriptors, and USAC_MAGSAC gives the homography. In train mode nothing is
    matched, because the loss compares the maps themselves under the known homography: the displacement is zero and
    ``ok`` False, so that an error computed from it is that of the identity.

    The published training is Adam at 1e-3 with weight decay 5e-4, a cosine schedule over 50 epochs down to 1e-7,
    gradients clipped at 5, and two crops of 192 px a step, each with a new homography: ``--pairing online`` and
    ``--set`` each of ``strategy.optimiser=adam``, ``strategy.schedule=cosine``, ``strategy.lr=1e-3``,
    ``strategy.weight_decay=5e-4``, ``strategy.clip=5``, ``strategy.batch=2``, ``strategy.steps`` = 25 times the number
    of training images, and ``protocol.patch=192``. Published images are also sharpened, blurred, noisy, mirrored and
    turned at random, for which there is no setting on pairs drawn online, and the rate falls once an epoch, here at
    each step. All maps have full resolution, so that a large batch takes much memory and time; 2 to 4 pairs a step also
    suit a small budget.

    It differs from the published code in what follows. Images are standardised after they are cropped, there before.
    There is one scale, because patches are small; the authors' images are also searched at half their size, down to
    256 px. The homography comes from the estimator that all matchers share, there from RANSAC at 10 px, and one that
    chance explains is a failure. ``ratio=0.9 mutual=false score=0.4`` are the settings of the authors' demo.
    """

    Config = ReDFeatConfig
    config: ReDFeatConfig
    any_size = True
    published_keys: ClassVar[Sequence[tuple[str, str]]] = (*REDFEAT_KEYS, (r"^", "network."))

    def __init__(self, config: ReDFeatConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.network = Network(config.width, config.dim)

    def forward(self, source: Tensor, target: Tensor) -> DenseRegistration:
        """One estimate, ``(1, B, 4, 2)`` pixels, with the maps that :meth:`loss` needs."""
        images = (standardised(source), standardised(target))
        descriptors, scores = zip(*(self.network(image, side) for side, image in enumerate(images)), strict=True)
        maps = redfeat_loss.Maps(
            descriptors=descriptors, scores=scores, images=images, priority=self._sampling_priority(source)
        )
        registration = _unmatched(source) if self.training else self._matched(source, target, maps)
        return DenseRegistration(
            displacements=registration.displacements,
            size=registration.size,
            ok=registration.ok,
            matches=registration.matches,
            maps=maps,
        )

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Description, peaking and repeatability under the true homography, mean over the batch.

        Args:
            registration: returned by :meth:`forward`.
            displacement: label ``(B, 4, 2)`` pixels.
            weight: optional ``(B,)`` weight of each sample, mean one.

        Raises:
            ValueError: the registration did not come from :meth:`forward`, or source and target differ in size.
        """
        if not isinstance(registration, DenseRegistration) or registration.maps is None:
            raise ValueError("ReDFeat's loss needs the registration that its forward returned; this one has no maps")
        source, target = registration.maps.images
        if source.shape != target.shape:
            raise ValueError(f"ReDFeat trains on images of one size, got {source.shape[-2:]} and {target.shape[-2:]}")
        c = self.config
        losses = redfeat_loss.loss(registration.maps, displacement, c.samples, c.peaking, c.repeatability)
        return (losses if weight is None else losses * weight).mean()

    def _sampling_priority(self, image: Tensor) -> Tensor:
        """The order ``(B, H * W)`` in (0, 1] in which the loss samples pixels: random in training, else fixed."""
        count, pixels = image.shape[0], image.shape[-2] * image.shape[-1]
        if self.training:
            return 1 - whole_batch.draw(lambda n: torch.rand(n, pixels, device=image.device), count)
        # Multiples of the golden ratio, modulo one, are spread evenly.
        order = torch.arange(pixels, device=image.device, dtype=torch.float64)
        return (1 - order * 0.6180339887498949 % 1).float().expand(count, pixels)

    @torch.no_grad()
    def _matched(self, source: Tensor, target: Tensor, maps: redfeat_loss.Maps) -> Registration:
        flat = [[bool(image.amax() - image.amin() < _FLAT) for image in side] for side in (source, target)]
        homographies = [None if flat[0][i] or flat[1][i] else self._match(maps, i) for i in range(len(source))]
        return collect(homographies, source)

    def _match(self, maps: redfeat_loss.Maps, i: int) -> Solution | None:
        """The homography of pair ``i``, or None."""
        c = self.config
        points, compared = [], []
        for scores, descriptors in zip(maps.scores, maps.descriptors, strict=True):
            at = peaks(scores[i, 0], c.border, c.score, c.count)
            points.append(at.double().cpu().numpy())
            compared.append(descriptors[i][:, at[:, 1], at[:, 0]].T.cpu().numpy().astype(np.float32))
        s, t = match(compared[0], compared[1], euclidean, ratio=c.ratio, mutual=c.mutual)
        solution = robust_homography(points[0][s], points[1][t], c)
        if solution is None:
            return None
        size = (maps.images[1].shape[-2], maps.images[1].shape[-1])
        chance = expected_by_chance(solution.inliers, len(s), c.threshold, size)
        # Dense score maps give hundreds of matches for any two images, and a few of them always agree.
        return solution if c.false_alarms is None or chance < log10(c.false_alarms) else None


def _unmatched(source: Tensor) -> Registration:
    """No displacement, and ``ok`` False, for every pair."""
    displacements = torch.zeros(1, len(source), 4, 2, device=source.device)
    ok = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    return Registration(displacements=displacements, size=(source.shape[-2], source.shape[-1]), ok=ok)
