"""What this distribution offers."""

from __future__ import annotations

from typing import Any

from regbench import hookimpl


@hookimpl
def register_translators(register: Any) -> None:
    """Register every translator of this distribution."""
    register(
        "identity",
        "regbench_translators.identity:Identity",
        summary="the source as it is: the reference every translation is measured against",
        provides=("differentiable",),
    )
