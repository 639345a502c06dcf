"""Process 1 of the small cluster's pid namespace and the host ``head``: starts all daemons.

Started by the janitor through ``unshare``, never by hand::

    python -m minislurm.supervisor RUN_DIR

It prints one line, ``ready`` or ``error: …``, and then takes in orphans until it is killed.
`cluster.MiniCluster` runs it a second time, in the same namespaces, for each request::

    python -m minislurm.supervisor RUN_DIR stop_node node2
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from minislurm import cgroups, config, database, network
from minislurm.machine import ClusterError, run
from minislurm.settings import Settings

#: How long each daemon may take, on a machine under load.
_PATIENCE_S = 60.0

#: States of a node that answers (one that does not has a star behind its state).
_USABLE = {"idle", "mixed", "allocated", "completing"}

# A node's host name and view of the kernel (its own interfaces, but the machine's cgroups), then
# slurmd in place of the shell.
_NODE = """
hostname "$1"
mount -t sysfs node /sys
mount --rbind "$2/sys-cgroup" /sys/fs/cgroup
exec slurmd -D -N "$1"
"""


class Supervisor:
    """Starts and ends the daemons of one cluster.

    Parameters
    ----------
    settings : Settings
        The cluster.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_dir = settings.run_dir
        self.cores = sorted(os.sched_getaffinity(1))
        os.environ["SLURM_CONF"] = str(settings.slurm_conf)
        if len(self.cores) >= settings.cpus:
            # Slurm sees a machine of as many cores as the node has, whatever lies below.
            own = ",".join(map(str, self.cores[: settings.cpus]))
            os.environ["HWLOC_SYNTHETIC"] = f"pack:1 core:{settings.cpus} pu:1(indexes={own})"

    # ------------------------------------------------------------------- coming up

    def start(self) -> None:
        """Bring everything up, in the order in which it depends on each other."""
        config.write_files(self.settings, cgroups.mount(self.settings), self.cores)
        run(["mount", "--bind", str(self.run_dir / "etc" / "hosts"), "/etc/hosts"])
        run(["mount", "--rbind", "/sys/fs/cgroup", str(self.run_dir / "sys-cgroup")])
        network.build(self.settings)
        self.start_munge()
        if self.settings.accounting:
            self.start_accounting()
        self.start_slurmctld()
        for node in self.settings.node_addresses:
            self.start_slurmd(node)
        wait("the nodes", lambda: node_states() == {"idle"})

    def start_munge(self) -> None:
        """The daemon that signs messages between the others; its key is this cluster's own."""
        top = self.run_dir
        options = [
            f"--key-file={top}/etc/munge.key",
            f"--socket={top}/sock/munge",
            f"--pid-file={top}/munged.pid",
            f"--log-file={top}/log/munged.log",
            f"--seed-file={top}/state/munge.seed",
        ]
        ready = (top / "sock" / "munge").exists
        self.start_daemon("munged", ["munged", "--foreground", "--force", *options], ready)

    def start_accounting(self) -> None:
        """The database, then the daemon that keeps the jobs' records in it."""
        database.install(self.run_dir)
        self.start_daemon(
            "mariadbd",
            database.server_command(self.run_dir),
            lambda: database.answers(self.run_dir),
        )
        self.start_daemon(
            "slurmdbd",
            [*database.client_environment(self.run_dir), "slurmdbd", "-D"],
            lambda: succeeds("sacctmgr", "-n", "show", "cluster"),
        )

    def start_slurmctld(self) -> None:
        """The scheduler."""
        self.start_daemon("slurmctld", ["slurmctld", "-D"], lambda: succeeds("scontrol", "ping"))

    def start_slurmd(self, node: str) -> None:
        """Start a node, without waiting for it."""
        inside = ["nsenter", f"--net={network.namespace(self.settings, node)}"]
        unshare = ["unshare", "--uts", "--mount", "sh", "-ec", _NODE, "sh"]
        self.start_daemon(f"slurmd-{node}", [*inside, *unshare, node, str(self.run_dir)])

    def start_daemon(
        self, name: str, command: list[str], ready: Callable[[], bool] = lambda: True
    ) -> None:
        """Start a daemon in the foreground, its output in ``log/<name>.out``, and wait for it."""
        with open(self.run_dir / "log" / f"{name}.out", "ab") as output:
            daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )

        def ready_or_ended() -> bool:
            if daemon.poll() is not None:
                raise ClusterError(f"{name} ended at once: {self.last_line(name)}")
            return ready()

        wait(name, ready_or_ended, lambda: f": {self.last_line(name)}")

    def last_line(self, daemon: str) -> str:
        """Last line a daemon wrote."""
        for suffix in ("log", "out"):
            path = self.run_dir / "log" / f"{daemon}.{suffix}"
            if path.is_file() and (lines := path.read_text(errors="replace").split("\n")[-2:-1]):
                return lines[0]
        return "it wrote nothing"

    # ------------------------------------------------------------------- requests

    def set_link(self, rate: str) -> None:
        """Give every cable another rate, or none: ``open``."""
        network.limit(self.settings, None if rate == "open" else rate)

    def stop_node(self, node: str) -> None:
        """Lose a node: every process in its network namespace is killed."""
        for _ in range(3):  # a process may fork while we look
            for pid in self.node_processes(node):
                kill(pid, signal.SIGKILL)

    def start_node(self, node: str) -> None:
        """Bring a lost node back."""
        if self.node_processes(node):
            raise ClusterError(f"{node} is already up")
        # A machine would tell that it has booted since, and Slurm end what ran there.
        update = ["scontrol", "update", f"nodename={node}", "state=down", "reason=booted again"]
        run(update, may_fail=True)  # the controller may be away
        self.start_slurmd(node)
        wait(node, lambda: node_states(node) <= _USABLE)

    def stop_controller(self) -> None:
        """End the scheduler, which saves its state; jobs go on."""
        pids = slurmctld_processes()
        if not pids:
            raise ClusterError("slurmctld is not up")
        for pid in pids:
            kill(pid, signal.SIGTERM)
        wait("slurmctld to end", lambda: not slurmctld_processes())

    def start_controller(self) -> None:
        """Bring the scheduler back; it reads its state and hears from every node that is up."""
        if slurmctld_processes():
            raise ClusterError("the controller is already up")
        self.start_slurmctld()
        up = [node for node in self.settings.node_addresses if self.node_processes(node)]
        wait("the nodes", lambda: node_states(",".join(up)) <= _USABLE)

    def node_processes(self, node: str) -> list[int]:
        """Every process of a node."""
        here = os.stat(network.namespace(self.settings, node)).st_ino
        return processes(lambda folder: (folder / "ns" / "net").stat().st_ino == here)


# --------------------------------------------------------------------------- processes


def slurmctld_processes() -> list[int]:
    """The scheduler's process, if it is up."""
    return processes(lambda folder: (folder / "comm").read_text() == "slurmctld\n")


def processes(wanted: Callable[[Path], bool]) -> list[int]:
    """Processes of the cluster whose folder in /proc passes a test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if wanted(folder):
                found.append(int(folder.name))
    return found


def kill(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait(what: str, ready: Callable[[], bool], why: Callable[[], str] = str) -> None:
    """Wait until something is ready; `why` adds to the error when that takes too long."""
    end = time.monotonic() + _PATIENCE_S
    while not ready():
        if time.monotonic() > end:
            raise ClusterError(f"waited {_PATIENCE_S:.0f} s for {what}{why()}")
        time.sleep(0.02)


def succeeds(*command: str) -> bool:
    """Whether a command exits with 0."""
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet).returncode == 0


def node_states(nodes: str = "") -> set[str]:
    """States of the nodes, or of some; ``unknown`` while the controller does not answer."""
    command = ["sinfo", "-h", "-N", "-p", "main", "-o", "%T", *(["-n", nodes] if nodes else [])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return set(done.stdout.split()) if done.returncode == 0 and done.stdout else {"unknown"}


def main() -> int:
    """Bring the cluster up and keep it, or serve one request: a method and its arguments."""
    run_dir, *request = sys.argv[1:]
    try:
        supervisor = Supervisor(Settings.load(Path(run_dir)))
        if request:
            getattr(supervisor, request[0])(*request[1:])
            return 0
        supervisor.start()
    except (ClusterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("ready", flush=True)
    os.chdir("/")  # hold no folder of the caller's busy
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes in ended children, orphans too
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
