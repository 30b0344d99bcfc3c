"""The embedded data set: procedural scenes rendered pixel-aligned in six modalities.

Nothing is downloaded: a controlled benchmark whose truth is exact. The pairs of optical with another modality have the
statistics of real ones (:mod:`~regbench.data.synthetic.fitted`, docs/embedded.md); ``gap`` makes them easier. A scene
is a set of latent layers (:mod:`~regbench.data.synthetic.scene`) that every modality renders in its own way
(:mod:`~regbench.data.synthetic.render`, :mod:`~regbench.data.synthetic.sar`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages, Split
from regbench.data.synthetic.noise import stream
from regbench.data.synthetic.render import Rendering, render
from regbench.data.synthetic.scene import MODALITIES, Modality, build
from regbench.errors import DataError

__all__ = ["MODALITIES", "RENDERING", "Modality", "Synthetic", "SyntheticConfig"]

RENDERING: Literal[2] = 2
"""Raised with every change of what is drawn, so that no pack drawn before is taken for one of these settings."""
_SPLITS: tuple[Split, ...] = ("train", "test")
_SCENE, _RADIOMETRY, _NOISE, _CURVE = range(4)  # streams below (seed, split, index)


class SyntheticConfig(ComponentConfig):
    """Settings of the embedded data set."""

    a: Modality = "optical"
    """Modality of A."""
    b: Modality = "sar"
    """Modality of B. The same as A is allowed: then the pair differs by sensor noise (a control)."""
    gap: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    """Modality gap: at 0, B is a monotone curve of A's luminance, hardly noisy; at 1, its sensor's view, which is
    fitted to real pairs."""
    train: int = Field(default=256, ge=1, le=99999)
    """Number of training scenes."""
    test: int = Field(default=64, ge=1, le=99999)
    """Number of test scenes."""
    size: int = Field(default=256, ge=64, le=2048)
    """Side of the square images, pixels. Structures keep their size: a larger image shows more of them."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Another seed is another country: no scene is shared."""
    rendering: Literal[2] = RENDERING
    """Version of the rendering. Packs and results of another version are of other images."""


class Synthetic(Dataset):
    """Procedural scenes in two of six modalities. A scene depends on seed, split and index alone."""

    Config = SyntheticConfig
    needs_root = False
    card: ClassVar[Card] = Card(
        title="Synthetic scenes",
        modalities=("optical", "sar"),
        origin="made on the fly by regbench; nothing to download",
        licence="Apache-2.0, as regbench itself",
        citation="none; cite regbench and state a, b, gap, size, seed and rendering",
        layout="none: images exist only in the pack",
        split="train and test scenes come from disjoint random streams of one seed",
        size_rule="rendered at the size asked for (256 x 256 by default), no resampling",
        defects="simulated: has some statistics of real pairs (docs/embedded.md), says nothing of a real sensor",
    )
    config: SyntheticConfig

    def __init__(self, config: ComponentConfig | None = None, root: Path | None = None) -> None:
        super().__init__(config if config is not None else SyntheticConfig(), root)

    @property
    def modalities(self) -> tuple[str, str]:
        """Names of modality A and B."""
        return self.config.a, self.config.b

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image, pixels."""
        return self.config.size, self.config.size

    def keys(self, split: Split) -> Sequence[str]:
        """``train-00000`` and so on, as many as configured."""
        count = self.config.train if split == "train" else self.config.test
        return [f"{split}-{index:05d}" for index in range(count)]

    def read(self, split: Split, key: str) -> PairImages:
        """Render one pair, uint8, ``(size, size)``, or ``(size, size, 3)`` RGB for optical and map.

        Raises:
            DataError: the split has no such key.
        """
        name, _, digits = key.rpartition("-")
        count = self.config.train if split == "train" else self.config.test
        if name != split or not digits.isdecimal() or key != f"{split}-{int(digits):05d}" or int(digits) >= count:
            raise DataError(
                f"synthetic: no pair {key!r} in split {split!r}; its keys are {split}-00000 to {split}-{count - 1:05d}."
            )
        path = (_SPLITS.index(split), int(digits))
        scene = build(stream(self.config.seed, *path, _SCENE), self.config.size)

        def view(modality: Modality, side: int) -> Rendering:
            # One radiometry a scene and modality, one noise a side: changing B leaves A's bytes as they are.
            number = MODALITIES.index(modality)
            radiometry = stream(self.config.seed, *path, _RADIOMETRY, number)
            return render(scene, modality, radiometry, stream(self.config.seed, *path, _NOISE, number, side))

        a, b = view(self.config.a, 0), view(self.config.b, 1)
        b = _narrow(b, a.clean, self.config.gap, stream(self.config.seed, *path, _CURVE))
        return PairImages(_quantise(a), _quantise(b))


def _narrow(full: Rendering, source: NDArray[np.float32], gap: float, rng: np.random.Generator) -> Rendering:
    """Move a rendering towards a monotone curve of the source's luminance; ``gap`` 1 leaves it as it is."""
    luminance = source @ np.array([0.299, 0.587, 0.114], np.float32) if source.ndim == 3 else source
    curve = np.clip(luminance, 0, 1) ** np.float32(rng.uniform(0.6, 1.5))
    if full.clean.ndim == 3:
        curve = np.repeat(curve[..., None], 3, axis=2)
    mixed: NDArray[np.float32] = np.float32(1 - gap) * curve + np.float32(gap) * full.clean
    return Rendering(mixed, full.noise * np.float32(0.1 + 0.9 * gap))


def _quantise(view: Rendering) -> NDArray[np.uint8]:
    levels = np.rint(np.clip(view.clean + view.noise, 0, 1) * np.float32(255))
    return np.asarray(levels, np.uint8)
