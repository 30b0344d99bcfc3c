"""The radar: backscatter, layover and double bounce towards the sensor, shadow behind, speckle."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from regbench.data.synthetic import fitted
from regbench.data.synthetic.materials import BUILDINGS, GABLED, WAYS, Material, members, table
from regbench.data.synthetic.noise import Field, blur
from regbench.data.synthetic.relief import overhang, shadow, slope
from regbench.data.synthetic.scene import Scene

_FLOOR, _SPAN = -25.0, 30.0  # dB shown black, dB from black to white
_LOOKS = 4


def backscatter(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Radar brightness without speckle, ``(H, W)``, decibels scaled so that 0 is black and 1 white."""
    base = table("sar")
    # Moisture, roughness and growth stage: of two crops, the brighter in one scene is the darker in the next.
    swing = np.full(base.shape, 3.5, np.float32)
    swing[[Material.WATER, *WAYS]] = 1.2
    swing[Material.FOREST] = 1.8
    base = base + (swing * rng.standard_normal(base.shape)).astype(np.float32)
    own = np.where(members(BUILDINGS), 4.0, 2.2).astype(np.float32)
    own[[Material.WATER, *WAYS]] = 1.0
    decibel: Field = scene.spread(base[scene.material] + own[scene.material] * scene.own("sar"))
    decibel += np.clip(slope(scene.elevation, scene.look) * np.float32(18), -5, 6)
    decibel += _roofs(scene)
    power = _undb(blur(decibel, 0.5))
    power += _walls(scene)
    power *= 1 - np.float32(0.93) * shadow(scene.height, scene.look, 0.95, 5)
    power = blur(power, 0.6)
    image: Field = (np.float32(10) * np.log10(power + np.float32(1e-4)) - np.float32(_FLOOR)) / np.float32(_SPAN)
    return image


def speckle(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiplicative gamma speckle of several looks, seen through the radar's point spread.

    Bright land is as much noisier than dark land as it is brighter; relative to brightness, the variance is about one
    before the blur.
    """
    # A gamma variable of integer shape is minus the logarithm of a product of uniform ones.
    product = np.prod(1 - rng.random((_LOOKS, *image.shape), dtype=np.float32), axis=0)
    power = np.log(np.maximum(product, np.float32(1e-12))) * np.float32(-1 / _LOOKS) - np.float32(1)
    noise: Field = blur(power * np.float32(math.sqrt(_LOOKS)), fitted.SAR_GRAIN) * image
    return noise


def _undb(decibel: Field) -> Field:
    power: Field = np.exp(decibel * np.float32(math.log(10) / 10))
    return power


def _roofs(scene: Scene) -> Field:
    """Gables that face the sensor are bright, the others dark; decibels."""
    gabled = members(GABLED)[scene.material]
    facing = np.where(gabled, np.cos(scene.angle - np.float32(scene.look)), 0).astype(np.float32)
    return scene.spread(facing * np.float32(5))


def _walls(scene: Scene) -> Field:
    """Power that walls and edges of woods add to the ground before them, that is on the sensor's side.

    Layover lies up to about three pixels towards the sensor; the foot of the wall, where it forms a corner
    reflector with the ground, is brightest.
    """
    behind = scene.look + math.pi  # seen from the lit ground
    layover = np.clip(overhang(scene.height, behind, 1.1, 3), 0, 2.5)
    corner = np.clip(overhang(scene.height, behind, 0.6, 1) - np.float32(0.8), 0, 2)
    power: Field = np.float32(0.18) * layover + np.float32(1.6) * corner
    return power
