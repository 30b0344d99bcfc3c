"""The names of vismatch's matchers, read from its source: importing it would make the listing of plugins slow."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def vismatch_names() -> list[str]:
    """Names of the matchers of the installed vismatch; empty if it is not installed or has no readable list."""
    spec = find_spec("vismatch")
    if spec is None or spec.origin is None:
        return []
    try:
        body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
        for node in body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
                "available_models"
            ]:
                return [str(name) for name in ast.literal_eval(node.value)]
    except (
        OSError,
        SyntaxError,
        ValueError,
    ):  # an unknown version of vismatch must not keep the other matchers from loading
        return []
    return []
