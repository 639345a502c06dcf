"""Outlives the cluster's main process and removes what the kernel does not.

Started by `cluster.MiniCluster.up`, never by hand::

    python -m minislurm.janitor RUN_DIR REPORT_FD OWNER

OWNER is a process with which the cluster shall end, or 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import subprocess
import sys
from pathlib import Path

from minislurm import leftovers
from minislurm.settings import Settings

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Start the cluster, wait for its end or its owner's, clean up."""
    run_dir, report, owner = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    birth = Settings.load(run_dir).birth
    # The supervisor becomes our child when `unshare` is killed: so we see it through.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    host_network = os.open("/proc/self/ns/net", os.O_RDONLY)
    main_process = subprocess.Popen(
        [
            "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--uts",
            "--net", "sh", "-ec", 'hostname head; exec "$@"', "sh",
            sys.executable, "-m", "minislurm.supervisor", str(run_dir),
            str(report), str(host_network),
        ],
        pass_fds=(report, host_network),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.chdir("/")
    os.close(report)
    os.close(host_network)
    leftovers.note(run_dir, main=main_process.pid, janitor=os.getpid())
    ends = [os.pidfd_open(main_process.pid)]
    if owner:
        with contextlib.suppress(ProcessLookupError):
            ends.append(os.pidfd_open(owner))
    select.select(ends, [], [])
    main_process.kill()
    while True:  # the supervisor ends after every process of its namespace
        try:
            os.wait()
        except ChildProcessError:
            break
    leftovers.remove(run_dir, birth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
