"""Which clusters are up, and removing what the others left.

A run directory holds a file ``pid``: the main process's number, locked as long as one of the
cluster's own processes lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from minislurm import cgroups, network
from minislurm.machine import ClusterError
from minislurm.settings import RUN, Settings


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold off other clusters that come and go; a lock on /run itself leaves no file."""
    handle = os.open(RUN, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make(run_dir: Path) -> int:
    """Make a run directory; its cluster is up while a process holds the returned descriptor."""
    run_dir.mkdir()
    handle = os.open(run_dir / "pid", os.O_CREAT | os.O_WRONLY, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def is_up(run_dir: Path) -> bool:
    """Whether a process of the cluster lives: one that comes up or goes counts."""
    try:
        with open(run_dir / "pid", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def main_process(run_dir: Path) -> int | None:
    """Pid of a cluster's main process; None before it has one, and after."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((run_dir / "pid").read_text())
    return None


def kill(run_dir: Path) -> None:
    """Kill a cluster's main process, if it has one."""
    main = main_process(run_dir)
    if main:
        with contextlib.suppress(ProcessLookupError):
            os.kill(main, signal.SIGKILL)


def remove(run_dir: Path) -> None:
    """Remove the cgroups, names and run directory of a cluster that is not up."""
    with contextlib.suppress(ClusterError):
        settings = Settings.load(run_dir)
        end = time.monotonic() + 10
        while not cgroups.remove(settings) and time.monotonic() < end:
            time.sleep(0.05)
    network.forget_names(run_dir)
    shutil.rmtree(run_dir, ignore_errors=True)


def sweep() -> None:
    """Remove what clusters of any name left whose processes were all killed."""
    for file in RUN.glob("scalebook-*/pid"):
        if not is_up(file.parent):
            remove(file.parent)
