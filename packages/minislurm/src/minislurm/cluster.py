"""Bring a small cluster up, look at it, take it down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from minislurm import leftovers
from minislurm.settings import (
    RUN,
    ClusterError,
    Settings,
    bits_per_second,
    check_machine,
    search_path,
)


class MiniCluster:
    """A real Slurm on this machine, up from `up` to `down`, or for the length of a ``with``.

    The host is its login node; jobs run as root on ``node1``, ``node2``, …, which see the
    host's files.

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
        """Folder of its sockets, logs and state."""
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
        if leftovers.living(self.run_dir):
            raise ClusterError(
                f"a small cluster named {self.settings.name} is up: use it "
                f"(. {self.run_dir}/env), take it down, or take another name"
            )
        self.down()
        with leftovers.locked():
            self.settings = self.settings.born(_free_subnet())
            try:
                self.run_dir.mkdir()
            except FileExistsError:
                raise ClusterError(f"{self.run_dir}: another one is coming up") from None
            leftovers.note(self.run_dir, starter=os.getpid())
            self.settings.save()
        try:
            self._start()
        except BaseException:
            self.down()
            raise

    def _start(self) -> None:
        report, write_end = os.pipe()
        command = [sys.executable, "-m", "minislurm.janitor", str(self.run_dir)]
        owner = os.getpid() if self.owned else 0
        with open(report, encoding="utf-8") as words:
            (self.run_dir / "log").mkdir()
            with open(self.run_dir / "log" / "supervisor.out", "wb") as log:
                subprocess.Popen(
                    [*command, str(write_end), str(owner)],
                    pass_fds=(write_end,),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_daemon_environment(),
                    start_new_session=True,
                )
            os.close(write_end)
            word = words.readline().strip()
        if word != "ready":
            raise ClusterError(word.removeprefix("error: ") or self._last_words())

    def _last_words(self) -> str:
        """Why the supervisor ended without a word: most often it may not make namespaces."""
        log = self.run_dir / "log" / "supervisor.out"
        lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
        said = next((line for line in reversed(lines) if line.strip()), "it was killed")
        if "not permitted" in said:
            said += "; root of a container needs it to be started with --privileged"
        return f"the small cluster did not come up: {said}"

    def down(self) -> bool:
        """Take it down and remove all of it, also what a killed one left; may be repeated.

        Returns
        -------
        bool
            Whether it was up.
        """
        if leftovers.living(self.run_dir, "starter") not in (None, os.getpid()):
            raise ClusterError(f"{self.settings.name} is coming up: wait a moment")
        process = leftovers.living(self.run_dir)
        if process:
            try:
                os.kill(process, signal.SIGKILL)
            except PermissionError:
                raise ClusterError(
                    f"{self.settings.name} belongs to root: take it down with sudo"
                ) from None
        end = time.monotonic() + 15
        while leftovers.living(self.run_dir, "janitor") and time.monotonic() < end:
            time.sleep(0.02)
        if self.run_dir.is_dir():
            leftovers.remove(self.run_dir)
        leftovers.sweep()
        return process is not None

    # ------------------------------------------------------------------- while it is up

    def set_link(self, rate: str | None) -> None:
        """Change the rate of every node's cable; ClusterName keeps telling the first one."""
        if rate is not None:
            bits_per_second(rate)
        self._ask("set_link", rate=rate)

    def stop_node(self, number: int) -> None:
        """Lose a node: all its processes are killed. Slurm notices within SlurmdTimeout."""
        self._ask("stop_node", node=f"node{number}")

    def start_node(self, number: int) -> None:
        """Bring a lost node back; returns when Slurm uses it again."""
        self._ask("start_node", node=f"node{number}")

    def stop_controller(self) -> None:
        """Lose slurmctld; jobs go on, commands do not get an answer."""
        self._ask("stop_controller")

    def start_controller(self) -> None:
        """Bring slurmctld back."""
        self._ask("start_controller")

    def _ask(self, action: str, **values: object) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.run_dir / "sock" / "control"))
            except OSError:
                raise ClusterError(f"no small cluster named {self.settings.name} is up") from None
            with connection.makefile("rw") as stream:
                stream.write(json.dumps({"do": action, **values}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline() or '{"error": "the supervisor is gone"}')
        if "error" in answer:
            raise ClusterError(answer["error"])


def _daemon_environment() -> dict[str, str]:
    """What the daemons see: no Slurm of the surroundings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    return {**environment, "PATH": search_path()}


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
