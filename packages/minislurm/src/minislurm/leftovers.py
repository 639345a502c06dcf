"""Which clusters are there, and removing what one left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from minislurm import cgroups
from minislurm.settings import RUN, ClusterError, Settings, read_json, write_json


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold off other clusters that come and go; a lock on /run itself leaves no file."""
    handle = os.open(RUN, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def identity(pid: int) -> dict[str, int]:
    """A process, told apart from a later one that got its number."""
    return {"pid": pid, "since": _started(pid) or 0}


def note(run_dir: Path, **pids: int) -> None:
    """Write down which processes a cluster has: ``starter``, then ``main`` and ``janitor``."""
    write_json(run_dir / "processes.json", {name: identity(pid) for name, pid in pids.items()})


def living(run_dir: Path, which: str = "main") -> int | None:
    """Pid of a cluster's main process, janitor or starter; None where it has ended."""
    with contextlib.suppress(ClusterError, KeyError, TypeError):
        process = read_json(run_dir / "processes.json")[which]
        if process["since"] and _started(process["pid"]) == process["since"]:
            return process["pid"]
    return None


def remove(run_dir: Path, birth: str | None = None) -> None:
    """Remove a dead cluster's cgroups and run directory.

    Parameters
    ----------
    run_dir : Path
        The run directory.
    birth : str, optional
        Leave it alone if it belongs to a cluster of another birth by now.
    """
    try:
        settings = Settings.load(run_dir)
    except ClusterError:
        settings = None
    if settings and birth in (None, settings.birth):
        end = time.monotonic() + 10
        while not cgroups.remove(settings) and time.monotonic() < end:
            time.sleep(0.05)
    with locked():
        with contextlib.suppress(ClusterError):
            if birth and Settings.load(run_dir).birth != birth:
                return
        shutil.rmtree(run_dir, ignore_errors=True)


def sweep() -> None:
    """Remove what clusters of any name left whose processes were all killed."""
    for run_dir in RUN.glob("scalebook-*"):
        known = (run_dir / "processes.json").is_file()
        if known and not any(living(run_dir, who) for who in ("main", "janitor", "starter")):
            remove(run_dir)


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
