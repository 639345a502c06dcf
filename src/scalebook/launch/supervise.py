"""Run one local job to its end: ``python -m scalebook.launch.supervise FOLDER [--resume]``.

The supervisor leads a session of its own, so it survives the notebook or
terminal that submitted the job. It adopts ranks whose parent dies, and leaves
none behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from scalebook.launch.diagnose import failure_line
from scalebook.launch.job import JobState
from scalebook.launch.local import LocalJob
from scalebook.launch.processes import end_processes, killed_by

_PR_SET_CHILD_SUBREAPER = 36


def command(folder: Path, world_size: int, resume: bool) -> list[str]:
    """Command line of the training processes; one rank needs no torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0"]
    several = [*torchrun, f"--nproc-per-node={world_size}"] if world_size > 1 else []
    train = ["-m", "scalebook.train", "--experiment", str(folder / "resolved.json")]
    return [sys.executable, *several, *train, *(["--resume"] if resume else [])]


def main(arguments: list[str]) -> int:
    """Supervise the job whose notes lie in a folder."""
    folder, resume = Path(arguments[0]), "--resume" in arguments[1:]
    job = LocalJob(folder.name, Path(os.environ["SCALEBOOK_ROOT"]))
    _adopt_orphans()
    cancelled = False

    def on_signal(signum: int, frame: object) -> None:
        nonlocal cancelled
        cancelled = True
        _end_children()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        # With a shared rendezvous store, torchrun often fails on the way down.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    log = folder / "output.log"
    before = log.stat().st_size if log.is_file() else 0
    world_size = job.resolved["layout"]["world_size"]
    child = subprocess.Popen(command(folder, world_size, resume), env=environment)
    if cancelled:
        # The signal came before there was anything to end.
        _end_children()
    code = child.wait()
    end_processes(psutil.Process().children(recursive=True), grace_s=2.0)
    if cancelled:
        job.finish(JobState.CANCELLED, "cancelled", code)
    elif code == 0:
        job.finish(JobState.COMPLETED, "", code)
    elif code < 0:
        job.finish(JobState.FAILED, killed_by(-code), code, ended="killed")
    else:
        with open(log, encoding="utf-8", errors="replace") as file:
            file.seek(before)
            why = failure_line(file.read()) or "it printed nothing"
            job.finish(JobState.FAILED, why, code)
    return 0


def _end_children() -> None:
    end_processes(psutil.Process().children(recursive=True))


def _adopt_orphans() -> None:
    """Become the parent of ranks whose own parent dies (Linux); elsewhere do without."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
