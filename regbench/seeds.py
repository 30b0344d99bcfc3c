"""Seeds derived by hashing: every use of randomness has a stream of its own, by name.

That keeps uses apart; it keeps no secrets. Base seeds are small numbers, so that somebody who knows the names of the
streams can try them all (``docs/trust.md``).
"""

from __future__ import annotations

import hashlib


def seed_of(*axes: object) -> int:
    """A 63-bit seed for the given axes, such as ``seed_of(base, "pairs", stage, step)``.

    Equal axes give equal seeds; a change of any axis gives another, unrelated one.
    """
    text = "\x1f".join(str(axis) for axis in axes)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
