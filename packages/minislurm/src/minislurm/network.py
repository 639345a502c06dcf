"""The small cluster's network: a switch, a cable to each node, one to the login node.

    login (host) ── scalebook<k> ═ login ─┐
                                     switch (head, 10.77.<k>.1)
    node1 ────────────── eth0 ═ node1 ────┤
    node2 ────────────── eth0 ═ node2 ────┘

Switch and nodes are network namespaces of the supervisor: when its processes are gone, so are
they, and with the switch's end of a cable its other end, the host's included.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from minislurm.settings import ClusterError, Settings, bits_per_second

SWITCH = "switch"


def build(settings: Settings, host: str) -> None:
    """Make switch, nodes and cables. Runs in the network namespace of head.

    Parameters
    ----------
    settings : Settings
        The cluster.
    host : str
        Path of the host's network namespace.
    """
    ip("link", "set", "lo", "up")
    ip("link", "add", SWITCH, "type", "bridge")
    ip("addr", "add", f"{settings.address(1)}/24", "dev", SWITCH)
    ip("link", "set", SWITCH, "up")
    _cable("login", settings.interface, host)
    inside(host, "ip", "addr", "add", f"{settings.address(254)}/24", "dev", settings.interface)
    inside(host, "ip", "link", "set", settings.interface, "up")
    for number, node in enumerate(settings.node_names, start=1):
        there = namespace(settings, node)
        Path(there).touch()
        run(["unshare", f"--net={there}", "true"])
        _cable(node, "eth0", there)
        inside(there, "ip", "link", "set", "lo", "up")
        inside(there, "ip", "addr", "add", f"{settings.address(10 + number)}/24", "dev", "eth0")
        inside(there, "ip", "link", "set", "eth0", "up")
    limit(settings, settings.link)


def limit(settings: Settings, rate: str | None) -> None:
    """Give every node's cable a rate in both directions, or take it away.

    A token bucket (tbf) holds back what comes faster. Its burst, what may pass at once, is 2 ms
    worth of the rate, but no less than two of the 64 KiB segments in which the kernel hands TCP
    over; a larger one would let small messages pass unlimited. What waits longer than 50 ms is
    dropped, as in a switch with a full buffer; TCP then slows down.
    """
    for node in settings.node_names:
        for where, device in ((None, node), (namespace(settings, node), "eth0")):
            target = ("dev", device, "root")
            if rate is None:
                inside(where, "tc", "qdisc", "del", *target, may_fail=True)
                continue
            burst = max(2 * 65536, bits_per_second(rate) // 8 // 500)
            bucket = ("tbf", "rate", rate, "burst", str(burst), "latency", "50ms")
            inside(where, "tc", "qdisc", "replace", *target, *bucket)


def namespace(settings: Settings, node: str) -> str:
    """Path of a node's network namespace; only the supervisor and its kind see it mounted."""
    return f"{settings.run_dir}/net/{node}"


def ip(*arguments: str) -> None:
    """Run ``ip`` here."""
    run(["ip", *arguments])


def inside(where: str | None, *command: str, may_fail: bool = False) -> None:
    """Run a command in the network namespace at a path, or here.

    Not by ``ip netns exec``, which hides /sys/fs/cgroup.
    """
    run([*(["nsenter", f"--net={where}"] if where else []), *command], may_fail)


def run(command: Sequence[str], may_fail: bool = False) -> None:
    """Run a command and raise what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode and not may_fail:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ClusterError(f"{' '.join(command)}: {said[-1]}")


def _cable(here: str, there: str, where: str) -> None:
    """A pair of interfaces: `here` in the switch, `there` in the namespace at `where`."""
    ip("link", "add", here, "type", "veth", "peer", "name", "cable")
    ip("link", "set", here, "master", SWITCH, "up")
    ip("link", "set", "cable", "netns", where)
    inside(where, "ip", "link", "set", "cable", "name", there)
