"""What the files of a board decide about themselves: a wrong, impossible or copied result is told of, not ranked.

:func:`problems_of` looks at all runs of a board. What no file can decide, such as estimates that no network produced,
stands in ``leaderboards/README.md``; ``regbench leaderboard verify`` decides it from a run's weights.
"""

from __future__ import annotations

from regbench.report.checks.board import problems_of

__all__ = ["problems_of"]
