import pytest

pytest.register_assert_rewrite("regbench.testing.suite")  # before its first import, below

from regbench.testing.suite.conftest import one_thread  # noqa: E402

__all__ = ["one_thread"]
