"""What ``pip install -e PROJECT`` does in the pages: ``python -m tests.documents.install PROJECT SITE``."""

import sys
from pathlib import Path

from tests.distributions import install

if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), editable=True)
