"""Processes of a job on this machine: what they inherit, how they end, what an end is called."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

#: What a kernel wants of drawing and logging; a job does not inherit it.
_KERNEL_VARIABLES = (
    "SCALEBOOK_QUERY_LOG",
    "MPLBACKEND",
    "IPYTHONDIR",
    "JUPYTER_RUNTIME_DIR",
    "JPY_PARENT_PID",
    "JPY_SESSION_NAME",
)
#: How long ranks may take to end on their own before they are killed.
GRACE_S = 8.0


def environment_of_job() -> dict[str, str]:
    """Environment that a job inherits: this one without what a notebook's kernel put there."""
    return {name: value for name, value in os.environ.items() if name not in _KERNEL_VARIABLES}


def killed_by(number: int) -> str:
    """``killed by signal 9 (SIGKILL)``; a signal without a name has its number alone."""
    try:
        return f"killed by signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"killed by signal {number}"


def end_processes(processes: list[psutil.Process], grace_s: float = GRACE_S) -> None:
    """Ask processes to end, and kill those that have not after `grace_s` seconds."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
