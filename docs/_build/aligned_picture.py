"""Draws docs/pictures/aligned.jpg: RIFT on a scene of the embedded data: ``python docs/_build/aligned_picture.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

import regbench
from regbench.data.synthetic import Synthetic, SyntheticConfig

SIDE = 320
CORNERS = np.array([[0, 0], [SIDE - 1, 0], [0, SIDE - 1], [SIDE - 1, SIDE - 1]], np.float32)
MOVED = np.array([[26, 18], [300, 8], [10, 296], [306, 312]], np.float32)
"""Where the corners of the source lie in the target, px."""


def main() -> None:
    """Draw it, and print how far the answer is from the truth."""
    pair = Synthetic(SyntheticConfig(a="optical", b="thermal", size=SIDE)).read("test", "test-00003")
    truth = cv2.getPerspectiveTransform(CORNERS, MOVED)
    source = cv2.warpPerspective(pair.a, np.linalg.inv(truth), (SIDE, SIDE))
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("source.png", "target.png")]
        cv2.imwrite(files[0], source[..., ::-1])
        cv2.imwrite(files[1], pair.b)
        found = regbench.align(*files, method="rift")
    corners = cv2.perspectiveTransform(CORNERS[None].astype(np.float64), np.asarray(found.homography))[0]
    print(f"corner error {np.linalg.norm(corners - MOVED, axis=1).mean():.2f} px")  # noqa: T201
    path = Path(__file__).parents[1] / "pictures" / "aligned.jpg"
    cv2.imwrite(str(path), found.overlay()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
