"""Where an image lies on a map: read from a GeoTIFF's tags, without a package of its own.

A GeoTIFF places its pixels by a scale and a tie point, or by a matrix, and names its coordinate system by keys. Both
are read here for what they say of positions; the keys themselves are copied unread to what is written on the same grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE, TIE_POINTS, MATRIX, KEYS, DOUBLES, TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
"""Tags of GeoTIFF (OGC 19-008r4)."""
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072
_POINT = 2  # of the raster type: tie points are places of pixel centres, not of their upper left corners
_USER_DEFINED = 32767


@dataclass(frozen=True)
class Georeference:
    """Where an image lies on a map.

    Attributes:
        matrix: ``(3, 3)``, pixels (centres at whole numbers, x then y) to map units.
        crs: the coordinate system, such as ``EPSG:32632``; empty where it has no number.
        tags: the tags that say so, by number.
    """

    matrix: NDArray[np.float64]
    crs: str
    tags: Mapping[int, Any] = field(default_factory=dict)

    def same_system(self, other: Georeference) -> bool:
        """Whether map units mean the same in both."""
        if self.crs or other.crs:
            return self.crs == other.crs
        return all(self.tags.get(tag) == other.tags.get(tag) for tag in (KEYS, DOUBLES, TEXTS))


def georeference_of(tags: Mapping[int, Any]) -> Georeference | None:
    """The georeference in the tags of a TIFF page; None where there is none, or only scattered control points."""
    keys = _keys(tags.get(KEYS))
    if MATRIX in tags:
        full = np.asarray(tags[MATRIX], np.float64).reshape(4, 4)
        matrix = full[[0, 1, 3]][:, [0, 1, 3]]
    elif SCALE in tags and TIE_POINTS in tags and len(tags[TIE_POINTS]) == 6:
        (sx, sy), (i, j, _, x, y, _) = tags[SCALE][:2], tags[TIE_POINTS]
        matrix = np.array([[sx, 0, x - i * sx], [0, -sy, y + j * sy], [0, 0, 1.0]])
    else:
        return None
    if keys.get(_RASTER_TYPE) != _POINT:
        matrix = matrix @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) == 0:
        return None
    code = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC, _USER_DEFINED))
    kept = {tag: tags[tag] for tag in (SCALE, TIE_POINTS, MATRIX, KEYS, DOUBLES, TEXTS) if tag in tags}
    return Georeference(matrix, f"EPSG:{code}" if 0 < code < _USER_DEFINED else "", kept)


def _keys(directory: Any) -> dict[int, int]:
    """Keys with a short number, by their own number."""
    if directory is None or len(directory) < 4:
        return {}
    entries = np.asarray(directory[4 : 4 + 4 * int(directory[3])]).reshape(-1, 4)
    return {int(key): int(value) for key, location, _, value in entries if location == 0}


def prior_homography(source: Georeference, target: Georeference) -> NDArray[np.float64] | None:
    """Source pixels to target pixels by the maps alone; None where the coordinate systems differ."""
    if source.same_system(target):
        found = np.linalg.inv(target.matrix) @ source.matrix
        return np.asarray(found / found[2, 2])
    return None
