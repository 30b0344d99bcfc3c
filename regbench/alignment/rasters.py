"""Rasters that only GDAL opens, or opens by windows (LZW and JPEG in TIFF, JPEG 2000), through rasterio."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.alignment.georeference import KEYS, MATRIX, Georeference
from regbench.alignment.windows import Array, Window
from regbench.data.image_files.refused import check_pixels_by_parts
from regbench.errors import DataError

_KINDS = ("uint8", "uint16", "int16", "float32", "float64")


def installed() -> bool:
    """Whether rasterio is there (``pip install 'regbench[geo]'``)."""
    return find_spec("rasterio") is not None


class RasterPixels:
    """A raster of GDAL, read by windows.

    Raises:
        ValueError: it has a palette, or pixels of a kind that means nothing here.
        Refused: it is too large.
        Exception: what rasterio raises on a file that it cannot open.
    """

    def __init__(self, path: Path) -> None:
        import rasterio
        from rasterio.enums import ColorInterp

        self._path, self._file = path, rasterio.open(path)
        check_pixels_by_parts(self._file.width, self._file.height)
        kinds = self._file.colorinterp
        if self._file.dtypes[0] not in _KINDS or len(set(self._file.dtypes)) > 1 or ColorInterp.palette in kinds:
            raise ValueError("of a kind that has to be read as a whole")
        self.size = (self._file.height, self._file.width)
        self._alpha = [i + 1 for i, kind in enumerate(kinds) if kind == ColorInterp.alpha]
        self._bands = [i + 1 for i, kind in enumerate(kinds) if kind != ColorInterp.alpha]
        self.bands = len(self._bands)
        self.dtype: np.dtype[Any] = np.dtype(self._file.dtypes[0])
        self.nodata: float | None = self._file.nodata

    def read(self, window: Window) -> Array:
        """``(h, w, bands)`` as stored."""
        return np.ascontiguousarray(np.moveaxis(self._read(self._bands, window), 0, -1))

    def alpha(self, window: Window) -> NDArray[np.bool_] | None:
        """``(h, w)``, False where the raster is transparent."""
        return self._read(self._alpha[:1], window)[0] > 0 if self._alpha else None

    def georeference(self) -> Georeference | None:
        """Where it lies on a map; the system's keys are those of its number."""
        transform, crs = self._file.transform, self._file.crs
        if transform.is_identity:
            return None
        corner = np.array([*transform], np.float64).reshape(3, 3)
        epsg = crs.to_epsg() if crs else None
        four = np.eye(4)
        four[:2, [0, 1, 3]] = corner[:2]
        tags: dict[int, Any] = {MATRIX: tuple(four.ravel().tolist())}
        if epsg:
            model, key = (2, 2048) if crs.is_geographic else (1, 3072)
            tags[KEYS] = (1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, key, 0, 1, epsg)
        centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        return Georeference(corner @ centre, f"EPSG:{epsg}" if epsg else "", tags)

    def _read(self, bands: list[int], window: Window) -> Array:
        rows, columns = (window.top, window.bottom), (window.left, window.right)
        from rasterio.errors import RasterioError

        try:
            return np.asarray(self._file.read(bands, window=(rows, columns)))
        except RasterioError as error:
            raise DataError(f"{self._path} is damaged: {error}") from error
