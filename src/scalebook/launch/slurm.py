"""Whether Slurm can be asked to run a job."""

from __future__ import annotations

import shutil
import subprocess


def slurm_answers() -> bool:
    """Whether a Slurm controller answers on this machine."""
    if shutil.which("scontrol") is None:
        return False
    try:
        answer = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "UP" in answer.stdout
