"""Process 1 of the small cluster's pid namespace and the host ``head``: starts all daemons.

Started by the janitor through ``unshare``, never by hand::

    python -m minislurm.supervisor RUN_DIR REPORT_FD HOST_NETWORK_FD

It writes one line to REPORT_FD, ``ready`` or ``error: …``, then serves requests on the socket
``sock/control``, a JSON line each, until it is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from minislurm import cgroups, config, database, network
from minislurm.settings import ClusterError, Settings

#: How long each daemon may take, on a machine under load.
_PATIENCE_S = 60.0

#: States of a node that answers (one that does not has a star behind its state).
_USABLE = {"idle", "mixed", "allocated", "completing"}

# A node's host name and view of the kernel (its own interfaces, but the machine's cgroups), then
# slurmd in place of the shell.
_ON_NODE = """
hostname "$1"
mount -t sysfs node /sys
mount --rbind "$2/sys-cgroup" /sys/fs/cgroup
shift 2
exec "$@"
"""


class Supervisor:
    """The daemons of one cluster.

    Parameters
    ----------
    settings : Settings
        The cluster.
    host_network : int
        Descriptor of the host's network namespace.
    """

    def __init__(self, settings: Settings, host_network: int) -> None:
        self.settings = settings
        self.host_network = host_network
        self.run = settings.run_dir
        self.daemons: dict[str, subprocess.Popen] = {}
        os.environ["SLURM_CONF"] = str(settings.slurm_conf)

    # ------------------------------------------------------------------- coming up

    def start(self) -> None:
        """Bring everything up, in the order in which it depends on each other."""
        cgroup_root = cgroups.mount(self.settings)
        cores = sorted(os.sched_getaffinity(0))
        config.write_files(self.settings, cgroup_root, cores)
        if len(cores) >= self.settings.cpus:
            # Slurm sees a machine of as many cores as the node has, whatever lies below.
            own = ",".join(map(str, cores[: self.settings.cpus]))
            os.environ["HWLOC_SYNTHETIC"] = f"pack:1 core:{self.settings.cpus} pu:1(indexes={own})"
        network.run(["mount", "--bind", str(self.run / "etc" / "hosts"), "/etc/hosts"])
        network.run(["mount", "--rbind", "/sys/fs/cgroup", str(self.run / "sys-cgroup")])
        network.build(self.settings, f"/proc/1/fd/{self.host_network}")
        self.start_munge()
        if self.settings.accounting:
            self.start_accounting()
        self.start_controller()
        for node in self.settings.node_names:
            self.start_slurmd(node)
        self.wait("the nodes", lambda: self.states() == {"idle"})

    def start_munge(self) -> None:
        """The daemon that signs what the others say; its key is this cluster's own."""
        run = self.run
        self.daemon(
            "munged", "munged", "--foreground", "--force",
            f"--key-file={run}/etc/munge.key", f"--socket={run}/sock/munge",
            f"--pid-file={run}/munged.pid", f"--log-file={run}/log/munged.log",
            f"--seed-file={run}/state/munge.seed",
        )  # fmt: skip
        self.wait("munged", lambda: (run / "sock" / "munge").exists(), "munged")

    def start_accounting(self) -> None:
        """The database, then the daemon that keeps the jobs' records in it."""
        database.fill(self.run / "mysql")
        self.daemon("mariadbd", *database.server_command(self.run))
        self.wait("mariadbd", lambda: database.prepare(self.run), "mariadbd")
        self.daemon("slurmdbd", "slurmdbd", "-D")
        self.wait("slurmdbd", lambda: succeeds("sacctmgr", "-n", "show", "cluster"), "slurmdbd")

    def start_controller(self) -> None:
        """The scheduler."""
        if self.is_running("slurmctld"):
            raise ClusterError("the controller is already up")
        self.daemon("slurmctld", "slurmctld", "-D")
        self.wait("slurmctld", lambda: succeeds("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """End the scheduler; jobs go on."""
        self.end("slurmctld")

    def start_slurmd(self, node: str) -> None:
        """Start a node."""
        self.daemon(
            f"slurmd-{node}", "nsenter", f"--net={network.namespace(self.settings, node)}",
            "unshare", "--uts", "--mount", "sh", "-ec", _ON_NODE, "sh", node, str(self.run),
            "slurmd", "-D", "-N", node,
        )  # fmt: skip

    # ------------------------------------------------------------------- requests

    def do_set_link(self, rate: str | None) -> None:
        """Another rate for every cable."""
        network.limit(self.settings, rate)

    def do_start_node(self, node: str) -> None:
        """A lost node comes back."""
        if self.is_running(f"slurmd-{node}"):
            raise ClusterError(f"{node} is already up")
        self.start_slurmd(node)
        self.wait(node, lambda: self.states(node) <= _USABLE)

    def do_stop_node(self, node: str) -> None:
        """A node is lost: every process in its network namespace is killed."""
        here = os.stat(network.namespace(self.settings, node)).st_ino
        self.daemons.pop(f"slurmd-{node}", None)
        for _ in range(3):  # a process may fork while we look
            for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
                try:
                    if os.stat(f"/proc/{pid}/ns/net").st_ino == here:
                        os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue

    def do_start_controller(self) -> None:
        """The scheduler comes back, reads its state and hears from every node that is up."""
        self.start_controller()
        up = [node for node in self.settings.node_names if self.is_running(f"slurmd-{node}")]
        self.wait("the nodes", lambda: self.states(",".join(up)) <= _USABLE)

    def do_stop_controller(self) -> None:
        """The scheduler is gone for a while."""
        self.stop_controller()

    def answer(self, line: str) -> str:
        """Serve one request: ``{"do": "stop_node", "node": "node2"}``; None or what failed."""
        try:
            request = json.loads(line)
            action = getattr(self, "do_" + request.pop("do"))
            action(**request)
        except ClusterError as error:
            return json.dumps({"error": str(error)})
        except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
            return json.dumps({"error": f"{type(error).__name__}: {error}"})
        return json.dumps({})

    def serve(self) -> None:
        """Answer requests and take in orphans, until killed."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.run / "sock" / "control"))
        listener.listen()
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        waiting = selectors.DefaultSelector()
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.settimeout(10)
                    with contextlib.suppress(OSError), connection:
                        stream = connection.makefile("rw")
                        stream.write(self.answer(stream.readline()) + "\n")
                        stream.close()
                else:
                    os.read(woken, 4096)
                    self.reap()

    # ------------------------------------------------------------------- processes

    def daemon(self, name: str, *command: str) -> subprocess.Popen:
        """Start a daemon in the foreground, its words in ``log/<name>.out``."""
        with open(self.run / "log" / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/"
            )
        return self.daemons[name]

    def is_running(self, name: str) -> bool:
        """Whether a daemon is there."""
        return name in self.daemons and self.daemons[name].poll() is None

    def end(self, name: str) -> None:
        """End a daemon; it may save its state."""
        daemon = self.daemons.pop(name, None)
        if daemon is None or daemon.poll() is not None:
            raise ClusterError(f"{name} is not up")
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def wait(self, what: str, ready: Callable[[], bool], daemon: str | None = None) -> None:
        """Wait until something is ready; a daemon that ended meanwhile will never be."""
        end = time.monotonic() + _PATIENCE_S
        while not ready():
            if daemon and not self.is_running(daemon):
                raise ClusterError(f"{what} ended at once: {self.last_words(daemon)}")
            if time.monotonic() > end:
                words = f": {self.last_words(daemon)}" if daemon else ""
                raise ClusterError(f"{what} did not come up in {_PATIENCE_S:.0f} s{words}")
            time.sleep(0.02)

    def last_words(self, daemon: str) -> str:
        """Last line a daemon wrote."""
        for suffix in ("log", "out"):
            path = self.run / "log" / f"{daemon}.{suffix}"
            if path.is_file() and (lines := path.read_text(errors="replace").split("\n")[-2:-1]):
                return lines[0]
        return "it said nothing"

    def states(self, node: str | None = None) -> set[str]:
        """States of the nodes, or of one; empty while the controller does not answer."""
        where = ["-n", node] if node else []
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-p", "main", "-o", "%T", *where],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return set(done.stdout.split()) if done.returncode == 0 and done.stdout else {"unknown"}

    @staticmethod
    def reap() -> None:
        """Take in children that ended, most of them orphans of jobs."""
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return


def succeeds(*command: str) -> bool:
    """Whether a command exits with 0."""
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet).returncode == 0


def main() -> int:
    """Bring the cluster up, say so, keep it."""
    run_dir, report_fd, host_network = sys.argv[1:]
    os.set_inheritable(int(host_network), False)
    with open(int(report_fd), "w", encoding="utf-8") as report:
        os.set_inheritable(report.fileno(), False)
        try:
            supervisor = Supervisor(Settings.load(Path(run_dir)), int(host_network))
            supervisor.start()
        except (ClusterError, OSError) as error:
            report.write(f"error: {error}\n")
            return 1
        os.chdir("/")  # hold no folder of the caller's busy
        report.write("ready\n")
    supervisor.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
