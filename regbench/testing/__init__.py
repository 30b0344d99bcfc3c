"""The conformance suite: tests of everything that the harness requires of a component, for plugin authors to run.

``regbench plugins check my-distribution`` runs it, and so does ``pytest --pyargs regbench.testing.suite``. Each test
checks one requirement, which its docstring states. A plugin's own tests may use :mod:`regbench.testing.images` and
:mod:`regbench.testing.training`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from regbench.errors import RegbenchError, unknown_name
from regbench.installed import canonical
from regbench.plugins.registry import registry

DISTRIBUTION = "REGBENCH_CHECK"
"""Environment variable that restricts the suite to the components of one distribution."""


def run_suite(distribution: str | None = None) -> int:
    """Run the suite in this process, with the outcome on standard output.

    Args:
        distribution: whose components to check, such as ``regbench-example``; None checks all that is installed.

    Returns:
        0 when every test passes.

    Raises:
        RegbenchError: pytest is not installed, or the distribution's plugin did not even load.
        UsageError: no installed distribution of that name offers plugins.
    """
    if find_spec("pytest") is None:
        raise RegbenchError("the conformance suite needs pytest: pip install 'regbench[test]'")
    import pytest

    from regbench.testing.advice import Explained

    folder = Path(__file__).parent / "suite"
    # Settings and pytest plugins of the project in the current folder must not change the check.
    isolated = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider"]
    name = "" if distribution is None else _loaded_distribution(distribution)
    with _environment({DISTRIBUTION: name, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}):
        words = [*isolated, "--pyargs", "-q", "-rfE", "--tb=short", "regbench.testing.suite"]
        return int(pytest.main(words, plugins=[Explained()]))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _loaded_distribution(distribution: str) -> str:
    """The distribution's own spelling of its name; raises unless every plugin of it has been loaded."""
    rows = [p for p in registry().plugins if canonical(p.distribution) == canonical(distribution)]
    if not rows:
        raise unknown_name("distribution", distribution, {p.distribution for p in registry().plugins})
    if broken := [p for p in rows if p.status != "ok"]:
        raise RegbenchError(f"plugin {broken[0].name!r} of {distribution} does not load: {broken[0].reason}")
    return rows[0].distribution


__all__ = ["DISTRIBUTION", "run_suite"]
