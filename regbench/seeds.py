"""Seeds derived by hashing: every use of randomness has its own stream, and no stream reveals another."""

from __future__ import annotations

import hashlib


def seed_of(*axes: object) -> int:
    """A 63-bit seed for the given axes, such as ``seed_of(base, "pairs", stage, step)``.

    The hash is one-way: neither the base seed nor a seed for other axes can be computed from the result.
    """
    text = "\x1f".join(str(axis) for axis in axes)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
