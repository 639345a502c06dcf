"""Lines about devices, written by us or printed by nvidia-smi, told apart by their header.

- our own CSV, `contract.UTILISATION`;
- ``nvidia-smi dmon``: two header lines that begin with ``#`` and come again every so often, columns
  parted by spaces (or commas), ``-`` for what is not known, with ``-o DT`` date and time;
- ``nvidia-smi --query-gpu=… --format=csv``: header ``utilization.gpu [%]``, values ``95 %``, or
  ``95`` with ``nounits``, ``[N/A]`` for what is not known.

A file may hold all of them, since the same command may have been started several times. Where a
query asked for no index, lines that come several at a moment are those of several GPUs, and left
out: which line is which GPU's nobody has written down.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from scalebook import contract

#: Names of what is measured, and the highest value that is no misprint.
METRICS = {
    column.name: 100.0 if column.check == "percent" else 1e12
    for column in contract.UTILISATION
    if column.check
}

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

_OURS = "time,node,device,"
_LONGEST = 10_000
_DAY_S = 86400.0
_EPOCH = dt.datetime(1970, 1, 1)

_FIELD = re.compile(r"[a-z_][a-z0-9_.]*(?: \[[^\]]+\])?")
_TIME = re.compile(
    r"(?:(\d{4})[-/]?(\d\d)[-/]?(\d\d)[T ])?(\d\d):(\d\d):(\d\d(?:\.\d{1,6})?)Z?", re.ASCII
)
_WHOLE = re.compile(r"\d{1,6}", re.ASCII)
_DEVICE = re.compile(r"gpu\d{1,4}|host", re.ASCII)
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(%|MiB|GiB|W|MHz|C)?", re.ASCII)
_UNKNOWN = re.compile(r"|-|\[.*\]|n/?a|err!|unknown error|not supported", re.IGNORECASE)


_MIXED = (
    "name no GPU, and those of several cannot be told apart: record them with "
    "--query-gpu=timestamp,index,utilization.gpu,memory.used"
)
_NO_HEADER = (
    "is neither ours nor output of nvidia-smi that names its columns: expected the header "
    "of `nvidia-smi dmon` or of `--query-gpu=… --format=csv` as first line"
)
#: Most seconds between the lines of one moment.
_MOMENT_S = 0.25


class _BadLine(Exception):
    """A line that cannot be read."""


class Lines(NamedTuple):
    """What was read from a text.

    Attributes
    ----------
    rows : list of dict
        ``time_s`` (on the writer's clock), ``node``, ``device`` and the metrics that are known.
    bad : list of int
        Numbers of the lines that were left out, from 1.
    notes : list of str
        What had to be assumed.
    why_empty : str
        Why there are no rows, where there are none.
    """

    rows: list[dict[str, Any]]
    bad: list[int]
    notes: list[str]
    why_empty: str


@dataclass(frozen=True)
class _Header:
    """Columns of the lines that follow, by our names, empty for what is not read."""

    columns: tuple[str, ...]
    separator: re.Pattern[str]

    @property
    def names_device(self) -> bool:
        return "device" in self.columns or "identity" in self.columns

    def cells(self, line: str) -> dict[str, str]:
        cells = self.separator.split(line)
        if len(line) > _LONGEST or len(cells) != len(self.columns):
            raise _BadLine
        return {name: cell for name, cell in zip(self.columns, cells) if name}


def parse(text: str) -> Lines:
    """Read every line of a text that can be read; nothing is raised."""
    rows: list[dict[str, Any]] = []
    bad: list[int] = []
    notes: list[str] = []
    clock = _Clock()
    header: _Header | None = None
    nameless: list[dict[str, Any]] = []  # rows below a header that names no device
    lines = text.splitlines()
    if lines and not text.endswith(("\n", "\r")) and lines[0].startswith(_OURS):
        lines[-1] += " (torn)"  # we end each line; a number may have lost digits
    for number, line in enumerate(lines, 1):
        line = line[: _LONGEST + 1].strip()
        if (named := _header(line)) is not None:
            header = named
        elif line and not line.startswith("#"):  # else units, or a comment
            try:
                if header is None:
                    raise _BadLine
                rows.append(_row(header.cells(line), clock))
                if not header.names_device:
                    nameless.append(rows[-1])
            except (_BadLine, ValueError, OverflowError):
                bad.append(number)
    why_empty = "holds no line of values that can be read" if header else _NO_HEADER
    if rows and clock.assumed:
        notes.append("lines have no times; taken for one a second")
    if nameless and clock.assumed:
        notes.append("lines name no GPU; taken for one: of several, ask for index too")
    elif _several_at_a_moment([row["time_s"] for row in nameless]):
        left_out = {id(row) for row in nameless}
        rows = [row for row in rows if id(row) not in left_out]
        why_empty = f"its lines {_MIXED}"
        notes.append(f"{len(left_out)} lines were left out: they {_MIXED}")
    return Lines(rows, bad, notes, why_empty)


def _several_at_a_moment(times: list[float]) -> bool:
    """Whether lines of these times come close together, and the next ones some time later."""
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    return bool(gaps) and min(gaps) <= min(_MOMENT_S, 0.3 * max(gaps))


def _header(line: str) -> _Header | None:
    """The columns that a line names, where it is a header."""
    if line.startswith(_OURS):
        return _Header(tuple(line.split(",")), re.compile(","))
    if line.startswith("#"):
        names = re.split(r"[,\s]+", line.lstrip("# ").lower())
        columns = tuple(_DMON.get(name, "") for name in names)
        # pmon has a line for each process, not for each device.
        complete = "device" in columns and "pid" not in names
        separator = re.compile(r"[,\s]+")
    else:
        cells = [cell.strip() for cell in line.split(",")]
        columns = tuple(_QUERY.get(cell.partition(" [")[0], "") for cell in cells)
        complete = all(_FIELD.fullmatch(cell) for cell in cells)
        separator = re.compile(r"\s*,\s*")
    return _Header(columns, separator) if complete and set(columns) & set(METRICS) else None


def _row(cells: dict[str, str], clock: _Clock) -> dict[str, Any]:
    values = {name: _measured(name, cell) for name, cell in cells.items() if name in METRICS}
    node, device = cells.get("node", "0"), cells.get("device")
    if device is None:
        device = clock.device(cells.get("identity", ""))
    elif _WHOLE.fullmatch(device):
        device = f"gpu{int(device)}"
    if not (_WHOLE.fullmatch(node) and _DEVICE.fullmatch(device)):
        raise _BadLine
    time = " ".join(cells[name] for name in ("date", "time") if name in cells)
    return {"time_s": clock.seconds(time, device), "node": int(node), "device": device, **values}


class _Clock:
    """Gives lines a time and a device where they name none."""

    def __init__(self) -> None:
        self.assumed = False
        self._identities: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self._days, self._last = 0.0, -math.inf

    def device(self, identity: str) -> str:
        """Name of a device known by UUID or bus: they are counted as they appear."""
        return f"gpu{self._identities.setdefault(identity, len(self._identities))}"

    def seconds(self, time: str, device: str) -> float:
        """Time of the line on one clock, whatever part of it was written."""
        if not time:
            self.assumed = True
            self._count[device] = count = self._count.get(device, -1) + 1
            return float(count)
        match = _TIME.fullmatch(time)
        if match is None:
            raise _BadLine
        *day, hour, minute, second = match.groups()
        of_day = 3600.0 * int(hour) + 60.0 * int(minute) + float(second)
        if day[0]:
            year, month, day_of_month = map(int, day)
            midnight = dt.datetime(year, month, day_of_month) - _EPOCH
            return midnight.total_seconds() + of_day
        # Time without a date: after midnight it begins anew.
        if of_day < self._last - _DAY_S / 2:
            self._days += _DAY_S
        self._last = of_day
        return self._days + of_day


def _measured(name: str, cell: str) -> float:
    """A value of a metric, without its unit; NaN where the device does not report it."""
    if _UNKNOWN.fullmatch(cell):
        return math.nan
    match = _NUMBER.fullmatch(cell)
    if match is None:
        raise _BadLine
    value = float(match[1]) * (1024.0 if match[2] == "GiB" else 1.0)
    if not 0 <= value <= METRICS[name]:
        raise _BadLine
    return value
