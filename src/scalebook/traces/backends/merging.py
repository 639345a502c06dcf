"""The ranks of one job as one Chrome trace on one clock, as Perfetto shows it."""

import contextlib
import gzip
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from scalebook.contract import ScalebookError
from scalebook.traces import ranks, reading
from scalebook.traces.backends.splitting import Events
from scalebook.traces.backends.untrusted import clean, moments
from scalebook.traces.trace import Trace

#: Numbers of processes that one rank may take.
_EACH = 1 << 20


def merge(paths: list[Path], out: Path) -> dict[str, Any]:
    """Write the events of several ranks into one file, packed where its name ends in ``.gz``.

    Clocks are set by the ends of collectives, as `get_clocks` has it. A process is called after
    its rank; what is no event is left out.

    Returns
    -------
    dict
        ``file``, ``ranks``, ``events`` and ``clocks_us`` (by rank, taken off its times).

    Raises
    ------
    ScalebookError
        If a file cannot be read or the file cannot be written, or they are not ranks of one job.
    """
    if out.resolve() in [path.resolve() for path in paths]:
        raise ScalebookError(f"{out.name}: is one of the traces to merge; name another file")
    traces = [reading.read(path) for path in paths]
    job = ranks.as_job([(path.name, trace) for path, trace in zip(paths, traces)])
    files = {id(trace): path for path, trace in zip(paths, traces)}
    clocks = ranks.get_clocks(job)
    first = min(trace.origin_ns - round(1e3 * clocks[rank]) for rank, trace in job.items())
    count = 0
    try:
        with _written(out) as write:
            write(b'{"traceEvents": [')
            for rank, trace in job.items():
                zero = first + round(1e3 * clocks[rank])
                for event in _events(files[id(trace)], rank, trace, zero):
                    write((b",\n" if count else b"\n") + _packed(event))
                    count += 1
            write(b"\n]}\n")
    except OSError as error:
        raise ScalebookError(f"{out.name}: cannot be written ({error.strerror})") from None
    return {"file": out.name, "ranks": list(job), "events": count, "clocks_us": clocks}


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Write to a file that is there whole or not at all."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with open(temporary, "xb") as raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
                    yield packed.write
            else:
                yield raw.write
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _packed(event: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(event)
    except (TypeError, orjson.JSONEncodeError):
        # Numbers of more than 64 bits, and halves of letters.
        return json.dumps(event).encode()


def _events(path: Path, rank: int, trace: Trace, zero: int) -> Iterator[dict[str, Any]]:
    """Events of one rank, in µs from `zero` (ns on its clock); each process has its own number."""
    processes: dict[str, int] = {}
    unit = trace.unit_us
    # Whole numbers as long as they are large: as floats they would lose what is below a µs.
    origin = int(float((trace.origin_ns - trace.base_ns) / (1e3 * unit)))
    shift = (trace.base_ns + round(1e3 * unit) * origin - zero) / 1e3
    for events in Events(reading.pieces_of(path, path.name), path.name):
        usable = [event for event in events if type(event) is dict]
        times = moments([event.get("ts", origin) for event in usable], origin) * unit + shift
        for event, time in zip(usable, times.tolist()):
            process, known = str(event.get("pid")), len(processes)
            number = rank * _EACH + processes.setdefault(process, known % _EACH)
            if len(processes) > known:
                yield _name(number, f"rank {rank}: {process}")
            if event.get("name") == "process_name" and event.get("ph") == "M":
                args = event.get("args")
                told = args.get("name") if type(args) is dict else None
                yield _name(number, f"rank {rank}: {told or process}")
                continue
            changed = event | {"pid": number}
            if "ts" in event:
                if time != time:
                    continue
                changed["ts"] = round(time, 3)
                if unit != 1.0 and type(event.get("dur")) in (int, float):
                    changed["dur"] = event["dur"] * unit
            if "id" in event:
                changed["id"] = f"{rank}.{event['id']}"[:80]
            yield changed


def _name(number: int, text: str) -> dict[str, Any]:
    return {
        "ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": clean(text)}
    }  # fmt: skip
