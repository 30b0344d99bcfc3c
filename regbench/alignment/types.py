"""What an alignment is made of: matched points, what was tried, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regbench.api.types import Matches as Matches
from regbench.errors import RegbenchError

if TYPE_CHECKING:
    from regbench.alignment.images import OwnImage

Matrix = NDArray[np.float64]
"""``(3, 3)``, source pixels to target pixels, H[2, 2] = 1."""
CONFIDENT = 0.5
"""Confidence from which an answer is trusted."""
SURE = 0.99
"""Confidence below which ``auto`` asks one more method after a confident one."""


@dataclass(frozen=True)
class Attempt:
    """A method that was tried."""

    method: str
    ok: bool
    """Whether it found an answer."""
    confidence: float
    seconds: float
    why: str = ""
    """Why it was tried at this place, or why it could not be used."""

    def __str__(self) -> str:
        found = f"confidence {self.confidence:.2f}" if self.ok else "no answer"
        return f"{self.method}: {found}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class Alignment:
    """How a source image lies on a target image.

    Attributes:
        homography: ``(3, 3)`` float64 of source pixels to target pixels of the whole images, H[2, 2] = 1; pixel centres
            at whole numbers, x then y. The identity where ``ok`` is False.
        ok: whether the method found an answer. It says nothing of its quality: ``confidence`` does.
        confidence: in [0, 1]; 0 where ``ok`` is False.
        confidence_parts: what it was computed from, by name.
        method: name of the method that answered, or of the last one that was tried.
        matches: points the method matched, in pixels of the whole images; None where it matches none.
        tried: every method that was tried, in order.
        max_side: longest side of the images at working size, px.
        source: the source image as it was read.
        target: the target image as it was read.
    """

    homography: Matrix
    ok: bool
    confidence: float
    confidence_parts: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    matches: Matches | None = field(default=None, repr=False)
    tried: tuple[Attempt, ...] = ()
    max_side: int = 0
    source: OwnImage | None = field(default=None, repr=False)
    target: OwnImage | None = field(default=None, repr=False)

    @property
    def inliers(self) -> int | None:
        """Matches that agree with the homography; None where the method has no matches."""
        return None if self.matches is None else int(self.matches.inliers.sum())

    @property
    def why(self) -> str:
        """What was tried, in words."""
        return "; ".join(str(attempt) for attempt in self.tried)

    @property
    def map_homography(self) -> Matrix | None:
        """``(3, 3)``, source pixels to map units of the target; None where the target has no georeference."""
        georeference = None if self.target is None else self.target.georeference
        if georeference is None or not self.ok:
            return None
        found = georeference.matrix @ self.homography
        return np.asarray(found / found[2, 2])

    def warp(self) -> NDArray[Any]:
        """The source on the target's grid, ``(H, W)`` or ``(H, W, bands)``, of the source's type and full depth.

        Outside of the source: its no-data value, NaN for floats without one, else 0.

        Raises:
            RegbenchError: there is no answer.
        """
        from regbench.alignment.warping import warped

        source, target = self.images()
        self.check()
        return warped(source, target.size, self.homography)

    def overlay(self) -> NDArray[np.uint8]:
        """A picture ``(h, w, 3)`` RGB to judge the alignment by; it says so where there is none."""
        from regbench.alignment.pictures import overlay

        return overlay(self)

    def save(self, folder: str | Path) -> Path:
        """Write everything into a folder, which is made: ``docs/align.md`` lists the files.

        Returns:
            The folder.

        Raises:
            RegbenchError: it cannot be written.
        """
        from regbench.alignment.saving import save

        return save(self, Path(folder).expanduser())

    def images(self) -> tuple[OwnImage, OwnImage]:
        """Source and target; raises RegbenchError for an alignment that was made without them."""
        if self.source is None or self.target is None:
            raise RegbenchError("this alignment was made without its images")
        return self.source, self.target

    def check(self) -> None:
        """Raise RegbenchError where there is no answer."""
        if not self.ok:
            raise RegbenchError("no alignment was found for this pair, so nothing can be warped")
