"""A profiler trace from its file into columns.

Traces come from other machines: nothing in one is trusted. What is not an event,
or has no usable time, is dropped and counted; names stay raw and have to be
escaped wherever they are shown.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from scalebook.contract import ScalebookError
from scalebook.results import files

#: Most bytes of a trace, packed and unpacked.
PACKED_LIMIT = 512 * files.MIB
UNPACKED_LIMIT = 1024 * files.MIB

#: Longest duration and largest time believed, in µs: 11 days, and about the year 33658.
LONGEST_US = 1e12
LATEST_US = 1e18

#: Categories of the writers known, in lower case, and what they are here.
KINDS = {
    "kernel": "kernel", "gpu_memcpy": "copy", "memcpy": "copy", "gpu_memset": "set",
    "memset": "set", "cuda_runtime": "runtime", "cuda_driver": "runtime", "runtime": "runtime",
    "hip_runtime": "runtime", "hip_driver": "runtime", "cpu_op": "operator",
    "operator": "operator", "user_annotation": "annotation", "userannotation": "annotation",
}  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """The complete events of one trace.

    Attributes
    ----------
    events : DataFrame
        Columns kind (categorical, see `KINDS`), name (untrusted text), pid, tid (text),
        start, dur (µs, from the first event on), device (-1: unknown), correlation,
        external (-1: none). Ordered as in the file.
    devices : tuple of str
        Names of the GPUs, untrusted text.
    rank, world_size : int or None
        As the trace says.
    dropped : dict of str to int
        What was left out, and how many.
    """

    events: pd.DataFrame
    devices: tuple[str, ...]
    rank: int | None
    world_size: int | None
    dropped: dict[str, int]

    def of(self, *kinds: str) -> pd.DataFrame:
        """Events of these kinds."""
        return self.events[self.events["kind"].isin(kinds)]


def read(path: Path, where: str | None = None) -> Trace:
    """Read a trace: JSON or gzipped JSON, an object with ``traceEvents`` or a bare list.

    Parameters
    ----------
    path : Path
        The file.
    where : str, optional
        How an error names it; its own name where left out, never the folders above it.

    Raises
    ------
    ScalebookError
        If the file is missing, cut short, too large, or no trace; one line.
    """
    where = where or path.name
    data = files.read_bytes(path, where, PACKED_LIMIT)
    if data.startswith(files.GZIP_MAGIC):
        data = files.gunzip(data, where, UNPACKED_LIMIT)
    document = _parse(data, where)
    header = document if isinstance(document, dict) else {}
    events = header.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise ScalebookError(f"{where}: is not a profiler trace: holds no list of traceEvents")
    distributed = header.get("distributedInfo")
    distributed = distributed if isinstance(distributed, dict) else {}
    frame, dropped = _columns(events)
    return Trace(
        events=frame,
        devices=_device_names(header.get("deviceProperties")),
        rank=_count(distributed.get("rank")),
        world_size=_count(distributed.get("world_size")),
        dropped=dropped,
    )


def _parse(data: bytes, where: str) -> Any:
    if not data.strip():
        raise ScalebookError(f"{where}: is empty; expected a profiler trace")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        first = error
    # Some writers emit NaN, or names that are not UTF-8: both are read the slow way.
    try:
        return json.loads(data.decode("utf-8", errors="replace"))
    except RecursionError:
        raise ScalebookError(f"{where}: nested too deeply for a profiler trace") from None
    except ValueError:
        said = f"{first.msg}, byte {first.pos} of {len(data)}"
        raise ScalebookError(f"{where}: cut short, or no JSON ({said}); copy it again") from None


def _columns(events: list[Any]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Complete events (``"ph": "X"``) of known kinds as columns."""
    dropped: Counter[str] = Counter()
    columns: dict[str, list[Any]] = {
        name: [] for name in ("kind", "name", "pid", "tid", "start", "dur", "device",
                              "correlation", "external")
    }  # fmt: skip
    add = [columns[name].append for name in columns]
    kinds: dict[Any, str | None] = {}
    for event in events:
        if type(event) is not dict:
            dropped["not an event"] += 1
            continue
        if event.get("ph") != "X":
            continue
        category = event.get("cat")
        if type(category) is not str:
            continue
        if category not in kinds:
            kinds[category] = KINDS.get(category.lower())
        kind = kinds[category]
        if kind is None:
            continue
        start, duration, name = event.get("ts"), event.get("dur"), event.get("name")
        if duration is None:
            dropped["no duration"] += 1
            continue
        if not _is_number(start) or not _is_number(duration) or abs(start) > LATEST_US:
            dropped["no usable time"] += 1
            continue
        if duration < 0:
            dropped["negative duration"] += 1
            continue
        if duration > LONGEST_US:
            dropped["duration over 11 days"] += 1
            continue
        if type(name) is not str:
            dropped["no name"] += 1
            continue
        details = event.get("args")
        if type(details) is not dict:
            details = {}
        values = (
            kind, name, str(event.get("pid")), str(event.get("tid")), start, duration,
            _identifier(details.get("device")),
            _identifier(details.get("correlation")),
            _identifier(details.get("External id", details.get("external id"))),
        )  # fmt: skip
        for append, value in zip(add, values):
            append(value)
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(columns["kind"], categories=sorted(set(KINDS.values()))),
            "name": pd.Series(columns["name"], dtype=object),
            "pid": pd.Series(columns["pid"], dtype=object),
            "tid": pd.Series(columns["tid"], dtype=object),
            "start": np.array(columns["start"], dtype=np.float64),
            "dur": np.array(columns["dur"], dtype=np.float64),
            "device": np.array(columns["device"], dtype=np.int64),
            "correlation": np.array(columns["correlation"], dtype=np.int64),
            "external": np.array(columns["external"], dtype=np.int64),
        }
    )
    if len(frame):
        frame["start"] -= frame["start"].min()
    return frame, dict(sorted(dropped.items()))


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))


def _identifier(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 62 else -1


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 31 else None


def _device_names(properties: Any) -> tuple[str, ...]:
    if not isinstance(properties, list):
        return ()
    names = (entry.get("name") for entry in properties if isinstance(entry, dict))
    return tuple(name[:120] for name in names if isinstance(name, str))
