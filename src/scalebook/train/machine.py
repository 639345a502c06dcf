"""What a run ran on: node, device, versions, commit. No host, user or folder."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy
import torch

import scalebook
from scalebook.train.distributed import Ranks
from scalebook.train.torchvision_fix import import_torchvision


def describe(ranks: Ranks) -> dict[str, Any]:
    """Return what the manifest says of this rank's node and device; no host name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    node = {
        "index": ranks.node,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
    }
    device = {"rank": ranks.rank, "node": ranks.node, "name": node["cpu"], "memory_gb": None}
    if ranks.device.type == "cuda":
        properties = torch.cuda.get_device_properties(ranks.device)
        device["name"] = properties.name
        device["memory_gb"] = round(properties.total_memory / 1e9, 1)
    return {"node": node, "device": device, "driver": _driver(ranks.device)}


def versions(ranks: Ranks) -> dict[str, str | None]:
    """Versions of everything between the formula and the number."""
    cuda = ranks.device.type == "cuda"
    nccl = None
    if cuda and ranks.backend == "nccl":
        nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(import_torchvision().__version__),
        "numpy": numpy.__version__,
        "cuda": (torch.version.cuda or torch.version.hip) if cuda else None,
        "cudnn": str(torch.backends.cudnn.version()) if cuda else None,
        "nccl": nccl,
        "scalebook": getattr(scalebook, "__version__", None),
    }


def code_version(root: Path) -> dict[str, Any]:
    """Commit and whether tracked files differ from it; passed in where ``.git`` is absent."""
    commit = os.environ.get("SCALEBOOK_COMMIT")
    if commit:
        dirty = os.environ.get("SCALEBOOK_DIRTY")
        return {"commit": commit, "dirty": None if dirty is None else dirty not in ("", "0")}
    commit = _output("git", "-C", str(root), "rev-parse", "--verify", "HEAD")
    if not commit:
        return {"commit": None, "dirty": None}
    status = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _cpu() -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or None


def _driver(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    text = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return text.splitlines()[0].strip() if text else None


def _output(*command: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return None
