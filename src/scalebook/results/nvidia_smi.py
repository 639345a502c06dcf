"""What nvidia-smi prints about GPUs, line by line, told by its header.

- ``nvidia-smi dmon``: two header lines that begin with ``#`` and come again every so often, columns
  parted by spaces (or commas), ``-`` for what is not known, with ``-o DT`` date and time;
- ``nvidia-smi --query-gpu=… --format=csv``: header ``utilization.gpu [%]``, values ``95 %``, or
  ``95`` with ``nounits``, ``[N/A]`` for what is not known. With ``noheader`` a column is told by
  the unit of its values, and not at all with ``nounits`` as well.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from typing import Any

from scalebook import contract

#: Takes a line apart.
Reader = Callable[[str], dict[str, Any]]

#: Names of what is measured.
METRICS = contract.UTILISATION_COLUMNS[3:]

_DMON = {
    "pwr": "power_w", "gtemp": "temperature_c", "temp": "temperature_c",
    "sm": "utilisation_percent", "mem": "memory_utilisation_percent",
    "mclk": "memory_clock_mhz", "pclk": "clock_mhz", "fb": "memory_used_mib",
    "rxpci": "pcie_rx_mb_s", "txpci": "pcie_tx_mb_s", "gpu": "device", "date": "date",
    "time": "time",
}  # fmt: skip
_QUERY = {
    "timestamp": "time", "index": "device", "uuid": "identity", "gpu_uuid": "identity",
    "pci.bus_id": "identity", "gpu_bus_id": "identity",
    "utilization.gpu": "utilisation_percent", "utilization.memory": "memory_utilisation_percent",
    "memory.used": "memory_used_mib", "memory.total": "memory_total_mib",
    "temperature.gpu": "temperature_c", "power.draw": "power_w", "power.draw.instant": "power_w",
    "power.draw.average": "power_w", "clocks.current.sm": "clock_mhz", "clocks.sm": "clock_mhz",
    "clocks.current.memory": "memory_clock_mhz", "clocks.mem": "memory_clock_mhz",
}  # fmt: skip
# Without a header: what the first, second, … column with values of a unit is taken for.
_BY_UNIT = {
    "%": ("utilisation_percent", "memory_utilisation_percent"),
    "MiB": ("memory_used_mib", "memory_total_mib"),
    "W": ("power_w",),
    "MHz": ("clock_mhz",),
}
_QUERY_NAMES = {column: name for name, column in reversed(_QUERY.items())}

_FIELD = re.compile(r"[a-z_][a-z0-9_.]*(?: \[[^\]]+\])?")
_STAMP = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d(?:\.\d{1,6})?)")
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)")
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(%|MiB|GiB|W|MHz|C)?")
_UNKNOWN = re.compile(r"|-|\[.*\]|n/?a|err!|unknown error|not supported", re.IGNORECASE)
NODE = re.compile(r"\d{1,6}")
_IDENTITY = re.compile(r"GPU-[0-9a-f-]{36}|[0-9A-Fa-f]{8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d")
EPOCH = dt.datetime(1970, 1, 1)
# Beyond these a number is a misprint, not a measurement.
_HIGHEST = {"utilisation_percent": 100.0, "memory_utilisation_percent": 100.0}
_HIGHEST_OF_ALL = 1e12


class BadLine(Exception):
    """A line that cannot be read."""


# --------------------------------------------------------------------------- headers


def header(line: str) -> Reader | None:
    """How to read what follows, where a line is a header."""
    if line.startswith("#"):
        names = re.split(r"[,\s]+", line.lstrip("# ").lower())
        columns = [_DMON.get(name, "") for name in names]
        # pmon has a line for each process, not for each device.
        if "device" in columns and "pid" not in names and set(columns) & set(METRICS):
            return _reader(columns, r"[,\s]+")
        return None
    cells = [cell.strip() for cell in line.split(",")]
    if not all(_FIELD.fullmatch(cell) for cell in cells):
        return None
    columns = [_QUERY.get(cell.partition(" [")[0], "") for cell in cells]
    return _reader(columns, r"\s*,\s*") if set(columns) & set(METRICS) else None


def without_header(lines: list[str]) -> tuple[Reader | None, str]:
    """How to read CSV of nvidia-smi without its header, by the units of the values."""
    table = [[cell.strip() for cell in line.split(",")] for line in lines]
    widths = [len(row) for row in table]
    width = max(set(widths), key=widths.count)
    cells = list(zip(*(row for row in table if len(row) == width)))
    left = {unit: list(names) for unit, names in _BY_UNIT.items()}
    columns = [_guessed(column, left) for column in cells]
    if "memory_total_mib" in columns:
        one, other = columns.index("memory_used_mib"), columns.index("memory_total_mib")
        if _largest(cells[one]) > _largest(cells[other]):  # a device has more than it uses
            columns[one], columns[other] = columns[other], columns[one]
    said = [
        f"column {place} as {_QUERY_NAMES[name]}"
        for place, name in enumerate(columns, 1)
        if name in METRICS
    ]
    if not said:
        return None, ""
    return _reader(columns, r"\s*,\s*"), (
        f"has no header; by the units of the values read {', '.join(said)}; write the header as "
        "its first line if that is wrong"
    )


def _guessed(cells: tuple[str, ...], left: dict[str, list[str]]) -> str:
    """What a column without a name holds; empty where that cannot be told."""
    if any(_STAMP.fullmatch(cell) for cell in cells):
        return "time"
    if all(_IDENTITY.fullmatch(cell) for cell in cells):
        return "identity"
    numbers = [match for match in map(_NUMBER.fullmatch, cells) if match]
    units = {match[2] for match in numbers} - {None}
    if len(units) == 1:
        names = left.get(units.pop())
        return names.pop(0) if names else ""
    # Several GPUs in turn: nothing else counts from 0.
    distinct = {match[1] for match in numbers}
    if len(distinct) > 1 and distinct == {str(index) for index in range(len(distinct))}:
        return "device"
    return ""


def _largest(cells: tuple[str, ...]) -> float:
    return max(float(match[1]) for cell in cells if (match := _NUMBER.fullmatch(cell)))


# --------------------------------------------------------------------------- lines


def _reader(columns: list[str], parted: str) -> Reader:
    """Make a reader of lines with these columns; an empty name is not read."""
    separator = re.compile(parted)

    def read(line: str) -> dict[str, Any]:
        cells = separator.split(line)
        if len(cells) != len(columns):
            raise BadLine
        values: dict[str, Any] = {}
        written = {name: cell for name, cell in zip(columns, cells) if name}
        for name, cell in written.items():
            if name in METRICS:
                values[name] = measured(name, cell)
            elif name == "device":
                values[name] = f"gpu{_index(cell)}"
            elif name == "identity":
                values[name] = cell
        values.update(_time(written.get("date"), written.get("time")))
        return values

    return read


def _time(date: str | None, time: str | None) -> dict[str, float]:
    """Time of a line: ``seconds`` since 1970, or ``of_day`` where no date is written."""
    if time is None:
        return {}
    stamp = _STAMP.fullmatch(time)
    if stamp:
        *day, hour, minute, second = stamp.groups()
    else:
        clock = _TIME.fullmatch(time)
        if clock is None:
            raise BadLine
        day, (hour, minute, second) = [], clock.groups()
        if date is not None:
            match = _DATE.fullmatch(date)
            if match is None:
                raise BadLine
            day = list(match.groups())
    of_day = 3600.0 * int(hour) + 60.0 * int(minute) + float(second)
    if not day:
        return {"of_day": of_day}
    midnight = dt.datetime(*map(int, day)) - EPOCH
    return {"seconds": midnight.total_seconds() + of_day}


def _index(cell: str) -> int:
    if not NODE.fullmatch(cell):
        raise BadLine
    return int(cell)


def measured(name: str, cell: str) -> float:
    """A value of a metric; NaN where the device does not tell it."""
    value = _number(cell)
    if value is None:
        return math.nan
    if not 0 <= value <= _HIGHEST.get(name, _HIGHEST_OF_ALL):
        raise BadLine
    return value


def _number(cell: str) -> float | None:
    """Number in a cell, without its unit; None where it says that there is none."""
    if _UNKNOWN.fullmatch(cell):
        return None
    match = _NUMBER.fullmatch(cell)
    if match is None:
        raise BadLine
    return float(match[1]) * (1024.0 if match[2] == "GiB" else 1.0)
