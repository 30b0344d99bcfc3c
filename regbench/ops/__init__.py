"""Operators that plugin authors share: each documented, tested against a naive form, and free of host syncs."""

from regbench.ops.correlation import local_correlation
from regbench.ops.edges import edge_agreement, edge_field, edge_shift
from regbench.ops.log_gabor import amplitudes, log_gabor_bank, maximum_index_map, to_grey

__all__ = [
    "amplitudes",
    "edge_agreement",
    "edge_field",
    "edge_shift",
    "local_correlation",
    "log_gabor_bank",
    "maximum_index_map",
    "to_grey",
]
