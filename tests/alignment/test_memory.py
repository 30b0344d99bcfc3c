"""Large images do not take gigabytes."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile

from tests.alignment.scenes import error, large, moved

TURN = np.array([[1.01, 0.03, -90.0], [-0.02, 0.99, 120.0], [2e-6, 0, 1.0]])
CODE = """
import json, resource, sys
import regbench
found = regbench.align(sys.argv[1], sys.argv[2], sys.argv[3])
found.save(sys.argv[4])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"homography": found.homography.tolist(), "ok": found.ok, "gigabytes": peak}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind", "side"), [("sift", "png", 4000), ("sift", "tif", 8000), ("rift", "png", 4000)]
)
def test_at_most_two_gigabytes(tmp_path, method, kind, side):
    image = large(side)
    for name, seen in (("a", image), ("b", moved(image, TURN))):
        if kind == "png":
            cv2.imwrite(str(tmp_path / f"{name}.png"), seen)
        else:
            tifffile.imwrite(tmp_path / f"{name}.tif", seen, tile=(512, 512))
    words = [str(tmp_path / f"a.{kind}"), str(tmp_path / f"b.{kind}"), method, str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["ok"]
    assert facts["gigabytes"] < 2
    assert error(facts["homography"], TURN, (side, side)) < 1
