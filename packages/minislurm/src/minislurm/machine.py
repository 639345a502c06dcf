"""What a small cluster needs of the machine, and how a failure reads."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence

# Programs by Debian package.
_PROGRAMS = {
    "slurm-wlm": ["slurmctld", "slurmd", "sinfo", "scontrol"],
    "munge": ["munged"],
    "iproute2": ["ip", "tc"],
    "util-linux": ["unshare", "nsenter", "mount", "taskset"],
}
_ACCOUNTING_PROGRAMS = {
    "slurmdbd": ["slurmdbd"],
    "slurm-wlm": ["sacctmgr"],
    "mariadb-server": ["mariadbd", "mariadb-install-db", "mariadb"],
}


class ClusterError(Exception):
    """A failure in one line: what, where, what to do. The command exits with 1."""

    exit_status = 1


class UsageError(ClusterError):
    """A setting that cannot be. The command exits with 2."""

    exit_status = 2


def check_machine(accounting: bool = True) -> None:
    """Refuse, in one line, where a small cluster cannot be.

    Raises
    ------
    ClusterError
        Off Linux, without root, or where a program is missing.
    """
    if platform.system() != "Linux":
        raise ClusterError(
            f"the small cluster needs Linux, not {platform.system()}: "
            "use a virtual machine or a container with Debian"
        )
    path = daemon_environment()["PATH"]
    missing: dict[str, str] = {}
    for packages in (_PROGRAMS, _ACCOUNTING_PROGRAMS) if accounting else (_PROGRAMS,):
        for package, programs in packages.items():
            for program in programs:
                if shutil.which(program, path=path) is None:
                    missing.setdefault(package, program)
    if missing:
        raise ClusterError(
            f"the small cluster needs {', '.join(missing.values())}: "
            f"sudo apt-get install -y --no-install-recommends {' '.join(missing)}"
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "the small cluster makes network namespaces and needs root: run it with sudo"
        )


def daemon_environment() -> dict[str, str]:
    """The environment without another Slurm's settings, and with the folders of daemons."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    path = environment.get("PATH", os.defpath)
    return {**environment, "PATH": os.pathsep.join([path, "/usr/sbin", "/sbin"])}


def run(command: Sequence[str], text: str = "", may_fail: bool = False) -> None:
    """Run a command, `text` as its input, and raise its last complaint if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode and not may_fail:
        complaints = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ClusterError(f"{' '.join(command)}: {complaints[-1]}")
