"""Operators that plugin authors share: each documented, tested against a naive form, and free of host syncs."""

from regbench.ops.correlation import local_correlation

__all__ = ["local_correlation"]
