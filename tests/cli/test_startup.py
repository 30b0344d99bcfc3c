"""Help and listings answer at once: nothing heavy is imported for them."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ["torch", "torchvision", "numpy", "cv2", "pydantic", "h5py", "matplotlib", "kornia", "timm", "rich"]
PROBE = f"""
import json, sys
sys.argv = ["regbench", *sys.argv[1:]]
from regbench.cli import main
try:
    main()
finally:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["plugins", "list"], ["plugins", "matrix"], ["run", "--help"]], ids=" ".join
)
def test_nothing_heavy_is_imported(words):
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == []


@pytest.mark.parametrize("words", [["--help"], ["plugins", "list"]], ids=" ".join)
def test_it_takes_half_a_second_at_most(words):
    """CPU time, best of five: what else the machine does must not count."""
    spent = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, "-m", "regbench", *words], capture_output=True, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if spent[-1] <= 0.5:
            return
    assert min(spent) <= 0.5, f"CPU seconds of five tries: {spent}"
