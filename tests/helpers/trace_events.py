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


# --------------------------------------------------------------------------- counted by hand


def events_of(path: Path, *names: str) -> list[dict]:
    """Whole events of a trace as they are written; those alone whose names begin so."""
    events = json.loads(path.read_text())["traceEvents"]
    return [one for one in events if one.get("ph") == "X" and one["name"].startswith(names or "")]


def own_times(path: Path, *besides: str) -> dict[str, float]:
    """Each operator's own time in µs by name: what it is the last to have begun in.

    Every moment of every thread is looked at, and all that runs in it. `besides` are beginnings of
    names of what counts though it is no operator.
    """
    threads: dict[tuple, list[tuple[int, int, str]]] = {}
    for one in events_of(path):
        if one["cat"] == "cpu_op" or (besides and one["name"].startswith(besides)):
            begin, length = round(1e3 * one["ts"]), round(1e3 * one["dur"])
            span = (begin, -(begin + length), one["name"])
            threads.setdefault((one["pid"], one["tid"]), []).append(span)
    times: dict[str, float] = {}
    for spans in threads.values():
        moments = sorted({moment for begin, end, _ in spans for moment in (begin, -end)})
        for begin, end in zip(moments, moments[1:]):
            running = [span for span in spans if span[0] <= begin and -span[1] >= end]
            if running:
                name = max(running)[2]
                times[name] = times.get(name, 0.0) + (end - begin) / 1e3
    return times
