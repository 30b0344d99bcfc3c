"""One place on earth: the latent layers that every modality is rendered from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from regbench.data.synthetic import fitted, layout
from regbench.data.synthetic.materials import BUILDINGS, Material, table
from regbench.data.synthetic.noise import Field, blur, fractal, octave

Modality = Literal["optical", "nir", "thermal", "sar", "depth", "map"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

_SHIFT = 4  # fractional bits of the drawing functions' coordinates
_LAND = (Material.GRASS, Material.CEREAL, Material.MAIZE, Material.RAPE, Material.SOIL, Material.YARD)
_CANOPY = {Material.CEREAL: 0.5, Material.MAIZE: 1.1, Material.RAPE: 0.8, Material.WATER: -1.0}


@dataclass(frozen=True)
class Scene:
    """Latent layers, all at the same pixels. S is the number of segments."""

    segment: NDArray[np.int32]
    """``(H, W)``, the segment of each pixel: one parcel, road, wood or half a roof."""
    material: NDArray[np.int64]
    """``(S,)``, a :class:`Material` each."""
    angle: Field
    """``(S,)`` radians: direction of the rows of a field, azimuth a roof faces."""
    variation: Field
    """``(S, 6)`` standard normal: how a segment departs from its material, one column each of MODALITIES."""
    height: Field
    """``(H, W)``, pixels above the ground."""
    elevation: Field
    """``(H, W)``, pixels; the ground."""
    rough: Field
    """``(H, W)``, strength of fine texture relative to bare soil: the material's, more here, less there."""
    texture: Field
    """``(H, W)``, unit variance, fine: the ground's texture as optical shows it, and others as far as they follow."""
    patches: Field
    """``(H, W)``, unit variance, coarse: moisture and growth inside a field."""
    edge: NDArray[np.bool_]
    """``(H, W)``, pixels on the border of two segments: what a map draws as lines."""
    sun: float
    """Azimuth the light comes from, radians, x to y."""
    look: float
    """Azimuth the radar looks from, radians, x to y."""
    night: bool
    """The thermal image was taken before dawn."""

    def own(self, modality: Modality) -> Field:
        """A modality's column of :attr:`variation`, ``(S,)``."""
        return self.variation[:, MODALITIES.index(modality)]

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values per segment ``(S,)`` or ``(S, 3)`` laid out per pixel ``(H, W)`` or ``(H, W, 3)``."""
        return np.take(values, self.segment, axis=0, mode="clip")  # faster than an index; none is out of range


class _Canvas:
    """The segment layer while it is drawn; later strokes cover earlier ones."""

    def __init__(self, size: int) -> None:
        self.segment = np.zeros((size, size), np.int32)
        self.material: list[int] = []
        self.angle: list[float] = []
        self.height: list[float] = []
        self.add(Material.GRASS)

    def add(self, material: Material, height: float | None = None, angle: float = 0.0) -> int:
        self.material.append(int(material))
        self.height.append(_CANOPY.get(material, 0.0) if height is None else height)
        self.angle.append(angle)
        return len(self.material) - 1

    def area(self, ring: NDArray[np.int32], segment: int) -> None:
        """Fill an outline of :func:`_fixed` points ``(N, 2)``."""
        cv2.fillPoly(self.segment, [ring], segment, shift=_SHIFT)

    def line(self, points: NDArray[np.int32], width: int, segment: int) -> None:
        """Draw a line through :func:`_fixed` points ``(N, 2)``."""
        cv2.polylines(self.segment, [points], False, segment, thickness=width, shift=_SHIFT)


def build(rng: np.random.Generator, size: int) -> Scene:
    """Draw the scene of a random stream, ``size`` x ``size`` pixels."""
    parcels, cuts = layout.subdivide(rng, size)
    bend = layout.Bend(rng)
    canvas = _Canvas(size)
    town = _parcels(canvas, rng, parcels, bend)
    canopy = fractal(rng, size, (36, 14, 6), 0.6)
    _woods(canvas, canopy)
    _hedges_and_roads(canvas, rng, cuts, bend, canopy)
    _trees(canvas, rng, size)
    _buildings(canvas, rng, town, bend)
    material = np.array(canvas.material)
    height = np.array(canvas.height, np.float32)[canvas.segment]
    busy = np.exp(np.float32(fitted.BUSY) * octave(rng, size, 24))
    crowns = octave(rng, size, 3.5)
    height += np.where((material == Material.FOREST)[canvas.segment], crowns * np.float32(0.7), np.float32(0))
    return Scene(
        segment=canvas.segment,
        material=material,
        angle=np.array(canvas.angle, np.float32),
        variation=rng.standard_normal((len(material), len(MODALITIES)), dtype=np.float32),
        height=blur(height, 0.5),
        elevation=fractal(rng, size, (110, 48, 22), 0.42) * np.float32(rng.uniform(4, 10)),
        rough=np.minimum(np.take(table("rough")[material], canvas.segment) * busy, np.float32(fitted.ROUGHEST)),
        texture=fractal(rng, size, fitted.TEXTURE, fitted.TEXTURE_FALLOFF),
        patches=fractal(rng, size, fitted.PATCHES, 0.6),
        edge=borders(canvas.segment),
        sun=float(rng.uniform(0, 2 * math.pi)),
        # Radars fly near the poles and look sideways: from the left or from the right, never from above.
        look=float(rng.normal(0, 0.25) + math.pi * rng.integers(0, 2)),
        night=bool(rng.integers(0, 2)),
    )


def borders(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Pixels ``(H, W)`` whose label differs from the neighbour's to the left or above."""
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    return edge


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _parcels(
    canvas: _Canvas, rng: np.random.Generator, parcels: list[layout.Parcel], bend: layout.Bend
) -> list[tuple[layout.Parcel, int, float]]:
    """Give every parcel a use; returns the built-up: parcel, segment, chance that a plot holds a building."""
    share = rng.dirichlet((4, 3, 3, 2, 4, 1))  # each region grows its own mix
    uses = rng.choice(len(_LAND), len(parcels), p=share)
    chances = rng.random((len(parcels), 2))
    built, wooded, wet = rng.uniform(0.22, 0.42), rng.uniform(0.04, 0.12), rng.uniform(0.0, 0.05)
    town: list[tuple[layout.Parcel, int, float]] = []
    points, rings = layout.bent_rings(parcels, bend)
    outline = _fixed(points)
    for parcel, ring, use, (chance, dense) in zip(parcels, rings, uses.tolist(), chances.tolist(), strict=True):
        kind = _LAND[use]
        if chance < built:
            kind = Material.YARD if dense > 0.6 else Material.GRASS
            town.append((parcel, len(canvas.material), 0.45 + 0.5 * dense))
        elif chance < built + wooded:
            kind = Material.FOREST
        elif chance < built + wooded + wet and parcel.area < 1500:
            kind = Material.WATER
        turn = 0.0 if dense < 0.7 else math.pi / 2
        height = 3.0 if kind is Material.FOREST else None
        canvas.area(outline[ring], canvas.add(kind, height, parcel.angle + turn))
    return town


def _woods(canvas: _Canvas, canopy: Field) -> None:
    """Groves that ignore the parcels: curved borders among straight ones."""
    canvas.segment[canopy > 1.75] = canvas.add(Material.FOREST, 2.8)


def _hedges_and_roads(
    canvas: _Canvas, rng: np.random.Generator, cuts: list[layout.Cut], bend: layout.Bend, canopy: Field
) -> None:
    """Draw what follows the cuts: hedges with gaps, a river, then tracks and roads, the widest last."""
    lines = _fixed(layout.bent_cuts(cuts, bend))
    chances = rng.random(len(cuts))
    open_land = canvas.segment.copy()
    hedge = canvas.add(Material.FOREST, 1.8)
    for cut, line, chance in zip(cuts, lines, chances, strict=True):
        if cut.area < 5000 and chance < 0.22:
            canvas.line(line, 2 if chance < 0.14 else 3, hedge)
    gaps = (canvas.segment == hedge) & (canopy < -0.6)
    canvas.segment[gaps] = open_land[gaps]
    if rng.random() < 0.6:
        _river(canvas, rng)
    for cut, line, chance in sorted(zip(cuts, lines, chances, strict=True), key=lambda item: item[0].area):
        if cut.area > 26000:
            canvas.line(line, 6 if cut.area > 60000 else 5, canvas.add(Material.ROAD, 0.3))
        elif cut.area > 8000:
            canvas.line(line, 3, canvas.add(Material.ROAD, 0.2))
        elif cut.area > 1800 and chance > 0.6:
            canvas.line(line, 2, canvas.add(Material.TRACK))


def _river(canvas: _Canvas, rng: np.random.Generator) -> None:
    size = canvas.segment.shape[0]
    t = np.linspace(-0.1, 1.1, 48)
    sway = sum(rng.normal(0, 0.07 / k) * np.sin(2 * math.pi * (k * 1.3 * t + rng.random())) for k in (1, 2, 3))
    points = np.stack([t * size, (rng.uniform(0.15, 0.85) + rng.normal(0, 0.25) * (t - 0.5) + sway) * size], 1)
    water = canvas.add(Material.WATER)
    canvas.line(_fixed(points if rng.random() < 0.5 else points[:, ::-1]), int(rng.integers(4, 9)), water)


def _trees(canvas: _Canvas, rng: np.random.Generator, size: int) -> None:
    count = size * size // 1000
    tree = canvas.add(Material.FOREST, 2.4)
    places = _fixed(rng.uniform(0, size, (count, 2)))
    radii = np.rint(rng.uniform(1.0, 2.6, count) * (1 << _SHIFT)).astype(int)
    for place, radius in zip(places.tolist(), radii.tolist(), strict=True):
        cv2.circle(canvas.segment, place, radius, tree, -1, shift=_SHIFT)


def _buildings(
    canvas: _Canvas, rng: np.random.Generator, town: list[tuple[layout.Parcel, int, float]], bend: layout.Bend
) -> None:
    """Gabled and flat roofs on the plots of built-up parcels, square to each parcel's longest side."""
    if not town:
        return
    angle = np.array([parcel.angle for parcel, _, _ in town])[:, None, None]
    u = np.concatenate([np.cos(angle), np.sin(angle)], axis=2)  # (parcels, 1, 2)
    v = np.concatenate([-np.sin(angle), np.cos(angle)], axis=2)
    centre = np.array([np.mean(parcel.ring, axis=0) for parcel, _, _ in town])[:, None]
    pitch = rng.uniform(8.5, 16, (2, len(town), 1, 1))
    row, column = (steps.reshape(1, -1, 1) for steps in np.meshgrid(np.arange(-3, 4), np.arange(-3, 4)))
    plots = bend(centre + row * pitch[0] * u + column * pitch[1] * v + rng.normal(0, 1.2, (len(town), 49, 2)))
    # What is left of each parcel by the roads, water and woods drawn since, and how far its border is.
    owner = np.array([segment for _, segment, _ in town])
    built = np.zeros(len(canvas.material), bool)
    built[owner] = True
    free = built[canvas.segment] & ~borders(canvas.segment)
    room = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 3)
    size = canvas.segment.shape[0]
    x, y = np.clip(np.rint(plots), 0, size - 1).astype(np.int64).transpose(2, 0, 1)
    dense = np.array([chance for _, _, chance in town])[:, None]
    keep = (canvas.segment[y, x] == owner[:, None]) & (room[y, x] > 3.4) & (rng.random(x.shape) < dense)
    at, plot = np.nonzero(keep)
    half = rng.uniform(2.4, np.clip(pitch[:, at, 0, 0] * 0.46, 2.6, room[y, x][keep] * 1.15))[..., None]
    across, along = half[0] * u[at, 0], half[1] * v[at, 0]
    spot = plots[at, plot]
    # Corners of each half: ridge, ridge, eaves, eaves.
    halves = [
        _fixed(spot[:, None] + np.stack([across, across + side, side - across, -across], axis=1))
        for side in (-along, along)
    ]
    facing = np.arctan2(along[:, 1], along[:, 0])
    chances = rng.random((len(spot), 2))
    for one, other, azimuth, (kind, storeys) in zip(*halves, facing.tolist(), chances.tolist(), strict=True):
        roof = BUILDINGS[0 if kind < 0.5 else 1 if kind < 0.75 else 2]
        segment = canvas.add(roof, 2.0 + 4.0 * storeys**2, azimuth + math.pi)
        canvas.area(one, segment)
        if roof is not Material.FLAT:  # a flat roof has no ridge: both halves are one segment
            segment = canvas.add(roof, 2.0 + 4.0 * storeys**2, azimuth)
        canvas.area(other, segment)
