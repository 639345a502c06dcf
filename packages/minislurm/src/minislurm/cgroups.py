"""Each small cluster's own cgroups (version 1), and their removal."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from minislurm.machine import run
from minislurm.settings import Settings

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "freezer", "cpuacct")


def available() -> bool:
    """Whether the machine has cgroups of version 1, and they may be used."""
    folders = [_ROOT / name for name in _CONTROLLERS]
    return all((folder / "tasks").exists() and os.access(folder, os.W_OK) for folder in folders)


def mount(settings: Settings) -> Path | None:
    """Make the cluster's cgroups and mount them below the run directory.

    Slurm names a node's cgroup after the node, and every small cluster has a node1. So each
    gets a folder of its own in every controller, which its processes see as the whole. The
    mounts are the supervisor's own and go with it.

    Returns
    -------
    Path or None
        Where they are mounted; None where the machine has no cgroups of version 1.
    """
    if not available():
        return None
    top = settings.run_dir / "cgroup"
    top.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "cgroups", str(top)])
    for name in _CONTROLLERS:
        own = _ROOT / name / _folder(settings)
        own.mkdir()
        (top / name).mkdir()
        run(["mount", "--bind", str(own), str(top / name)])
    return top


def remove(settings: Settings) -> bool:
    """Remove the cluster's empty cgroups; returns whether all are gone."""
    all_gone = True
    for own in _ROOT.glob(f"*/{_folder(settings)}"):
        for folder, _, _ in os.walk(own, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        all_gone = all_gone and not own.exists()
    return all_gone


def _folder(settings: Settings) -> str:
    return f"scalebook-{settings.cluster_name}"
