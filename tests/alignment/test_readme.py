"""README's first example, as written, on two files that the repository renders."""

import json
import resource

import cv2
import numpy as np
import pytest
import tifffile

from tests.alignment.scenes import error, moved, scene
from tests.documents.blocks import ROOT, Shell, blocks_of

TURN = np.array([[1.02, 0.06, -14.0], [-0.05, 0.98, 21.0], [4e-5, -3e-5, 1.0]])
SIDE = 384
MOST_SECONDS = 60  # of CPU, which other work on the machine does not count in


@pytest.mark.slow
def test_the_first_example_runs_as_written_in_under_a_minute(tmp_path):
    python, command = [block for block in blocks_of(ROOT / "README.md") if "thermal.tif" in block.text][:2]
    assert (python.language, command.language) == ("python", "sh")
    shell = Shell(tmp_path, tmp_path)
    photo, thermal = scene(SIDE, ("optical", "thermal"), gap=0.5)
    tifffile.imwrite(shell.here / "thermal.tif", (7000 + 8 * np.atleast_3d(thermal)[..., 0].astype(np.uint16)))
    cv2.imwrite(str(shell.here / "photo.jpg"), moved(photo, TURN)[..., ::-1])
    for block in (python, command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shell.run(block)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_SECONDS
        facts = json.loads((shell.here / "aligned" / "alignment.json").read_text())
        assert error(facts["homography"], TURN, (SIDE, SIDE)) < 0.01 * SIDE * np.sqrt(2)
        assert facts["confidence"] >= 0.5
        assert {"homography.txt", "overlay.png", "warped.png"} <= {p.name for p in (shell.here / "aligned").iterdir()}
        assert cv2.imread(str(shell.here / "aligned" / "warped.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
