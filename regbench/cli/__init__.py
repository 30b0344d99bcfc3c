"""The command line: one module for each verb, imported when the verb is called.

``_shared`` holds what verbs share. ``regbench --help`` imports neither torch nor pydantic.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import click

from regbench import __version__, interrupts
from regbench.cli._shared.output import echo, stdout_for_json
from regbench.disk import in_words
from regbench.distributed.rank import this_rank
from regbench.errors import InterruptedRun, PluginError, RegbenchError, UsageError
from regbench.threads import wait_asleep

VERBS = {
    "run": "train (if a strategy is named) and judge one combination",
    "evaluate": "judge a registrator as it is, with imported weights, or from a finished run",
    "register": "estimate the homography between two image files",
    "consistency": "how far the estimates of finished runs agree, without labels",
    "plugins": "list, explain and check what is installed",
    "datasets": "list, explain, prepare, verify, preview and measure data sets",
    "weights": "import published checkpoints as safetensors, export networks as ONNX",
    "bench": "time components on this machine: forwards, training steps, the sampler",
    "ablate": "run all combinations of a recipe and write their board",
    "runs": "list, show and remove runs",
    "report": "write a finished run as one HTML page",
    "tensorboard": "write losses and health of runs for TensorBoard, also while they train",
    "recipes": "list, show and start the recipes that `ablate` runs",
    "leaderboard": "build, check and export leaderboards of committed results",
    "compare": "compare two runs on the same test pairs",
    "figure": "draw finished runs: curves, bars, pairs, matrices",
    "doctor": "check this installation",
}


class LazyGroup(click.Group):
    """The verbs of ``VERBS``, each imported when it is called, then the commands of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, then of plugin commands."""
        return [*VERBS, *(c.name for c in _plugin_commands())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one verb."""
        if name in VERBS:
            command: click.Command = import_module(f"regbench.cli.{name}").command
            return command
        for component in _plugin_commands():
            if component.name == name:
                loaded = component.load()
                if not isinstance(loaded, click.Command):
                    raise PluginError(f"command {name!r} of {component.distribution}: {component.target} is no command")
                return loaded
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Suggest the closest verb for an unknown one."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from regbench.errors import unknown_name

            raise unknown_name("command", name, self.list_commands(ctx))
        if this_rank().processes > 1 and name != "run":
            raise UsageError(
                f"only `regbench run` uses several processes; start `regbench {name}` once, without torchrun"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        rows = [*VERBS.items(), *((c.name, c.summary) for c in _plugin_commands())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _plugin_commands() -> list[Any]:
    from regbench.plugins.registry import registry

    return registry().all("command")


def _set_plugins_timeout(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Hand the option on, also to the processes this one starts."""
    if value is not None:
        os.environ["REGBENCH_PLUGINS_TIMEOUT"] = value


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="regbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--plugins-timeout", metavar="SECONDS", expose_value=False, is_eager=True, callback=_set_plugins_timeout,
              help="Give up a plugin that takes longer to load; 0 waits for ever.  [default: 30]")  # fmt: skip
def app(debug: bool) -> None:
    """How well does (translator x registrator x strategy) align this pair of modalities, and how sure are we?"""


def main() -> None:
    """Entry point: an error becomes one line.

    Exit codes: 1 for a failed job, 2 for wrong usage, those of :mod:`regbench.interrupts` where a signal ended it.
    """
    wait_asleep()
    with interrupts.caught():
        try:
            _main()
        except KeyboardInterrupt:
            _fail("interrupted", interrupts.exit_code())


def _main() -> None:
    debug = "--debug" in sys.argv or bool(os.environ.get("REGBENCH_DEBUG"))
    if "--debug" in sys.argv[2:]:  # accepted anywhere on the line
        sys.argv.remove("--debug")
    try:
        with stdout_for_json() if "--json" in sys.argv else nullcontext():
            app(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted; run the same command again", interrupts.exit_code())
    except click.ClickException as error:
        _wait_for_first_rank()
        error.show()
        sys.exit(error.exit_code)
    except RegbenchError as error:
        if debug:
            raise
        if error.everywhere:
            _wait_for_first_rank()
        _fail(str(error), interrupts.exit_code() if isinstance(error, InterruptedRun) else error.exit_code)
    except OSError as error:
        if debug:
            raise
        _fail(in_words(error), 1)
    except SystemExit as error:  # nothing here exits by itself
        if debug or _nobody_reads():  # as with `| head`, where click exits
            raise
        from regbench.plugins.blame import exited

        _fail(exited(error), 1)
    except Exception as error:
        if debug:
            raise
        from regbench.plugins.blame import at_fault

        said = f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}"
        _fail(f"{said}{at_fault(error)} (--debug shows where)", 1)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose other end is closed."""
    if not hasattr(select, "poll"):
        return False
    asked = select.poll()
    asked.register(sys.__stdout__.fileno() if sys.__stdout__ else 1, 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))


def _wait_for_first_rank() -> None:
    """Let the first process report an error that all have: torchrun ends the others when it exits."""
    try:
        later = this_rank().number > 0
    except UsageError:  # which is the error at hand
        return
    if later:
        time.sleep(10)


def _fail(message: str, code: int) -> None:
    echo(f"regbench: {message}", err=True)
    sys.exit(code)
