"""A profiler trace as tables: what every analysis starts from, and how it is kept on disk.

Names stay raw and have to be escaped wherever they are shown. A trace that was read once is kept
under the study's ``.scalebook/traces/``, by the digest of its file, its format and the version of
that. Only numbers and JSON are written and read, never pickles; an entry that cannot be read is
made anew.
"""

import contextlib
import dataclasses
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError

#: What an event may be.
KINDS = ("annotation", "copy", "kernel", "module", "operator", "runtime", "set")
#: What a device does.
DEVICE_KINDS = ("kernel", "copy", "set")
#: Longest name kept.
WIDEST_NAME = 2000

#: What the names of events that call a module begin with.
MODULE = "nn.Module: "


#: Dimensions, types and values of an operator's arguments, as the profiler writes them.
Shape = tuple[list[Any], list[Any], list[Any]]


@dataclass(frozen=True, eq=False)
class Trace:
    """The complete events of one trace.

    Attributes
    ----------
    events : DataFrame
        Columns kind (categorical of `KINDS`), name (categorical; untrusted text), lane
        (position in `lanes`), start, dur (µs, from the first event on), device, stream,
        correlation, external, sequence (-1: not given), shape,
        message, hierarchy (position in `shapes`, `messages`, `hierarchies`; -1: none).
        Ordered as in the file.
    memory : DataFrame
        Allocations and releases: columns lane, start (µs, as above), bytes (negative: released),
        allocated (in all after it), device (-1: the host), address.
    lanes : tuple of (str, str)
        Process and thread, or device and stream; untrusted text.
    shapes : tuple of Shape
        Of the arguments of operators.
    messages : tuple of dict
        Collectives: collective, elements_in, elements_out, dtype, group_size.
    hierarchies : tuple of str
        Modules that called an operator, where the trace names them; untrusted text.
    devices : tuple of dict
        The GPUs: id, name (untrusted text).
    rank, world_size : int or None
        As the trace says.
    origin_ns : int
        Time of the first event on the writer's clock.
    resolution_us : float
        Finest difference its times can show.
    dropped : dict of str to int
        What was left out, and how many.
    not_read : dict of str to int
        Events by categories that are not read; untrusted text.
    unknown : int
        Of these, those whose categories nothing is known of: they may be of a device.
    base_ns : int
        From when on the file counts its times, on the writer's clock.
    unit_us : float
        What one is of the file's times.
    """

    events: pd.DataFrame
    memory: pd.DataFrame
    lanes: tuple[tuple[str, str], ...]
    shapes: tuple[Shape, ...]
    messages: tuple[dict[str, Any], ...]
    hierarchies: tuple[str, ...]
    devices: tuple[dict[str, Any], ...]
    rank: int | None
    world_size: int | None
    origin_ns: int
    resolution_us: float
    dropped: dict[str, int]
    not_read: dict[str, int] = dataclasses.field(default_factory=dict)
    unknown: int = 0
    base_ns: int = 0
    unit_us: float = 1.0

    def of(self, *kinds: str) -> pd.DataFrame:
        """Events of these kinds."""
        return self.events[self.events["kind"].isin(kinds)]


# --------------------------------------------------------------------------- kept on disk

#: Most bytes kept; the entries used longest ago go first.
LIMIT = 2 << 30

_TABLES = ("events", "memory")
_TEXT = tuple(field.name for field in dataclasses.fields(Trace) if field.name not in _TABLES)
#: A trace that is damaged in one of these ways is read from its file again.
_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


def store_folder() -> Path | None:
    """Where traces are kept; None outside a study."""
    try:
        return contract.find_root() / ".scalebook" / "traces"
    except ScalebookError:
        return None


def load(place: Path) -> Trace | None:
    """The trace that is kept there; None where there is none that can be used."""
    try:
        with np.load(place, allow_pickle=False) as stored:
            text = orjson.loads(stored["text"].tobytes())
            tables: dict[str, dict[str, Any]] = {name: {} for name in _TABLES}
            for name in stored.files:
                table, _, column = name.partition(".")
                if column:
                    tables[table][column] = stored[name]
        names = pd.Index(text.pop("names"), dtype=object)
        events, memory = tables["events"], tables["memory"]
        events["kind"] = pd.Categorical.from_codes(events["kind"], categories=list(KINDS))
        events["name"] = pd.Categorical.from_codes(events["name"], categories=names)
        for key in ("messages", "hierarchies", "devices"):
            text[key] = tuple(text[key])
        for key in ("lanes", "shapes"):
            text[key] = tuple(map(tuple, text[key]))
        trace = Trace(
            events=pd.DataFrame(events, copy=False),
            memory=pd.DataFrame(memory, copy=False),
            **text,
        )
    except _DAMAGED:
        return None
    with contextlib.suppress(OSError):
        os.utime(place)
    return trace


def save(place: Path, trace: Trace) -> None:
    """Keep a trace; where that is not possible, go without."""
    text = {key: getattr(trace, key) for key in _TEXT}
    text["names"] = trace.events["name"].cat.categories.tolist()
    arrays: dict[str, Any] = {}
    for table in _TABLES:
        for name, column in getattr(trace, table).items():
            coded = table == "events" and name in ("kind", "name")
            arrays[f"{table}.{name}"] = (column.cat.codes if coded else column).to_numpy()
    arrays["text"] = np.frombuffer(orjson.dumps(text), dtype=np.uint8)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    with contextlib.suppress(OSError):
        contract.write_whole(place, content.getvalue())
        _prune(place.parent)


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
