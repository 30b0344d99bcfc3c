"""The conformance suite: what every component must hold to, for plugin authors to run on their own.

``regbench plugins check my-distribution`` runs it; so does ``pytest --pyargs regbench.testing.suite``. Every promise
the harness relies on is one test, whose docstring states it. :mod:`regbench.testing.images` and
:mod:`regbench.testing.training` are there for a plugin's own tests as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from regbench.errors import RegbenchError, unknown_name
from regbench.plugins.registry import canonical, registry

DISTRIBUTION = "REGBENCH_CHECK"
"""Environment variable that narrows the suite to the components of one distribution."""


def run_suite(distribution: str | None = None) -> int:
    """Run the suite in this process, with the outcome on standard output.

    Args:
        distribution: whose components to check, such as ``regbench-example``; None checks all that is installed.

    Returns:
        0 when every promise is kept.

    Raises:
        RegbenchError: pytest is not installed, or the distribution's plugin did not even load.
        UsageError: no installed distribution of that name offers plugins.
    """
    if find_spec("pytest") is None:
        raise RegbenchError("the conformance suite needs pytest: pip install 'regbench[test]'")
    import pytest

    folder = Path(__file__).parent / "suite"
    # Neither settings nor pytest plugins of the project the author stands in may leak into the check.
    alone = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider"]
    narrowed = "" if distribution is None else _loaded(distribution)
    with _environment({DISTRIBUTION: narrowed, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}):
        return int(pytest.main([*alone, "--pyargs", "-q", "--tb=short", "regbench.testing.suite"]))


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


def _loaded(distribution: str) -> str:
    """The name of a distribution as it spells it itself, once all of its plugins are found to load."""
    rows = [p for p in registry().plugins if canonical(p.distribution) == canonical(distribution)]
    if not rows:
        raise unknown_name("distribution", distribution, {p.distribution for p in registry().plugins})
    if broken := [p for p in rows if p.status != "ok"]:
        raise RegbenchError(f"plugin {broken[0].name!r} of {distribution} does not load: {broken[0].reason}")
    return rows[0].distribution


__all__ = ["DISTRIBUTION", "run_suite"]
