"""Where an image lies on a map: read from a GeoTIFF's tags, without a package of its own.

A GeoTIFF places its pixels by a scale and a tie point, or by a matrix, and names its coordinate system by keys. Both
are read here for what they say of positions; the keys themselves are copied unread to what is written on the same grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
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


def prior_homography(source: Georeference, target: Georeference, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Source pixels to target pixels by the maps alone.

    Args:
        source: of the moving image.
        target: of the fixed image.
        size: height and width of the moving image. Between two coordinate systems a homography holds only nearly: the
            one returned is the best over the image.

    Returns:
        None where the systems differ and rasterio is not installed, or one has no number.
    """
    if source.same_system(target):
        found = np.linalg.inv(target.matrix) @ source.matrix
        return np.asarray(found / found[2, 2])
    if not source.crs or not target.crs or find_spec("rasterio") is None:
        return None
    import cv2
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    y, x = np.meshgrid(np.linspace(0, size[0] - 1, 5), np.linspace(0, size[1] - 1, 5), indexing="ij")
    pixels = np.stack([x.ravel(), y.ravel(), np.ones(25)])
    try:
        places = transform(source.crs, target.crs, *(source.matrix @ pixels)[:2].tolist())
    except RasterioError:
        return None
    on = np.linalg.inv(target.matrix) @ np.stack([*places, np.ones(25)])
    if not np.isfinite(on).all():
        return None
    fitted, _ = cv2.findHomography(pixels[:2].T, on[:2].T)
    return None if fitted is None else np.asarray(fitted, np.float64)
