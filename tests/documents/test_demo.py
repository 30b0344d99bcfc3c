"""`make demo`, with networks trained for seconds: the same commands, and the page they end with."""

import os
import subprocess
import sys

import pytest

from tests.documents.blocks import ROOT
from tests.report.test_html import read


@pytest.mark.slow
def test_the_demo_ends_with_a_page_and_can_be_repeated(tmp_path):
    for folder in ("leaderboards", "docs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    command = ["make", "-f", str(ROOT / "Makefile"), "demo", "STAMP=", "BUDGET=smoke",
               f"REGBENCH={sys.executable} -m regbench"]  # fmt: skip
    known = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), known]))}
    for again in (False, True):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stderr.count("already done") == (5 if again else 0), "the second time nothing is trained"
    page = tmp_path / "runs" / "boards" / "demo.html"
    reader = read(page.read_text())
    methods = [row[2] for row in reader.rows[1:6]]
    assert sorted(methods) == ["identity", "mcnet × contrast-randomised", "mcnet × supervised",
                               "mimgcd × mcnet × colreg", "sift"]  # fmt: skip
    links = [a["href"] for a in reader.all("a") if not a["href"].startswith("data:")]
    assert "campaign.html" in links
    assert "../../docs/findings.md" in links
    assert all((page.parent / link).is_file() for link in links)
    assert len(list((tmp_path / "runs" / "demo").glob("*/report.html"))) == 5
