"""Seeds derived by hashing, so that every use of randomness has its own stream and no stream reveals another."""

from __future__ import annotations

import hashlib


def seed_of(*axes: object) -> int:
    """A 63-bit seed of the given axes, such as ``seed_of(base, "pairs", stage, step)``.

    The hash is one-way: who holds a derived seed learns neither the base seed nor a sibling.
    """
    text = "\x1f".join(str(axis) for axis in axes)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
