"""One set of exit codes; the first signal ends in good order, a second one at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

WAITS = """
import sys, threading, time
from regbench import interrupts
def work():
    print("ready", flush=True)
    time.sleep(20)
    sys.exit(9)
try:
    with interrupts.caught():
        work()
except KeyboardInterrupt:
    sys.exit(interrupts.exit_code())
"""
PUTS_OFF = """
import sys, threading, time
from regbench import interrupts
stop = threading.Event()
with interrupts.caught():
    try:
        with interrupts.put_off(stop):
            print("ready", flush=True)
            while not stop.is_set():
                time.sleep(0.01)
            print("stopping", flush=True)
            time.sleep(float(sys.argv[1]))
            with interrupts.at_once():
                pass
        sys.exit(interrupts.exit_code())
    except KeyboardInterrupt:
        sys.exit(8)
"""
LOADS = """
import sys, time
from regbench import interrupts
from regbench.plugins.guard import guarded
try:
    with interrupts.caught(), guarded():
        print("ready", file=sys.__stdout__, flush=True)
        time.sleep(20)
except KeyboardInterrupt:
    sys.exit(interrupts.exit_code())
"""
IN_A_DESTRUCTOR = """
import sys, time
from regbench import interrupts
class Slow:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(20)
try:
    with interrupts.caught():
        Slow()
        time.sleep(20)
        sys.exit(9)
except KeyboardInterrupt:
    sys.exit(interrupts.exit_code())
"""
IN_THE_BACKGROUND = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
from regbench import interrupts
from regbench.errors import PluginError
from regbench.plugins.guard import guarded
def work():
    try:
        with guarded():
            os.kill(os.getpid(), signal.SIGINT)
            raise KeyboardInterrupt
    except PluginError as error:
        print(error, flush=True)
print("ready", flush=True)
with interrupts.caught():
    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""


IDS = ["at once", "put off", "in a plugin", "in a destructor"]


def start(script: str, *arguments: str, slurm: bool = False) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | ({"SLURM_JOB_ID": "1"} if slurm else {}),
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("script", [WAITS, PUTS_OFF, LOADS, IN_A_DESTRUCTOR], ids=IDS)
@pytest.mark.parametrize(
    ("number", "slurm", "code"),
    [
        (signal.SIGINT, False, 130),
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, False, 143),
        (signal.SIGUSR1, False, 75),
        (signal.SIGUSR2, False, 75),
        (signal.SIGTERM, True, 75),
    ],
)
def test_exit_codes(script, number, slurm, code):
    process = start(script, "0", slurm=slurm)
    process.send_signal(number)
    assert (process.wait(15), process.stderr.read()) == (code, "")


def test_a_second_signal_ends_at_once_and_a_repeated_one_is_the_same_wish():
    process = start(PUTS_OFF, "15")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)  # as a launcher does that passes the terminal's on
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 130


def test_an_ignored_signal_stays_ignored():
    process = start("import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WAITS)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 143


def test_a_plugin_that_raises_in_the_background_is_an_error_where_ctrl_c_is_ignored():
    """In the main thread and in another one."""
    process = start(IN_THE_BACKGROUND)
    said = process.stdout.read().splitlines()  # communicate() would lose what was read ahead with the first line
    assert (process.wait(15), said) == (0, ["KeyboardInterrupt: "] * 2)
