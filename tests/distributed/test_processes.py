"""What the first process starts, the others take part in; two processes are played in turn by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from regbench.distributed.processes import ALONE, World
from regbench.distributed.rank import Rank, this_rank
from regbench.errors import UsageError


def two_processes() -> tuple[World, World, list[bool]]:
    """The first process, another one, and what the first has broadcast and the other not yet received."""
    sent: list[bool] = []

    class Played(World):
        def broadcast_from_first(self, value):
            if self.first:
                sent.append(value)
                return value
            return sent.pop(0)

    return Played(Rank(0, 2)), Played(Rank(1, 2)), sent


def calls(*said: str) -> Callable[[Callable[..., str]], str]:
    """A leader that says something together with the others, or nothing."""
    return lambda together: "led " + "".join(together(word) for word in said)


def test_the_others_run_what_the_first_starts():
    first, other, sent = two_processes()
    done = []

    def together(word: str = "plain") -> str:
        done.append(word)
        return word

    assert first.led_by_first(calls("own"), together) == "led own"
    assert other.led_by_first(calls("own"), together) is None
    assert done == ["own", "plain"]
    assert not sent


def test_the_others_are_released_when_the_first_starts_nothing():
    first, other, sent = two_processes()
    assert first.led_by_first(calls(), pytest.fail) == "led "
    assert other.led_by_first(calls(), pytest.fail) is None
    assert not sent


def test_nothing_is_broadcast_after_an_error():
    first, _, sent = two_processes()
    with pytest.raises(ZeroDivisionError):
        first.led_by_first(lambda together: 1 / 0, pytest.fail)
    assert not sent


def test_one_process_leads_itself():
    assert ALONE.led_by_first(calls("own"), lambda word: word) == "led own"


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORLD_SIZE", "abc"), ("WORLD_SIZE", "0"), ("RANK", "-1"), ("RANK", "2"), ("LOCAL_RANK", "1.5"), ("RANK", "")],
)
def test_what_torchrun_would_not_set_is_told_by_name(name, value):
    with pytest.raises(UsageError, match=name):
        this_rank({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", name: value})
