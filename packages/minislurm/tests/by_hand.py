"""The command ``minislurm``, and names for the clusters of these tests."""

from __future__ import annotations

import os
import subprocess
import sys


def own_name(suffix: str) -> str:
    """Name of a cluster that no other test run has."""
    return f"t{suffix}-{os.getpid()}"


def command_line(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m minislurm``."""
    command = [sys.executable, "-m", "minislurm", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
