"""Events of profiler traces, and traces made of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path


def kernel(name: str, start: float, dur: float, correlation: int = 1, device: int = 0) -> dict:
    details = {"device": device, "stream": 7, "correlation": correlation}
    return {"ph": "X", "cat": "kernel", "name": name, "pid": device, "tid": 7, "ts": start,
            "dur": dur, "args": details}  # fmt: skip


def launch(start: float, correlation: int = 1, tid: int = 1) -> dict:
    return {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 5, "tid": tid,
            "ts": start, "dur": 1, "args": {"correlation": correlation}}  # fmt: skip


def operator(
    name: str, start: float, dur: float, tid: int = 1, cat: str = "cpu_op", args: dict | None = None
) -> dict:
    return {"ph": "X", "cat": cat, "name": name, "pid": 5, "tid": tid, "ts": start, "dur": dur,
            "args": args or {}}  # fmt: skip


def module(name: str, start: float, dur: float) -> dict:
    return operator(name, start, dur, cat="python_function")


def write(path: Path, document: object) -> Path:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path
