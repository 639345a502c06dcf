"""Traces kept as columns, so that a file that was read once is not parsed again.

A trace is kept under the study's ``.scalebook/traces/``, by the digest of its file and
the version of the reader. Only numbers and JSON are written and read, never pickles;
an entry that cannot be read is made anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.traces.trace import KINDS, Trace

#: Raised whenever what is read of a file changes.
VERSION = 1
#: Most bytes kept; the entries used longest ago go first.
LIMIT = 2 << 30

_TEXT = ("lanes", "shapes", "messages", "hierarchies", "devices", "rank", "world_size",
         "origin_ns", "resolution_us", "dropped")  # fmt: skip
#: A trace that is damaged in one of these ways is read from its file again.
_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


def folder() -> Path | None:
    """Where traces are kept; None outside a study."""
    try:
        return contract.find_root() / ".scalebook" / "traces"
    except ScalebookError:
        return None


def load(digest: str) -> Trace | None:
    """The trace kept for a file; None where there is none that can be used."""
    place = _place(digest)
    if place is None or not place.is_file():
        return None
    try:
        with np.load(place, allow_pickle=False) as stored:
            text = orjson.loads(stored["text"].tobytes())
            events = {
                name.removeprefix("events."): stored[name]
                for name in stored.files
                if name.startswith("events.")
            }
            memory = {
                name.removeprefix("memory."): stored[name]
                for name in stored.files
                if name.startswith("memory.")
            }
        names = pd.Index(text.pop("names"), dtype=object)
        events["kind"] = pd.Categorical.from_codes(events["kind"], categories=list(KINDS))
        events["name"] = pd.Categorical.from_codes(events["name"], categories=names)
        lists = {key: tuple(text.pop(key)) for key in ("messages", "hierarchies", "devices")}
        pairs = {key: tuple(map(tuple, text.pop(key))) for key in ("lanes", "shapes")}
        trace = Trace(
            events=pd.DataFrame(events, copy=False),
            memory=pd.DataFrame(memory, copy=False),
            **lists,
            **pairs,
            **text,
        )
    except _DAMAGED:
        return None
    with contextlib.suppress(OSError):
        os.utime(place)
    return trace


def save(digest: str, trace: Trace) -> None:
    """Keep a trace; where that is not possible, go without."""
    place = _place(digest)
    if place is None:
        return
    text = {key: getattr(trace, key) for key in _TEXT}
    text["names"] = trace.events["name"].cat.categories.tolist()
    arrays = {
        f"events.{name}": column.cat.codes.to_numpy() if name in ("kind", "name")
        else column.to_numpy()
        for name, column in trace.events.items()
    }  # fmt: skip
    arrays |= {f"memory.{name}": column.to_numpy() for name, column in trace.memory.items()}
    arrays["text"] = np.frombuffer(orjson.dumps(text), dtype=np.uint8)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    with contextlib.suppress(OSError):
        contract.write_whole(place, content.getvalue())
        _prune(place.parent)


def _place(digest: str) -> Path | None:
    where = folder()
    return None if where is None else where / f"{digest}-{VERSION}.npz"


def _prune(where: Path) -> None:
    entries = sorted(
        ((path.stat().st_mtime, path.stat().st_size, path) for path in where.glob("*.npz")),
        reverse=True,
    )
    total = 0
    for _, size, path in entries:
        total += size
        if total > LIMIT:
            path.unlink()
