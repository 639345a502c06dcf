"""Keeps the nodes off each other's cores: moves a task before it starts.

Slurm binds a task to the first free cores of its node. All nodes are this machine, so without
this, one task on each of two nodes would share core 0 while another core lies idle. Slurm runs
it as TaskProlog, a child of the task to be; it needs no package, only this file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence


def moved(bound: Collection[int], cores: Sequence[int], node: int, nodes: int) -> set[int]:
    """Cores for a task that Slurm bound to `bound`.

    Parameters
    ----------
    bound : collection of int
        What Slurm chose, as if the node had the machine for itself.
    cores : sequence of int
        All cores of the machine that the cluster may use.
    node, nodes : int
        Number of the node, from 1, and how many there are: node n starts (n − 1)/nodes through
        the cores, and goes on at the first one when they end.
    """
    shift = (node - 1) * len(cores) // nodes
    place = {core: cores[(index + shift) % len(cores)] for index, core in enumerate(cores)}
    return {place.get(core, core) for core in bound}


def task_prolog(cores: Sequence[int], nodes: int) -> str:
    """The script that Slurm runs before a task."""
    command = [sys.executable, "-I", "-S", __file__, ",".join(map(str, cores)), str(nodes)]
    return f"#!/bin/sh\nexec {shlex.join(command)}\n"


def main() -> None:
    """Move the task; one that cannot be moved starts where it is."""
    cores, nodes = sys.argv[1:]
    number = re.search(r"\d+$", os.environ.get("SLURMD_NODENAME", ""))
    task = os.getppid()
    bound = os.sched_getaffinity(task)
    if number:
        own = [int(core) for core in cores.split(",")]
        with contextlib.suppress(OSError):
            os.sched_setaffinity(task, moved(bound, own, int(number[0]), int(nodes)))


if __name__ == "__main__":
    main()
