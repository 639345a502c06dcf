"""Keeps the nodes off each other's cores: moves a task before it starts.

Slurm binds a task to the first free cores of its node. All nodes are this machine, so without
this, one task on each of two nodes would share core 0 while another core lies idle. Slurm runs
the script as TaskProlog: a child of the task to be, as the job's user.
"""

from __future__ import annotations

from collections.abc import Sequence

# Any user may run it, so it needs no more than a shell. A task that it cannot move stays.
_SCRIPT = """\
#!/bin/sh
case $SLURMD_NODENAME in
%s
esac
cores=$(awk -v slurms="%s" -v own="$own" '
  BEGIN { n = split(slurms, core, " "); split(own, place, " ")
          for (i = 1; i <= n; i++) moved[core[i]] = place[i] }
  $1 == "Cpus_allowed_list:" {
    n = split($2, ranges, ",")
    for (i = 1; i <= n; i++) {
      last = split(ranges[i], ends, "-")
      for (c = ends[1] + 0; c <= ends[last] + 0; c++) printf "%%s,", (c in moved ? moved[c] : c)
    }
  }' "/proc/$PPID/status")
taskset --cpu-list --pid "${cores%%,}" "$PPID" >/dev/null 2>&1
exit 0
"""


def own_cores(cores: Sequence[int], node: int, nodes: int) -> list[int]:
    """The machine's cores in the order in which a node uses them.

    Parameters
    ----------
    cores : sequence of int
        All cores of the machine that the cluster may use.
    node, nodes : int
        Number of the node, from 1, and how many there are: node n starts (n − 1)/nodes through
        the cores, and goes on at the first one when they end.
    """
    first = (node - 1) * len(cores) // nodes
    return [*cores[first:], *cores[:first]]


def task_prolog(cores: Sequence[int], nodes: int) -> str:
    """The script that Slurm runs before a task."""
    own = [_words(own_cores(cores, node, nodes)) for node in range(1, nodes + 1)]
    cases = [f'  node{node}) own="{its}" ;;' for node, its in enumerate(own, start=1)]
    return _SCRIPT % ("\n".join(cases), _words(cores))


def _words(cores: Sequence[int]) -> str:
    return " ".join(map(str, cores))
