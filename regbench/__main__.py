"""``python -m regbench`` is the command ``regbench``."""

from __future__ import annotations

from regbench.cli import main

if __name__ == "__main__":
    main()
