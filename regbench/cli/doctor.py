"""``regbench doctor``: check this installation; each problem comes with what to do."""

from __future__ import annotations

import json

import click

from regbench.cli._shared.output import echo, echo_json


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True)
def command(as_json: bool) -> None:
    """Check this installation; exit code 1 if there is a problem."""
    from regbench.errors import RegbenchError
    from regbench.tools.doctor import examine

    findings = examine()
    if as_json:
        echo_json(json.dumps([vars(f) for f in findings], indent=1))
    else:
        for f in findings:
            echo(f"{'ok  ' if f.ok else 'FAIL'}  {f.what}: {f.detail}")
    if any(not f.ok for f in findings):
        raise RegbenchError("the installation has problems; see above")
