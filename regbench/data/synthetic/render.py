"""A scene as each passive modality (and the map) shows it; the radar has a module of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regbench.data.synthetic import fitted
from regbench.data.synthetic.fitted import Sensor
from regbench.data.synthetic.materials import BUILDINGS, GABLED, ROWS, WAYS, Material, members, table
from regbench.data.synthetic.noise import Field, blur, fractal, octave
from regbench.data.synthetic.relief import shadow, slope
from regbench.data.synthetic.sar import backscatter, speckle
from regbench.data.synthetic.scene import Modality, Scene

_PAPER = np.array([243, 240, 236], np.float32)  # RGB of a map where it shows nothing
_LUMA = table("rgb") @ np.array([0.299, 0.587, 0.114], np.float32)


class Rendering(NamedTuple):
    """What a sensor would measure, and what its noise adds, both in displayed units: 0 black, 1 white."""

    clean: NDArray[np.float32]
    """``(H, W)``, or ``(H, W, 3)`` RGB for optical and map; values in [0, 1]."""
    noise: NDArray[np.float32]
    """Of the same shape; to be added to ``clean``, then clipped."""


def render(scene: Scene, modality: Modality, rng: np.random.Generator, noise: np.random.Generator) -> Rendering:
    """Render a scene.

    Args:
        scene: the latent layers.
        modality: what to render them as.
        rng: draws the radiometry of the scene in this modality (season, moisture, weather).
        noise: draws the sensor noise.
    """
    view, kind = _RENDERERS[modality]
    sensor = fitted.SENSORS[modality]
    image = np.clip(_displayed(scene, view(scene, rng), sensor, rng), 0, 1)
    return Rendering(image, kind(noise, image) * np.float32(sensor.noise))


def _displayed(
    scene: Scene, view: NDArray[np.float32], sensor: Sensor, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The sensor's image of a view: its contrast, what it shares with optical and what not, its point spread."""
    sign = np.float32(-1 if rng.random() < sensor.turned else 1)
    plane = np.float32(sign * sensor.growth) * scene.patches + np.float32(sensor.offset)
    if sensor.follow:
        bright = _LUMA[scene.material] * (1 + np.float32(0.14) * scene.own("optical")) - np.float32(_LUMA.mean())
        plane += scene.spread(bright * np.float32(sign * sensor.follow))
    texture = np.float32(sign * sensor.shared) * scene.texture
    if sensor.private:
        texture += np.float32(sensor.private) * fractal(rng, len(texture), fitted.TEXTURE, fitted.TEXTURE_FALLOFF)
    plane += texture * scene.rough
    image = np.float32(sensor.contrast) * view + (plane if view.ndim == 2 else plane[..., None])
    return blur(image, sensor.blur)


def _albedo(
    scene: Scene, rng: np.random.Generator, field: str, modality: Modality, scatter: float, own: float
) -> NDArray[np.float32]:
    """A grey property per segment ``(S,)``: its material's, moved by the scene and by the segment's own."""
    base = table(field)
    base = base + rng.normal(0, scatter, base.shape).astype(np.float32)
    return base[scene.material] + scene.own(modality) * np.float32(own)


def _rows(scene: Scene, pitch: float) -> Field:
    """Crop rows in [-1, 1]; zero off the fields.

    The patches bend them: a strict grating would match itself everywhere.
    """
    sown = members(ROWS)[scene.material] & (scene.own("optical") > -0.2)
    along = scene.spread(scene.angle)
    y, x = np.indices(scene.segment.shape, dtype=np.float32)
    phase = (y * np.cos(along) - x * np.sin(along)) * np.float32(2 * math.pi / pitch) + 1.5 * scene.patches
    rows: Field = np.sin(phase) * scene.spread(sown.astype(np.float32))
    return rows


def _sunlit(scene: Scene, roofs: float) -> Field:
    """Direct light on slopes and roofs, about 1 on level ground."""
    light = np.clip(1.0 + 0.9 * slope(scene.elevation, scene.sun), 0.72, 1.28)
    light = light + np.float32(0.05) * slope(scene.height, scene.sun)
    gabled = members(GABLED)[scene.material]
    face = np.where(gabled, np.cos(scene.angle - np.float32(scene.sun)), 0).astype(np.float32)
    lit: Field = light + np.float32(roofs) * scene.spread(face)
    return lit


def _optical(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    colour = table("rgb") * np.exp(rng.normal(0, 0.05, table("rgb").shape) + rng.normal(0, 0.12, (len(Material), 1)))
    colour = colour[scene.material] * np.exp(0.14 * scene.own("optical")[:, None])
    # Haze: the air between takes saturation and contrast.
    colour = (0.72 * colour + 0.22 * colour.mean(axis=1, keepdims=True) + 0.03).astype(np.float32)
    light = _sunlit(scene, 0.22) * (1 + np.float32(0.11) * _rows(scene, rng.uniform(3.5, 5)))
    dark = shadow(scene.height, scene.sun, 0.75, 7)
    sky = (0.60, 0.55, 0.46)  # shadows are lit by the blue sky alone
    planes = [
        scene.spread(np.ascontiguousarray(colour[:, c])) * light * (1 - np.float32(sky[c]) * dark) for c in range(3)
    ]
    return np.asarray(cv2.merge(planes), np.float32)


def _nir(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    values = np.maximum(_albedo(scene, rng, "nir", "nir", 0.04, 0.03), 0.03)
    light = _sunlit(scene, 0.15)
    return scene.spread(values) * light * (1 - np.float32(0.6) * shadow(scene.height, scene.sun, 0.75, 7))


def _thermal(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    values = _albedo(scene, rng, "night" if scene.night else "day", "thermal", 0.07, 0.07)
    heat = scene.spread(values)
    if not scene.night:
        heat = heat + 0.35 * slope(scene.elevation, scene.sun) - 0.18 * shadow(scene.height, scene.sun, 0.75, 7)
    return heat.astype(np.float32)


def _depth(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    # The ground's span is compressed, as a display does, or no building would show beside a hill.
    drift = scene.spread(scene.own("depth")) * np.float32(0.35)
    surface = scene.height + drift + np.float32(fitted.DEPTH_RELIEF) * scene.elevation
    low, high = np.percentile(surface, (0.5, 99.5))
    return ((surface - low) / max(float(high - low), 1e-3)).astype(np.float32)


def _map(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    ink = np.full(len(Material), 0.86, np.float32)  # parcels: a faint line
    ink[list(WAYS)] = 0.45  # casings
    ink[list(BUILDINGS)] = 0.55
    ink[Material.WATER] = 0.6
    # A map leaves out the use of most land: what is not shown is paper.
    kinds = members((*WAYS, *BUILDINGS, Material.WATER))
    shown = kinds[scene.material] | (_uniform(scene.own("map")) < fitted.MAP_PARCELS)
    colour = np.where(shown[:, None], table("mapped")[scene.material], _PAPER)
    drawn = scene.spread(colour.astype(np.float32)) / np.float32(255)
    # A line belongs to whichever neighbour is drawn darker, so that a road keeps both its casings.
    own = scene.spread(np.where(shown, ink[scene.material], 1).astype(np.float32))
    pens = own.copy()
    pens[:, 1:] = np.minimum(pens[:, 1:], own[:, :-1])
    pens[1:] = np.minimum(pens[1:], own[:-1])
    ridge = _same_roof(scene)
    shade = np.where(scene.edge & ~ridge, pens, np.float32(1))
    return drawn * shade[..., None]


def _uniform(normal: Field) -> Field:
    """Standard normal values as uniform ones in [0, 1], to about 0.01."""
    return np.float32(1) / (1 + np.exp(-np.float32(1.702) * normal))


def _same_roof(scene: Scene) -> NDArray[np.bool_]:
    """Border pixels that are building on all sides: the ridge of a roof, which no map draws."""
    roof = members(BUILDINGS)[scene.material][scene.segment]
    same = roof.copy()
    same[:, 1:] &= roof[:, :-1]
    same[1:] &= roof[:-1]
    return same


def _white(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """White noise of unit variance."""
    # The sum of two bytes: triangular, which serves as well as a normal at a fraction of its time.
    pair = np.frombuffer(rng.bytes(2 * image.size), np.uint8).reshape(2, *image.shape)
    total: NDArray[np.float32] = np.add(pair[0], pair[1], dtype=np.float32) - np.float32(255)
    return np.multiply(total, np.float32(1 / 104.5), dtype=np.float32)


def _bolometer(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixel noise of unit variance, faint stripes of the read-out's columns and slow drift."""
    size = image.shape[0]
    stripes = rng.standard_normal((1, size), dtype=np.float32) * np.float32(0.5)
    drift = octave(rng, size, 90) * np.float32(1.3)
    noise: NDArray[np.float32] = rng.standard_normal(image.shape, dtype=np.float32) + stripes + drift
    return noise


_Clean = Callable[[Scene, np.random.Generator], NDArray[np.float32]]
_Noise = Callable[[np.random.Generator, NDArray[np.float32]], NDArray[np.float32]]
_RENDERERS: dict[Modality, tuple[_Clean, _Noise]] = {
    "optical": (_optical, _white),
    "nir": (_nir, _white),
    "thermal": (_thermal, _bolometer),
    "sar": (backscatter, speckle),
    "depth": (_depth, _white),
    "map": (_map, _white),
}
