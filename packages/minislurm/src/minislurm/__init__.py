"""A real Slurm, small, on one machine: for learning and for tests.

`MiniCluster` brings it up and takes it down; the command ``minislurm`` does the same by hand. Its
processes, from the outside in:

- the janitor (`janitor`) outlives everything below it and removes what the kernel does not;
- ``unshare`` is the main process: when it dies, however it dies, all below it die with it;
- the supervisor (`supervisor`) is process 1 of a pid namespace and the host ``head``. It starts
  munge, MariaDB, slurmdbd, slurmctld and, in a network namespace each, the nodes' slurmd.

Network and mounts live in namespaces that only these processes hold, so the kernel takes them
down with the last process. Only the standard library is needed.
"""

from minislurm.cluster import MiniCluster
from minislurm.machine import ClusterError, UsageError
from minislurm.settings import Settings

__all__ = ["ClusterError", "MiniCluster", "Settings", "UsageError"]
