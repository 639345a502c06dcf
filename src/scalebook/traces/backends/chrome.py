"""Chrome traces as torch.profiler writes them: JSON with a list of events, made into columns.

Traces come from other machines: nothing in one is trusted. What is not an event,
or has no usable time, is dropped and counted; names stay raw and have to be
escaped wherever they are shown. Users, hosts and paths of a trace are not read.
"""

import gc
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import pandas as pd

from scalebook.study.document import beside
from scalebook.traces.backends import TraceFormat
from scalebook.traces.backends.splitting import Events
from scalebook.traces.backends.untrusted import (
    base_time,
    clean,
    count,
    devices,
    identifiers,
    moments,
    numbers,
    origin_of,
)
from scalebook.traces.trace import DEVICE_KINDS, KINDS, MODULE, Shape, Trace

#: Longest duration and largest time believed, in µs: 11 days, which is also how far events may lie
#: from most others, and about the year 33658.
LONGEST_US = 1e12
LATEST_US = 1e18
#: Times beyond this are nanoseconds: as microseconds they would lie after the year 5000.
NANOSECONDS_FROM = 1e17

_WORDS = beside(__file__)
CATEGORIES = {
    category: kind for kind, all_ in _WORDS["categories"].items() for category in all_.split()
}
_UNNEEDED = frozenset(_WORDS["unneeded"].split())
#: Most categories told by name, and letters of each.
_MOST_CATEGORIES, _WIDEST_CATEGORY = 50, 60
_INTEGERS: dict[str, list[str]] = _WORDS["integers"]
_SMALL = {"device": np.int32, "stream": np.int32}
_MESSAGE: dict[str, str] = _WORDS["message"]
#: Parts of the names of operators whose arguments' values decide their work.
_VALUED = ("conv", "pool", "scaled_dot_product")
#: What XLA notes of an operation of its own.
_XLA = frozenset(("hlo_op", "hlo_module"))
_NOTHING: dict[str, Any] = {}


class ChromeTrace(TraceFormat):
    """JSON of torch.profiler: an object with ``traceEvents``, or a bare list of events."""

    name = "chrome"
    version = 3

    def recognises(self, head: bytes) -> bool:
        """Yes: asked last, it names the fault of what is in no format."""
        return True

    def read(self, pieces: Iterable[bytes], where: str) -> Trace:
        """Read it piece by piece; see `TraceFormat.read`."""
        reader, builder = Events(pieces, where), Builder()
        was_on = gc.isenabled()
        # Collecting garbage takes a quarter of the time, and JSON has no cycles.
        gc.disable()
        try:
            for events in reader:
                builder.add(events)
            return builder.trace(reader.header)
        finally:
            if was_on:
                gc.enable()


class _Kinds(dict[str, int]):
    """Code of a category; -1 for those that are not read."""

    def __missing__(self, category: str) -> int:
        kind = CATEGORIES.get(category.lower())
        self[category] = code = -1 if kind is None else KINDS.index(kind)
        return code


class Builder:
    """Takes lists of events, one after the other, and makes a `Trace` of them."""

    def __init__(self) -> None:
        self._kinds = _Kinds()
        self._names: dict[str, int] = {}
        self._lanes: dict[Any, int] = {}
        self._shapes: dict[bytes, int] = {}
        self._messages: dict[bytes, int] = {}
        self._hierarchies: dict[str, int] = {}
        self._dropped: Counter[str] = Counter()
        self._not_read: Counter[str] = Counter()
        # Events without a category, and whether XLA wrote one of them.
        self._bare, self._xla = 0, False
        self._parts: dict[str, list[np.ndarray]] = {}
        self._memory: dict[str, list[np.ndarray]] = {}
        # Times are kept as differences from the first one: a time of day as a float has few digits
        # left for fractions of a µs.
        self._origin: int | None = None
        self._rounded = False

    def add(self, events: list[Any]) -> None:
        """Add what can be used of `events`."""
        objects = [event for event in events if type(event) is dict]
        self._dropped["not an event"] += len(events) - len(objects)
        kinds = self._kinds
        codes = [
            kinds[category]
            if event.get("ph") == "X" and type(category := event.get("cat")) is str
            else -1
            for event in objects
        ]
        self._pass_over([event for event, code in zip(objects, codes) if code < 0])
        self._add_memory([event for event in objects if event.get("name") == "[memory]"])
        module = KINDS.index("module")
        if module in codes:
            called = [
                -1 if code == module and not _calls_module(event) else code
                for code, event in zip(codes, objects)
            ]
            self._not_read["python_function"] += called.count(-1) - codes.count(-1)
            codes = called
        whole = [event for event, code in zip(objects, codes) if code >= 0]
        details = [args if type(args := event.get("args")) is dict else _NOTHING for event in whole]
        columns = {
            "kind": np.array([code for code in codes if code >= 0], dtype=np.int8),
            "name": self._named([event.get("name") for event in whole]),
            "lane": self._laned(whole),
            "start": self._timed(whole),
            "dur": numbers([event.get("dur") for event in whole], missing=-np.inf),
            "shape": self._interned(whole, details, "Input Dims", self._shape),
            "message": self._interned(whole, details, "Collective name", self._message),
            "hierarchy": self._interned(whole, details, "Module Hierarchy", self._hierarchy),
        }
        for column, keys in _INTEGERS.items():
            columns[column] = identifiers(details, *keys).astype(_SMALL.get(column, np.int64))
        for column, values in columns.items():
            self._parts.setdefault(column, []).append(values)

    def _pass_over(self, events: list[dict[str, Any]]) -> None:
        """Count events that are not read, by category; what has no time is no event."""
        phases = [event.get("ph") for event in events]
        pairs = phases.count("B") + phases.count("E")
        self._dropped["begin or end alone (ph B, E): only whole events (ph X) are read"] += pairs
        if "X" not in phases:
            return
        whole = [event for event, phase in zip(events, phases) if phase == "X"]
        named = [category for event in whole if type(category := event.get("cat")) is str]
        self._not_read.update(named)
        bare = [event for event in whole if type(event.get("cat")) is not str]
        self._bare += len(bare)
        self._xla |= any(
            type(args := event.get("args")) is dict and not _XLA.isdisjoint(args) for event in bare
        )

    def _categories_not_read(self) -> tuple[dict[str, int], int]:
        """Events not read by category, most first; and how many are of unknown categories."""
        unknown = sum(
            count for name, count in self._not_read.items() if name.lower() not in _UNNEEDED
        )
        most = self._not_read.most_common(_MOST_CATEGORIES)
        named: Counter[str] = Counter()
        for name, events in most:
            named[clean(name[:_WIDEST_CATEGORY])] += events
        rest = self._not_read.total() - named.total()
        if rest:
            named["other categories"] += rest
        return dict(+named), unknown

    def trace(self, header: dict[str, Any]) -> Trace:
        """All that was added, with what the document says beside its events."""
        self.add([])  # so that every column is there
        columns = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        self._parts.clear()
        start, duration = columns["start"], columns["dur"]
        origin, scale = self._origin or 0, 1.0
        usable = start[np.isfinite(start)]
        if len(usable) and np.median(np.abs(usable + float(origin))) > NANOSECONDS_FROM:
            scale = 1e-3
            start, duration = start * scale, duration * scale
            columns["start"], columns["dur"] = start, duration
        whole = start + origin * scale
        keep = self._believed(columns, whole)
        if not keep.all():
            columns = {name: values[keep] for name, values in columns.items()}
            whole = whole[keep]
        first = float(columns["start"].min()) if len(whole) else 0.0
        last = float(np.abs(whole).max()) if len(whole) and self._rounded else 0.0
        columns["start"] = columns["start"] - first
        names = [clean(name) for name in self._names]
        columns["name"] = _categories(columns["name"], names)
        columns["kind"] = pd.Categorical.from_codes(columns["kind"], categories=list(KINDS))
        whose = ", as XLA (JAX, TensorFlow) writes them" if self._xla else ""
        self._dropped[f"without a category (cat){whose}"] += self._bare
        not_read, unknown = self._categories_not_read()
        distributed = header.get("distributedInfo")
        distributed = distributed if isinstance(distributed, dict) else {}
        return Trace(
            events=pd.DataFrame(columns, copy=False),
            memory=self._memory_frame(scale, first),
            lanes=tuple((clean(str(pid)), clean(str(tid))) for pid, tid in self._lanes),
            shapes=tuple(_shape(key) for key in self._shapes),
            messages=tuple(orjson.loads(key) for key in self._messages),
            hierarchies=tuple(clean(name) for name in self._hierarchies),
            devices=devices(header.get("deviceProperties")),
            rank=count(distributed.get("rank")),
            world_size=count(distributed.get("world_size")),
            origin_ns=base_time(header) + round(1e3 * scale) * origin + round(first * 1e3),
            resolution_us=float(np.spacing(last)) if last else 0.0,
            dropped={reason: count for reason, count in sorted(self._dropped.items()) if count},
            not_read=not_read,
            unknown=unknown,
            base_ns=base_time(header),
            unit_us=scale,
        )

    def _believed(self, columns: dict[str, np.ndarray], whole: np.ndarray) -> np.ndarray:
        """Which events are kept; the others are counted, each for its first fault."""
        start, duration = columns["start"], columns["dur"]
        keep = np.ones(len(start), dtype=bool)
        # A device that did not tell when it worked leaves zeros.
        on_device = np.isin(columns["kind"], [KINDS.index(kind) for kind in DEVICE_KINDS])
        with np.errstate(invalid="ignore"):
            usable = start[np.abs(whole) <= LATEST_US]
            middle = np.median(usable) if len(usable) else 0.0
            faults = (
                ("no duration", duration == -np.inf),
                ("no usable time", ~(np.abs(whole) <= LATEST_US) | np.isnan(duration)),
                ("no usable time", on_device & (whole == 0) & (duration == 0)),
                ("no usable time", np.abs(start - middle) > LONGEST_US),
                ("negative duration", duration < 0),
                ("duration over 11 days", duration > LONGEST_US),
                ("no name", columns["name"] < 0),
            )
        for reason, fault in faults:
            fault &= keep
            self._dropped[reason] += int(np.count_nonzero(fault))
            keep &= ~fault
        return keep

    def _timed(self, events: list[dict[str, Any]]) -> np.ndarray:
        values = [event.get("ts") for event in events]
        if self._origin is None:
            self._origin = origin_of(values)
        self._rounded |= float in set(map(type, values))
        return moments(values, self._origin or 0)

    def _named(self, names: list[Any]) -> np.ndarray:
        intern, known = self._names.setdefault, self._names
        return np.array(
            [intern(name, len(known)) if type(name) is str else -1 for name in names],
            dtype=np.int32,
        )

    def _laned(self, events: list[dict[str, Any]]) -> np.ndarray:
        intern, known = self._lanes.setdefault, self._lanes
        pairs = [(event.get("pid"), event.get("tid")) for event in events]
        try:
            codes = [intern(pair, len(known)) for pair in pairs]
        except TypeError:
            codes = [intern((str(pid), str(tid)), len(known)) for pid, tid in pairs]
        return np.array(codes, dtype=np.int32)

    @staticmethod
    def _interned(
        events: list[dict[str, Any]], details: list[dict[str, Any]], key: str, code: Any
    ) -> np.ndarray:
        """Code of each event whose details have `key`; -1 for the others."""
        return np.array(
            [code(event, args) if key in args else -1 for event, args in zip(events, details)],
            dtype=np.int32,
        )

    def _shape(self, event: dict[str, Any], args: dict[str, Any]) -> int:
        name = event.get("name")
        valued = type(name) is str and any(value in name for value in _VALUED)
        parts = [
            args["Input Dims"],
            args.get("Input type", args.get("Input types")),
            args.get("Concrete Inputs") if valued else None,
        ]
        return _code(self._shapes, parts)

    def _message(self, event: dict[str, Any], args: dict[str, Any]) -> int:
        return _code(self._messages, {key: args.get(name) for key, name in _MESSAGE.items()})

    def _hierarchy(self, event: dict[str, Any], args: dict[str, Any]) -> int:
        path = args["Module Hierarchy"]
        if type(path) is not str or not path:
            return -1
        return self._hierarchies.setdefault(path, len(self._hierarchies))

    def _add_memory(self, events: list[dict[str, Any]]) -> None:
        pairs = [(event, args) for event in events if type(args := event.get("args")) is dict]
        whole, details = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        columns = {
            "lane": self._laned(whole),
            "start": self._timed(whole),
            "bytes": numbers([args.get("Bytes") for args in details]),
            "allocated": numbers([args.get("Total Allocated") for args in details]),
            "device": identifiers(details, "Device Id"),
            "address": identifiers(details, "Addr"),
        }
        # Device type 0 is the host, whatever number it has.
        columns["device"][identifiers(details, "Device Type") == 0] = -1
        for column, values in columns.items():
            self._memory.setdefault(column, []).append(values)

    def _memory_frame(self, scale: float, first: float) -> pd.DataFrame:
        frame = pd.DataFrame({name: np.concatenate(parts) for name, parts in self._memory.items()})
        frame["start"] = frame["start"] * scale - first
        usable = np.isfinite(frame[["start", "bytes"]]).all(axis=1)
        self._dropped["memory without size or time"] += int((~usable).sum())
        return frame[usable].sort_values("start", kind="stable").reset_index(drop=True)


def _calls_module(event: dict[str, Any]) -> bool:
    name = event.get("name")
    return type(name) is str and name.startswith(MODULE)


def _code(known: dict[bytes, int], value: Any) -> int:
    try:
        key = orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return -1
    return known.setdefault(key, len(known)) if len(key) < 1 << 14 else -1


def _shape(key: bytes) -> Shape:
    dims, types, values = (part if isinstance(part, list) else [] for part in orjson.loads(key))
    return dims, types, values


def _categories(codes: np.ndarray, names: list[str]) -> pd.Categorical:
    """Names by code; those that became equal by cleaning are one category."""
    distinct = list(dict.fromkeys(names))
    if len(distinct) < len(names):
        place = {name: code for code, name in enumerate(distinct)}
        codes = np.array([place[name] for name in names], dtype=np.int32)[codes]
    return pd.Categorical.from_codes(codes, categories=pd.Index(distinct, dtype=object))
