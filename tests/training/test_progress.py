"""Progress is shown as it is: names with brackets stay, escapes are written out."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from regbench.training import progress
from regbench.training.progress import Tick

TICK = Tick(stage="a [/x] [bold]", number=1, stages=2, step=3, steps=9, loss=0.5, rate=7.0, left=65.0)


@pytest.fixture
def console(monkeypatch):
    """The console of the bar, whose text is read back."""
    made = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **_: made)
    return made.file


def test_a_bar_shows_brackets_and_no_escapes(console):
    bar = progress.Bar()
    bar.tick(TICK)
    bar.tick(replace(TICK, step=4, stage="b\x1b]0;t\x07"))
    bar.say("pack [/bold] :smile: \x1b[2J")
    bar.close()
    text = console.getvalue()
    assert "[1/2] a [/x] [bold]  step 3/9" in text
    assert r"b\x1b]0;t\x07" in text
    assert r"pack [/bold] :smile: \x1b[2J" in text
    assert "\x07" not in text


def test_lines_show_no_escapes(capsys):
    progress.Lines().say("pack [/bold] \x1b[2J")
    assert capsys.readouterr().err == "pack [/bold] \\x1b[2J\n"
