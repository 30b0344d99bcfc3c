"""The structure of the code: contracts of ``pyproject.toml`` hold, and fail when they are broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    path.parent
    for pattern in ("regbench/**/__init__.py", "plugins/*/src/**/__init__.py", "datasets/src/**/__init__.py")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_folder_has_more_than_18_modules(package):
    modules = [path for path in package.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 18


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the harness in ``folder`` alone."""
    config = (ROOT / "pyproject.toml").read_text()
    head = config.index("[tool.importlinter]")
    contract = config.index("[[tool.importlinter.contracts]]")
    rooms = config[contract : config.index("[[tool.importlinter.contracts]]", contract + 1)]
    options = '[tool.importlinter]\nroot_packages = ["regbench"]\nexclude_type_checking_imports = true\n\n'
    assert "exclude_type_checking_imports = true" in config[head:contract]
    (folder / "pyproject.toml").write_text(options + rooms)
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (None, ""),
        ("regbench/geometry.py", "from regbench.api.config import ComponentConfig  # upwards"),
        ("regbench/training/step.py", "from regbench.runs.plan import Plan  # upwards, and a circle"),
        ("regbench/report/board.py", "def late():\n    from regbench.cli import main  # hidden in a function"),
    ],
    ids=["as it is", "ground to api", "training to runs", "hidden"],
)
def test_contracts_fail_on_an_arrow_upwards(tmp_path, module, line):
    pytest.importorskip("importlinter")
    shutil.copytree(ROOT / "regbench", tmp_path / "regbench", ignore=shutil.ignore_patterns("__pycache__"))
    if module is not None:
        path = tmp_path / module
        path.write_text(path.read_text() + "\n\n" + line + "\n")
    outcome = lint(tmp_path)
    assert outcome.returncode == (0 if module is None else 1), outcome.stdout + outcome.stderr
