"""Bring a small cluster up, disturb it, take it down."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from minislurm import leftovers, network
from minislurm.machine import ClusterError, check_machine, daemon_environment
from minislurm.settings import RUN, Settings, bits_per_second


class MiniCluster:
    """A real Slurm on this machine, up from `up` to `down`, or for the length of a ``with``.

    The host is its login node; jobs run as who submits them on ``node1``, ``node2``, …, which
    see the host's files.

    Parameters
    ----------
    name, nodes, cpus, memory_mb, gpus, link, accounting
        See `Settings`.
    owned : bool
        End the cluster when this process ends, however it ends.

    Examples
    --------
    >>> with MiniCluster(name="trial", link="1gbit") as cluster:
    ...     subprocess.run(["srun", "-N2", "hostname"], env=cluster.env)
    """

    def __init__(
        self,
        name: str = "default",
        nodes: int = 2,
        cpus: int = 2,
        memory_mb: int = 4000,
        gpus: int = 2,
        link: str | None = None,
        accounting: bool = True,
        owned: bool = False,
    ) -> None:
        self.settings = Settings(name, nodes, cpus, memory_mb, gpus, link, accounting)
        self.owned = owned

    @property
    def run_dir(self) -> Path:
        """Folder of its configuration, sockets, logs and state."""
        return self.settings.run_dir

    @property
    def env(self) -> dict[str, str]:
        """The environment in which Slurm's commands speak to this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.settings.slurm_conf)}

    def __enter__(self) -> MiniCluster:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    # ------------------------------------------------------------------- up and down

    def up(self) -> None:
        """Bring it up; returns when every node is idle.

        Raises
        ------
        ClusterError
            Where the machine cannot (`check_machine`), a cluster of this name is up, or a
            daemon does not start.
        """
        check_machine(self.settings.accounting)
        # Every user may read what it makes, and nobody else write it.
        before = os.umask(0o022)
        try:
            self._up()
        finally:
            os.umask(before)

    def _up(self) -> None:
        with leftovers.locked():
            if leftovers.is_up(self.run_dir):
                raise ClusterError(
                    f"a small cluster named {self.settings.name} is up: use it "
                    f"(. {self.run_dir}/env), take it down, or take another name"
                )
            leftovers.remove(self.run_dir)
            leftovers.sweep()
            self.settings = self.settings.born(_free_subnet())
            held = leftovers.make(self.run_dir)
            self.settings.save()
            network.name_nodes(self.settings)
        try:
            self._start(held)
        except BaseException:
            os.close(held)
            self.down()
            raise
        os.close(held)

    def _start(self, held: int) -> None:
        """Start the janitor, which starts all else, and wait until it is ready."""
        owner = os.getpid() if self.owned else 0
        janitor = subprocess.Popen(
            [sys.executable, "-m", "minislurm.janitor", str(self.run_dir), str(held), str(owner)],
            pass_fds=[held],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=daemon_environment(),
            start_new_session=True,
        )
        assert janitor.stdout
        last = "it was killed"
        with janitor.stdout as output:
            for line in filter(str.strip, output):
                last = line.strip()
                if last == "ready":
                    return
        if last.startswith("error: "):
            raise ClusterError(last.removeprefix("error: "))
        if "not permitted" in last:
            last += "; root of a container needs it to be started with --privileged"
        raise ClusterError(f"the small cluster did not come up: {last}")

    def down(self) -> bool:
        """Take it down and remove all of it, also what a killed one left; may be repeated.

        Returns
        -------
        bool
            Whether it was up.
        """
        was_up = leftovers.is_up(self.run_dir)
        end = time.monotonic() + 15
        while leftovers.is_up(self.run_dir):
            try:
                leftovers.kill(self.run_dir)
            except PermissionError:
                raise ClusterError(
                    f"{self.settings.name} belongs to root: take it down with sudo"
                ) from None
            if time.monotonic() > end:
                raise ClusterError(f"{self.settings.name}: its processes did not end in 15 s")
            time.sleep(0.02)
        with leftovers.locked():
            leftovers.sweep()
        return was_up

    # ------------------------------------------------------------------- while it is up

    def set_link(self, rate: str | None) -> None:
        """Change the rate of every node's cable; ClusterName keeps the first one."""
        if rate is not None:
            bits_per_second(rate)
        self._inside("set_link", rate or "open")

    def stop_node(self, number: int) -> None:
        """Lose a node: all its processes are killed. Slurm notices within SlurmdTimeout."""
        self._inside("stop_node", f"node{number}")

    def start_node(self, number: int) -> None:
        """Bring a lost node back, as if booted; returns when Slurm uses it again."""
        self._inside("start_node", f"node{number}")

    def stop_controller(self) -> None:
        """Lose slurmctld; jobs go on, commands do not get an answer."""
        self._inside("stop_controller")

    def start_controller(self) -> None:
        """Bring slurmctld back."""
        self._inside("start_controller")

    def _inside(self, *request: str) -> None:
        """Run a request of `supervisor` in the namespaces of ``head``."""
        main = leftovers.main_process(self.run_dir) if leftovers.is_up(self.run_dir) else None
        try:
            head = Path(f"/proc/{main}/task/{main}/children").read_text().split()[0]
        except (OSError, IndexError):
            raise ClusterError(f"no small cluster named {self.settings.name} is up") from None
        done = subprocess.run(
            [
                *["nsenter", f"--target={head}", "--mount", "--uts", "--net", "--pid"],
                *[sys.executable, "-m", "minislurm.supervisor", str(self.run_dir), *request],
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=daemon_environment(),
        )
        if done.returncode:
            complaints = done.stderr.strip().splitlines() or ["it was killed"]
            raise ClusterError(complaints[-1].removeprefix("error: "))


def _free_subnet() -> int:
    """First network 10.77.k.0/24 that neither another cluster nor a route of the host uses."""
    taken = set()
    for run_dir in RUN.glob("scalebook-*"):
        with contextlib.suppress(ClusterError):
            taken.add(Settings.load(run_dir).subnet)
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        octets = bytes.fromhex(line.split()[1])[::-1]
        if octets[:2] == bytes((10, 77)):
            taken.add(octets[2])
    free = set(range(1, 255)) - taken
    if not free:
        raise ClusterError("no network 10.77.*.0/24 is free: take other small clusters down")
    return min(free)
