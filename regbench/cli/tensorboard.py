"""``regbench tensorboard``: losses, health and scores of runs as files that TensorBoard shows."""

from __future__ import annotations

import time
from pathlib import Path

import click

from regbench.cli._shared.options import PathType
from regbench.cli._shared.output import echo

SECONDS = 5.0
"""Between two looks at runs that still train."""


@click.command("tensorboard")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=PathType(file_okay=False))
@click.option("--out", type=PathType(file_okay=False), default=Path("runs/tensorboard"), show_default=True,
              help="Folder of the event files, one folder a run; point `tensorboard --logdir` at it.")  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on with what is logged later, until Ctrl-C.")
def command(folders: tuple[Path, ...], out: Path, follow: bool) -> None:
    """Write what runs at or below FOLDER (runs) logged while training, for TensorBoard.

    The runs need not be finished, and training does not wait for this command.

    \b
    regbench tensorboard runs --follow &
    tensorboard --logdir runs/tensorboard
    """
    from regbench.results.layout import LOG, TENSORBOARD
    from regbench.results.logged import LogReader

    writer_class = _writer_class()
    readers, writers = {}, {}
    while True:
        for folder in folders or (Path("runs"),):
            for log in sorted(folder.rglob(LOG)):
                if log.parent not in readers:
                    readers[log.parent] = LogReader(log.parent)
                    target = out / log.parent.relative_to(folder)
                    for old in target.glob(f"{TENSORBOARD}*"):
                        old.unlink()  # written anew from the first line
                    writers[log.parent] = writer_class(str(target))
                    echo(f"{log.parent} -> {target}")
        for run, reader in readers.items():
            for logged in reader.new():
                writers[run].add_scalar(logged.tag, logged.value, logged.step)
            writers[run].flush()
        if not follow:
            break
        time.sleep(SECONDS)
    for writer in writers.values():
        writer.close()
    if not readers:
        echo(f"no run has logged anything in {', '.join(map(str, folders or ('runs',)))}")


def _writer_class() -> type:
    """The writer of event files; raises UsageError where it is not installed."""
    from regbench.errors import UsageError

    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UsageError("event files need tensorboardX: pip install 'regbench[tensorboard]'") from None
    return SummaryWriter
