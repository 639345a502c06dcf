"""What a small cluster is made of, its names and addresses."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from minislurm.machine import ClusterError, UsageError

#: Parent of every run directory. Sockets lie there, and their paths must stay short.
RUN = Path("/run")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
_RATE = re.compile(r"([1-9][0-9]{0,5})(kbit|mbit|gbit)")
_UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


@dataclass(frozen=True)
class Settings:
    """One small cluster.

    Attributes
    ----------
    name : str
        Tells clusters on one machine apart; lower-case letters, digits, hyphens.
    nodes, cpus, memory_mb, gpus : int
        Number of nodes, and what each of them has. The GPUs are scheduled, not there.
    link : str or None
        Rate of every node's cable, such as ``1gbit``; None leaves it open.
    accounting : bool
        Whether slurmdbd and MariaDB keep the jobs' records (``sacct``).
    birth : str
        When it came up and two random digits; part of Slurm's ClusterName.
    subnet : int
        The k of its network 10.77.k.0/24.
    """

    name: str = "default"
    nodes: int = 2
    cpus: int = 2
    memory_mb: int = 4000
    gpus: int = 2
    link: str | None = None
    accounting: bool = True
    birth: str = ""
    subnet: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"cluster name {self.name!r}: up to 24 lower-case letters, digits and hyphens"
            )
        for what, value, low, high in (
            ("nodes", self.nodes, 1, 64),
            ("cpus", self.cpus, 1, 256),
            ("mem", self.memory_mb, 100, 10_000_000),
            ("gpus", self.gpus, 0, 16),
        ):
            if not low <= value <= high:
                raise UsageError(f"{what}={value}: takes a number from {low} to {high}")
        if self.link is not None:
            bits_per_second(self.link)

    @property
    def run_dir(self) -> Path:
        """Folder of its configuration, sockets, logs and state."""
        return RUN / f"scalebook-{self.name}"

    @property
    def cluster_name(self) -> str:
        """Slurm's ClusterName: ``mini-<link>-<birth>``."""
        return f"mini-{self.link or 'open'}-{self.birth}"

    @property
    def slurm_conf(self) -> Path:
        """The file that SLURM_CONF names."""
        return self.run_dir / "etc" / "slurm.conf"

    @property
    def interface(self) -> str:
        """The host's end of the cable to the cluster."""
        return f"scalebook{self.subnet}"

    def address(self, host: int) -> str:
        """Address in the cluster's network: 1 is head, 10 + n is node n, 254 the login node."""
        return f"10.77.{self.subnet}.{host}"

    @property
    def node_addresses(self) -> dict[str, str]:
        """Addresses of node1, node2 and so on."""
        return {f"node{n}": self.address(10 + n) for n in range(1, self.nodes + 1)}

    def born(self, subnet: int) -> Settings:
        """The same cluster, given a birth and a network."""
        now = dt.datetime.now(dt.timezone.utc)
        birth = f"{now:%y%m%d-%H%M%S}-{secrets.token_hex(1)}"
        return dataclasses.replace(self, birth=birth, subnet=subnet)

    def save(self) -> None:
        """Write it into its run directory."""
        text = json.dumps(dataclasses.asdict(self), indent=2)
        (self.run_dir / "cluster.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, run_dir: Path) -> Settings:
        """Read it back.

        Raises
        ------
        ClusterError
            If the folder holds no description of a cluster.
        """
        path = run_dir / "cluster.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(f"{path}: describes no cluster of this version ({error})") from None


def bits_per_second(rate: str) -> int:
    """Number behind a rate as ``tc`` writes it, such as ``200mbit``."""
    match = _RATE.fullmatch(rate)
    if not match:
        raise UsageError(f"link={rate}: write it as 200mbit or 1gbit")
    return int(match[1]) * _UNITS[match[2]]
