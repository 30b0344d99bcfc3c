"""A SLURM of one node on the loopback, for the time of a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=sched_min_interval=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm_on_loopback(folder: Path) -> Iterator[None]:
    """Start slurmctld and slurmd with a configuration of their own; skips where they are not or will not start."""
    for program in ("slurmctld", "slurmd", "sbatch", "srun"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: slurm-wlm)")
    if os.geteuid() != 0:
        pytest.skip("slurmd wants to be root")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    config.write_text(CONFIG.format(folder=folder, host=host, user="root", controller=_port(), node=_port()))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(config)
    daemons = [
        subprocess.Popen([name, "-D", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("slurmctld", "slurmd")
    ]
    try:
        until = time.monotonic() + 40
        while "idle" not in _said(["sinfo", "-h", "-o", "%T"]):
            if time.monotonic() > until or any(daemon.poll() is not None for daemon in daemons):
                logs = " ".join(path.read_text()[-300:] for path in sorted(folder.glob("*.log")))
                pytest.skip(f"SLURM did not start here: {' '.join(logs.split())}")
            time.sleep(0.3)
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=20)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
