"""A real Slurm, small, on one machine: for learning and for tests.

`MiniCluster` brings it up and takes it away; ``python -m minislurm`` does the same by
hand. Its processes, from the outside in:

- the janitor (`janitor`) outlives everything below it and removes what the kernel does not;
- ``unshare`` is the main process: when it dies, however it dies, all below it die with it;
- the supervisor (`supervisor`) is process 1 of a pid namespace and the host ``head``. It starts
  munge, MariaDB, slurmdbd, slurmctld and, in a network namespace each, the nodes' slurmd.

Network and mounts live in namespaces that only these processes hold, so the kernel takes them
down with the last process. Nothing here imports more than the standard library.
"""

from minislurm.cluster import MiniCluster
from minislurm.settings import ClusterError, Settings, UsageError

__all__ = ["ClusterError", "MiniCluster", "Settings", "UsageError"]
