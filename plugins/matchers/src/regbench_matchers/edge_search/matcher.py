"""The registrator: hypotheses at a small size, the best of them improved by tiles at growing sizes."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field
from torch import Tensor

from regbench import ComponentConfig, Registration, Registrator
from regbench_matchers.blocks.opencv import Grey, Matrix, register_each
from regbench_matchers.edge_search.fields import Working, shrunk
from regbench_matchers.edge_search.hypotheses import hypotheses
from regbench_matchers.edge_search.votes import agreement, improved, margin

_SMALL_ROUNDS = ((3, 10), (3, 8), (4, 6), (4, 4))
_LARGE_ROUNDS = ((4, 8), (4, 6), (5, 4), (6, 3))
"""Tiles along a side, and the largest shift of a tile in px, of each round at both sizes."""
_LEAST = 16  # px a side: fewer show no edges to speak of
_FLAT = 2.0 / 255  # standard deviation of grey values up to which an image shows nothing


class EdgeSearchConfig(ComponentConfig):
    """What is searched, and at which sizes."""

    rotation: float = Field(24.0, ge=0, le=180, description="largest rotation looked for, either way, degrees")
    rotation_step: float = Field(6.0, gt=0, description="between rotations, degrees")
    scale: float = Field(1.7, ge=1, description="largest change of scale looked for, either way")
    scale_step: float = Field(1.19, gt=1, description="ratio of one scale to the next")
    side: int = Field(96, ge=32, description="longest side of both images in the search, px")
    fine: int = Field(256, ge=32, description="longest side of both images at the end, px")
    blur: float = Field(1.5, gt=0, description="of the edge orientations in the search, px; 1 at the end")
    candidates: int = Field(6, ge=1, description="places of the search that are improved")
    finalists: int = Field(3, ge=1, description="of those, that are improved at the final size")
    margin: float = Field(
        4.0,
        description="least agreement beyond that of every shifted copy, in standard deviations of theirs",
    )


class EdgeSearch(Registrator):
    """Dense search over edge orientations, without training and without keypoints.

    Made for pairs on which keypoints fail, radar or depth beside photographs: what such images share are edges, and few
    of them are distinct enough to be matched one by one, so that all are compared at once.

    1. Both images become fields of doubled-angle orientation vectors (:func:`regbench.ops.edge_field`), blurred: the
       first harmonic of the oriented gradient channels of CFOG (Ye et al., Fast and robust matching for multimodal
       remote sensing image registration, TGRS 57, 2019), in which the sign of contrast does not count. As there,
       agreement at all shifts comes from one FFT; here it is normalised by what both images show at each shift
       (Padfield, TIP 2012).
    2. CFOG looks for control points around places that a georeference tells. Here nothing is known: the source is
       rotated and scaled over a grid, and the highest peaks of all surfaces are the candidates.
    3. Each candidate becomes a homography. The source is resampled by it and cut into tiles; the surfaces of all tiles
       are added up along a homography, which climbs to the largest sum, four times with ever smaller reach.
    4. The best candidates are improved at a larger size; the one with the largest agreement is the answer.

    A pair fails where the answer does not stand out from shifted copies of itself (``margin``): 4 lies between what
    eleven drawn pairs of unrelated images reached (3.8 at most) and right answers on training pairs of five sets (4.8
    and more).
    Rotations beyond ``rotation`` and scales beyond ``scale`` are not found. Images of different sizes are taken at the
    same scale.
    """

    Config = EdgeSearchConfig
    config: EdgeSearchConfig
    any_size = True
    whole = True

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False where nothing stands out."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Matrix | None:
        if min(*source.shape, *target.shape) < _LEAST or min(source.std(), target.std()) < 255 * _FLAT:
            return None
        images = [np.asarray(image, np.float32) / np.float32(255) for image in (source, target)]
        longest = max(*source.shape, *target.shape)
        small = [shrunk(image, self.config.side / longest) for image in images]
        found = hypotheses(small[0], small[1], self._angles(), self._scales(), self.config.blur, self.config.candidates)
        ranked = self._ranked([one.homography for one in found], small, _SMALL_ROUNDS, self.config.blur)
        if not ranked:
            return None
        large = [shrunk(image, self.config.fine / longest) for image in images]
        starts = [_onto(large, _whole(small, found)) for found in ranked[: self.config.finalists]]
        final = self._ranked(starts, large, _LARGE_ROUNDS, 1.0)
        return _whole(large, final[0]) if margin(large[0], large[1], final[0], 1.0) >= self.config.margin else None

    def _ranked(
        self, starts: list[Matrix], images: list[Working], rounds: tuple[tuple[int, int], ...], blur: float
    ) -> list[Matrix]:
        """Homographies improved in rounds of (tiles, reach), the one with the largest agreement first."""
        found: list[tuple[float, Matrix]] = []
        for homography in starts:
            for tiles, reach in rounds:
                homography = improved(images[0], images[1], homography, tiles, reach, blur)
            found.append((agreement(images[0], images[1], homography, blur), homography))
        return [homography for _, homography in sorted(found, key=lambda one: -one[0])]

    def _angles(self) -> list[float]:
        count = math.floor(self.config.rotation / self.config.rotation_step + 1e-9)
        around = 2 * count * self.config.rotation_step >= 360  # half a turn either way is the same rotation
        return [math.radians(k * self.config.rotation_step) for k in range(-count + around, count + 1)]

    def _scales(self) -> list[float]:
        count = math.floor(math.log(self.config.scale) / math.log(self.config.scale_step) + 1e-9)
        return [self.config.scale_step**k for k in range(-count, count + 1)]


def _whole(images: list[Working], homography: Matrix) -> Matrix:
    """A homography of working images as one of the whole images."""
    whole = np.linalg.inv(images[1].from_whole) @ homography @ images[0].from_whole
    return np.asarray(whole / whole[2, 2])


def _onto(images: list[Working], homography: Matrix) -> Matrix:
    """A homography of the whole images as one of working images."""
    small = images[1].from_whole @ homography @ np.linalg.inv(images[0].from_whole)
    return np.asarray(small / small[2, 2])
