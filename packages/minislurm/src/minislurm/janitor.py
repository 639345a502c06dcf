"""Outlives the cluster's main process and removes what the kernel does not.

Started by `cluster.MiniCluster.up`, never by hand::

    python -m minislurm.janitor RUN_DIR HELD OWNER

HELD is the descriptor that marks the cluster as up (`leftovers.make`), OWNER a process with which
it shall end, or 0.
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

_PR_SET_CHILD_SUBREAPER = 36

# The host's network namespace stays in reach below the run directory, for the login node's cable.
_HEAD = """
hostname head
mkdir "$1/net"
: > "$1/net/host"
mount --bind /proc/self/ns/net "$1/net/host"
exec unshare --net "$2" -m minislurm.supervisor "$1"
"""


def main() -> int:
    """Start the cluster, wait for its end or its owner's, clean up."""
    run_dir, held, owner = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # The supervisor becomes our child when `unshare` is killed: so we can wait for its end.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    main_process = subprocess.Popen(
        [
            *["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--uts"],
            *["sh", "-ec", _HEAD, "sh", str(run_dir), sys.executable],
        ],
        pass_fds=[held],
        stdin=subprocess.DEVNULL,
    )
    os.write(held, str(main_process.pid).encode())
    os.chdir("/")  # hold no folder of the caller's busy
    ends = [os.pidfd_open(main_process.pid)]
    if owner:
        with contextlib.suppress(ProcessLookupError):
            ends.append(os.pidfd_open(owner))
    select.select(ends, [], [])
    main_process.kill()
    os.ftruncate(held, 0)
    while True:  # the supervisor ends after every process of its namespace
        try:
            os.wait()
        except ChildProcessError:
            break
    with leftovers.locked():
        leftovers.remove(run_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
