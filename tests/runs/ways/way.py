"""What a way is."""

from __future__ import annotations

from collections.abc import Callable

from tests.runs.place import Place

Way = Callable[[Place], str]
"""Does mischief and returns the run id that comes out of it; or is refused."""
