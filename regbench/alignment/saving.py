"""An alignment as files: facts, matrix, warped image, picture, control points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.alignment.georeference import DOUBLES, KEYS, MATRIX, SCALE, TEXTS, TIE_POINTS
from regbench.alignment.types import Alignment
from regbench.alignment.warping import TILE, fill_of, warped_tiles
from regbench.confidence.laid import corners_of, moved
from regbench.data.image_files.tiff import NODATA
from regbench.errors import RegbenchError, UsageError

FACTS, MATRIX_FILE, OVERLAY, POINTS = "alignment.json", "homography.txt", "overlay.png", "control_points.geojson"
TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
_TAG_TYPES = {SCALE: 12, TIE_POINTS: 12, MATRIX: 12, KEYS: 3, DOUBLES: 12, TEXTS: 2}
_MOST_POINTS = 100


def facts(alignment: Alignment) -> dict[str, Any]:
    """What is known of an alignment, as JSON can hold it."""
    source, target = alignment.images()
    sides = {"source": source, "target": target}
    found: dict[str, Any] = {
        "ok": alignment.ok,
        "homography": (alignment.homography + 0.0).tolist(),
        "confidence": round(alignment.confidence, 4),
        "confidence_parts": {k: _finite(v) for k, v in alignment.confidence_parts.items()},
        "method": alignment.method,
        "tried": [
            {"method": a.method, "ok": a.ok, "confidence": round(a.confidence, 4), "seconds": round(a.seconds, 2)}
            | ({"why": a.why} if a.why else {})
            for a in alignment.tried
        ],
        "matches": None if alignment.matches is None else len(alignment.matches.inliers),
        "inliers": alignment.inliers,
        "sizes": {side: list(image.size[::-1]) for side, image in sides.items()},
        "ranges": {side: {"values": list(image.values), "how": image.how} for side, image in sides.items()},
        "max_side": alignment.max_side,
        "notes": [note for image in sides.values() for note in image.notes],
    }
    to_map = alignment.map_homography
    if to_map is not None and target.georeference is not None:
        found["map"] = {"crs": target.georeference.crs, "homography": to_map.tolist()}
        if source.georeference is not None and source.georeference.same_system(target.georeference):
            middle = corners_of(source.size).mean(0, keepdims=True)
            shift = moved(to_map, middle) - moved(source.georeference.matrix, middle)
            found["map"]["shift"] = shift[0].tolist()  # of the source's middle, from where its own georeference has it
    return found


def save(alignment: Alignment, folder: Path) -> Path:
    """Write an alignment into a folder; see :meth:`regbench.alignment.types.Alignment.save`."""
    source, target = alignment.images()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RegbenchError(f"{folder} cannot be written: {error.strerror}") from None
    write_text(folder / FACTS, json.dumps(facts(alignment), indent=1) + "\n")
    write_overlay(alignment, folder / OVERLAY)
    if alignment.ok:
        write_matrix(alignment, folder / MATRIX_FILE)
        plain = target.georeference is None and _fits_png(source.pixels.dtype, source.pixels.bands)
        write_warped(alignment, folder / f"warped{'.png' if plain else '.tif'}")
        if target.georeference is not None:
            write_points(alignment, folder / POINTS)
    return folder


def check_output(path: Path, kinds: tuple[str, ...], what: str) -> None:
    """Raise UsageError where an output could not be written, before any work is done for it."""
    if kinds and path.suffix.lower() not in kinds:
        raise UsageError(f"{path}: {what} is written as {', '.join(kinds)}; name such a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first")


def write_text(path: Path, text: str) -> None:
    """Write a text file; raises RegbenchError where that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RegbenchError(f"{path} cannot be written: {error.strerror}") from None


def write_matrix(alignment: Alignment, path: Path) -> None:
    """Three rows of three numbers, which ``numpy.loadtxt`` reads."""
    rows = (" ".join(f"{value + 0.0:.12g}" for value in row) for row in alignment.homography.tolist())
    write_text(path, "\n".join(rows) + "\n")


def write_overlay(alignment: Alignment, path: Path) -> None:
    """The picture of :func:`regbench.alignment.pictures.overlay`."""
    _write_picture(path, alignment.overlay())


def write_warped(alignment: Alignment, path: Path) -> None:
    """The source on the target's grid; a TIFF is written tile by tile and keeps the target's georeference.

    Raises:
        RegbenchError: there is no answer, or the file cannot be written.
        UsageError: its format does not hold the source's type or bands.
    """
    alignment.check()
    source, _ = alignment.images()
    if path.suffix.lower() in TIFF:
        _write_tiff(alignment, path)
    elif not _fits_png(source.pixels.dtype, source.pixels.bands):
        raise UsageError(f"{path}: {source.pixels.bands} bands of {source.pixels.dtype} need a TIFF; name a .tif")
    else:
        _write_picture(path, alignment.warp())


def write_points(alignment: Alignment, path: Path) -> None:
    """Ground control points as GeoJSON: places on the target's map, with the pixel of the source that shows them.

    They are the matches that agree with the homography, evenly thinned; where the method has none, a grid.

    Raises:
        RegbenchError: there is no answer, or the target has no georeference.
    """
    alignment.check()
    source, target = alignment.images()
    if target.georeference is None:
        raise RegbenchError(f"{target.name} has no georeference, so there are no places on a map")
    matches = alignment.matches
    if matches is not None and matches.inliers.any():
        pixels, to = matches.source[matches.inliers], matches.target[matches.inliers]
        step = -(-len(pixels) // _MOST_POINTS)
        pixels, to = pixels[::step], to[::step]
    else:
        h, w = source.size
        y, x = np.meshgrid(np.linspace(0, h - 1, 5), np.linspace(0, w - 1, 5), indexing="ij")
        pixels = np.stack([x.ravel(), y.ravel()], 1)
        to = moved(alignment.homography, pixels)
    places = moved(target.georeference.matrix, to)
    points = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": place},
            "properties": {"source_x": pixel[0], "source_y": pixel[1], "target_x": on[0], "target_y": on[1]},
        }
        for place, pixel, on in zip(places.tolist(), pixels.tolist(), to.tolist(), strict=True)
    ]
    crs = target.georeference.crs
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    document = {"type": "FeatureCollection", **named, "features": points}
    write_text(path, json.dumps(document, indent=1) + "\n")


def _write_tiff(alignment: Alignment, path: Path) -> None:
    import tifffile

    source, target = alignment.images()
    pixels, size = source.pixels, target.size
    tags = [] if target.georeference is None else [
        (tag, _TAG_TYPES[tag], len(value) + (_TAG_TYPES[tag] == 2), value, True)
        for tag, value in target.georeference.tags.items()
    ]  # fmt: skip
    fill = fill_of(source)
    if pixels.nodata is not None or np.isnan(fill):
        text = f"{fill:g}"
        tags.append((NODATA, 2, len(text) + 1, text, True))

    def tiles() -> Iterator[NDArray[Any]]:
        for _, tile in warped_tiles(source, size, alignment.homography):
            yield tile[..., 0] if pixels.bands == 1 else tile

    large = size[0] * size[1] * pixels.bands * pixels.dtype.itemsize > 3 * 10**9
    colour = pixels.bands == 3 and pixels.dtype.name in ("uint8", "uint16")
    try:
        with tifffile.TiffWriter(path, bigtiff=large) as file:
            file.write(
                tiles(),
                shape=(*size, pixels.bands) if pixels.bands > 1 else size,
                dtype=pixels.dtype,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="rgb" if colour else "minisblack",
                planarconfig="contig" if pixels.bands > 1 else None,
                extratags=tags,
                metadata=None,
            )
    except OSError as error:
        raise RegbenchError(f"{path} cannot be written: {error.strerror or error}") from None


def _write_picture(path: Path, image: NDArray[Any]) -> None:
    import cv2

    try:
        written = cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    except cv2.error:
        written = False
    if not written:
        raise RegbenchError(f"{path}: cannot be written; name a writable .png")


def _fits_png(dtype: np.dtype[Any], bands: int) -> bool:
    return dtype.name in ("uint8", "uint16") and bands in (1, 3)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
