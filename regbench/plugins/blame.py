"""Whose code an error comes from, so that a message names the plugin and not only the exception."""

from __future__ import annotations

from regbench.plugins.registry import registry
from regbench.texts import one_line


def at_fault(error: BaseException) -> str:
    """`` in my-plugin (my_package.mine, line 12)``: the innermost code of a plugin that an error passed; else empty."""
    owners = {
        component.target.partition(":")[0].partition(".")[0]: component.distribution
        for role in registry().roles
        for component in registry().all(role)
    }
    owners.pop("regbench", None)
    found, trace = "", error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if (owner := owners.get(module.partition(".")[0])) is not None:
            found = f" in {owner} ({module}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


def exited(error: SystemExit) -> str:
    """What to say of a component that called ``sys.exit``, whatever the code: nothing here exits by itself."""
    return one_line(
        f"a component ended the program by sys.exit({error.code!r}){at_fault(error)}; it must raise an error"
    )
