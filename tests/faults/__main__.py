"""``python -m tests.faults [PART…] [--small]``: try every fault, print the table, fail where anything was lost."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.table import Line, all_parts, in_words


def main() -> int:
    known = all_parts()
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--small", action="store_true", help="only what `make test` tries")
    given = parser.parse_args()
    if unknown := [name for name in given.parts if name not in known]:
        parser.error(f"unknown part {unknown[0]!r}; known: {', '.join(known)}")
    lines: list[Line] = []
    for name in given.parts or known:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder:
            for line in known[name]("small" if given.small else "full", Path(folder)):
                lines.append(line)
                print(*in_words([line]), sep="\n", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    for text in in_words(lines):
        print(text)
    return int(any(line.losses or line.tracebacks for line in lines))


if __name__ == "__main__":
    sys.exit(main())
