"""What the distributions promise to installers: bounds, licence, metadata; and what a wheel holds."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from regbench import __version__
from regbench.installed import OFFICIAL

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, ROOT / "datasets", *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda p: p.name)
def test_every_distribution_has_licence_and_metadata(folder):
    facts = project(folder)
    assert facts["license-files"] == ["LICENSE"]
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert facts["authors"]
    assert facts["keywords"]
    assert "Programming Language :: Python :: 3.11" in facts["classifiers"]


@pytest.mark.parametrize("folder", PROJECTS[1:], ids=lambda p: p.name)
def test_a_plugin_is_bound_to_the_versions_it_fits(folder):
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in project(folder)["dependencies"]]
    (core,) = [requirement for requirement in needed if requirement.name == "regbench"]
    assert core.specifier.contains(__version__)
    assert not core.specifier.contains("1.0")


def test_all_is_every_official_distribution():
    from packaging.requirements import Requirement

    extra = [Requirement(text) for text in project(ROOT)["optional-dependencies"]["all"]]
    assert {requirement.name for requirement in extra} == OFFICIAL
    assert all(requirement.specifier.contains(__version__) for requirement in extra)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [ROOT, ROOT / "datasets"], ids=["harness", "plugin"])
def test_the_wheel_holds_what_it_needs(folder, tmp_path):
    pytest.importorskip("hatchling")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    if folder == ROOT:
        for wanted in (
            "regbench/recipes/colreg-table5.toml",
            "regbench/recipes/colreg/paper.csv",
            "regbench/results/result.schema.json",
            "regbench/tools/new_plugin/templates/strategy.py.jinja",
            "regbench/report/render/templates/board.html",
        ):
            assert wanted in names
