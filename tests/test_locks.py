"""Locks hold between processes where there are any, and nobody waits where there are none."""

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from regbench import locks
from regbench.locks import HeldError, locked

HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
)


@pytest.fixture
def rival(tmp_path):
    """A process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.stdin.close()
    process.wait()


def test_a_rival_is_noticed_or_waited_for(rival, tmp_path, capsys):
    with pytest.raises(HeldError), locked(tmp_path / ".lock", wait=False):
        pass
    assert capsys.readouterr().err == ""
    rival.stdin.close()
    with locked(tmp_path / ".lock", wait=True), pytest.raises(BlockingIOError), (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_who_waits_says_for_what(rival, tmp_path, capsys):
    timer = threading.Timer(0.3, rival.stdin.close)
    timer.start()
    with locked(tmp_path / ".lock", wait=True, work="prepares synthetic"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"regbench: waiting for another process that prepares synthetic (it holds {tmp_path / '.lock'})"


def test_a_folder_is_locked_itself(tmp_path):
    with locked(tmp_path, wait=False), pytest.raises(HeldError), locked(tmp_path, wait=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_is_not_emptied(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("mine")
    with locked(path, wait=False):
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EIO])
@pytest.mark.parametrize("wait", [True, False])
def test_a_file_system_without_locks_is_told_of_once(tmp_path, monkeypatch, capsys, code, wait):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "_warned", set())
    entered = 0
    for _ in range(2):
        with locked(tmp_path / ".lock", wait=wait):
            entered += 1
    assert entered == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path) in line
    assert os.strerror(code) in line


def test_a_folder_that_cannot_be_written_needs_no_lock(tmp_path, monkeypatch, capsys):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("regbench.locks.os.open", refused)
    with locked(tmp_path / ".lock", wait=False):
        pass
    assert capsys.readouterr().err == ""


def test_an_error_of_the_block_is_its_own(tmp_path):
    with pytest.raises(BlockingIOError, match="mine"), locked(tmp_path / ".lock", wait=False):
        raise BlockingIOError("mine")
