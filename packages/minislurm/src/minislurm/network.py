"""The small cluster's network: a switch, a cable to each node, one to the login node.

    login (host) ── scalebook<k> ═ login ─┐
                                     switch (head, 10.77.<k>.1)
    node1 ────────────── eth0 ═ node1 ────┤
    node2 ────────────── eth0 ═ node2 ────┘

Switch and nodes are network namespaces of the supervisor: when its processes are gone, so are
they, and with the switch's end of a cable its other end, the host's included.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from minislurm.machine import run
from minislurm.settings import Settings, bits_per_second


def build(settings: Settings) -> None:
    """Make switch, nodes and cables. Runs in the network namespace of head."""
    _ip(
        "link set lo up",
        "link add switch type bridge",
        f"addr add {settings.address(1)}/24 dev switch",
        "link set switch up",
    )
    _cable("login", settings.interface, namespace(settings, "host"), settings.address(254))
    for node, address in settings.node_addresses.items():
        there = namespace(settings, node)
        Path(there).touch()
        run(["unshare", f"--net={there}", "ip", "link", "set", "lo", "up"])
        _cable(node, "eth0", there, address)
    if settings.link:
        limit(settings, settings.link)


def limit(settings: Settings, rate: str | None) -> None:
    """Give every node's cable a rate in both directions, or take it away.

    A token bucket (tbf) holds back what comes faster. Its burst, what may pass at once, is 2 ms
    worth of the rate, but no less than two of the 64 KiB segments in which the kernel hands TCP
    over; a larger one would let small messages pass unlimited. What waits longer than 50 ms is
    dropped, as in a switch with a full buffer; TCP then slows down.
    """
    for node in settings.node_addresses:
        for device, there in ((node, None), ("eth0", namespace(settings, node))):
            target = ["dev", device, "root"]
            if rate is None:
                run([*_inside(there), "tc", "qdisc", "del", *target], may_fail=True)
                continue
            burst = max(2 * 65536, bits_per_second(rate) // 8 // 500)
            bucket = ["tbf", "rate", rate, "burst", str(burst), "latency", "50ms"]
            run([*_inside(there), "tc", "qdisc", "replace", *target, *bucket])


#: Names of the machine itself. Programs may hold it open, and containers mount it: its lines
#: change, never the file.
HOSTS = Path("/etc/hosts")


def name_nodes(settings: Settings) -> None:
    """Name the nodes on the host too: ``node1.<cluster>``, and ``node1`` where nothing is yet."""
    with contextlib.suppress(OSError):  # where /etc/hosts is not to be written, they have no name
        text = HOSTS.read_bytes()
        taken = {name for line in text.splitlines() for name in line.split(b"#")[0].split()[1:]}
        lines = [b"" if text.endswith(b"\n") or not text else b"\n"]
        for node, address in settings.node_addresses.items():
            short = f" {node}" if node.encode() not in taken else ""
            line = f"{address} {node}.{settings.name}{short} {_mark(settings.run_dir)}\n"
            lines.append(line.encode())
        with open(HOSTS, "ab") as file:
            file.write(b"".join(lines))


def forget_names(run_dir: Path) -> None:
    """Take a cluster's nodes out of the host's names."""
    with contextlib.suppress(OSError):
        lines = HOSTS.read_bytes().splitlines(keepends=True)
        others = [line for line in lines if not line.endswith(f"{_mark(run_dir)}\n".encode())]
        if others != lines:
            with open(HOSTS, "r+b") as file:
                file.write(b"".join(others))
                file.truncate()


def _mark(run_dir: Path) -> str:
    return f"# {run_dir}"


def namespace(settings: Settings, host: str) -> str:
    """Path of a host's network namespace; only the supervisor and its children see it mounted."""
    return f"{settings.run_dir}/net/{host}"


def _cable(here: str, there: str, where: str, address: str) -> None:
    """A pair of interfaces: `here` at the switch, `there` in the namespace at `where`."""
    _ip(
        f"link add {here} type veth peer name {there} netns {where}",
        f"link set {here} master switch up",
    )
    _ip(f"addr add {address}/24 dev {there}", f"link set {there} up", where=where)


def _ip(*lines: str, where: str | None = None) -> None:
    run([*_inside(where), "ip", "-batch", "-"], "\n".join(lines))


def _inside(where: str | None) -> list[str]:
    """What runs a command in a network namespace; ``ip netns exec`` would hide /sys/fs/cgroup."""
    return ["nsenter", f"--net={where}"] if where else []
