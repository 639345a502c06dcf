"""Lines about devices, written by us or printed by nvidia-smi, told apart and read.

What is understood, with all of it in one file if need be, since the same command may have
been started several times: our own CSV, whose header is `contract.UTILISATION_COLUMNS`, and what
`scalebook.results.nvidia_smi` knows.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from dataclasses import dataclass, field
from typing import Any

from scalebook.results import nvidia_smi
from scalebook.results.nvidia_smi import EPOCH, METRICS, NODE, BadLine, Reader

_DEVICE = re.compile(r"gpu\d{1,4}|host")
_OURS = "time,node,device,"
_LONGEST = 10_000
_DAY_S = 86400.0


@dataclass
class Lines:
    """What was read of a text.

    Attributes
    ----------
    rows : list of dict
        ``time_s`` (on the writer's clock), ``node``, ``device`` and the metrics that are known.
    bad : list of int
        Numbers of the lines that were left out, from 1.
    notes : list of str
        What had to be assumed.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    named: bool = False

    def why_empty(self) -> str:
        """Say why there are no rows."""
        if self.named:
            return "holds no line of values that can be read"
        return (
            "is neither ours nor output of nvidia-smi that names its columns: expected the header "
            "of `nvidia-smi dmon` or of `--query-gpu=… --format=csv` as first line"
        )


def parse(text: str) -> Lines:
    """Read every line of a text that can be read; nothing is raised."""
    found = Lines()
    clock = _Clock()
    reader: Reader | None = None
    unread: list[tuple[int, str]] = []  # before any header
    lines = text.splitlines()
    if lines and not text.endswith(("\n", "\r")) and lines[0].startswith(_OURS):
        lines[-1] += " (torn)"  # we end each line; a number may have lost digits
    for number, line in enumerate(lines, 1):
        line = line[: _LONGEST + 1].strip()
        if not line:
            continue
        known = _header(line)
        if known is not None:
            reader, found.named = known, True
        elif line.startswith("#"):  # units, or a comment
            continue
        elif reader is None:
            unread.append((number, line))
        else:
            _add(found, number, line, reader, clock)
    if not found.named and unread:
        reader, said = nvidia_smi.without_header([line for _, line in unread])
        if reader is not None:
            found.notes.append(said)
            for number, line in unread:
                _add(found, number, line, reader, clock)
            unread = []
    found.bad = sorted([*found.bad, *(number for number, _ in unread)])
    if found.rows and clock.assumed:
        found.notes.append("lines have no times; taken for one a second")
    return found


def _add(found: Lines, number: int, line: str, reader: Reader, clock: _Clock) -> None:
    try:
        if len(line) > _LONGEST:
            raise BadLine
        values = reader(line)
        row = {"node": values.pop("node", 0), "device": clock.device(values)}
        found.rows.append({**row, "time_s": clock.seconds(values, row["device"]), **values})
    except (BadLine, ValueError, TypeError, OverflowError):
        found.bad.append(number)


class _Clock:
    """Puts a time and a device to lines that may name neither."""

    def __init__(self) -> None:
        self.assumed = False
        self._identities: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self._days, self._last = 0.0, -math.inf

    def device(self, values: dict[str, Any]) -> str:
        """Name of the device; those that are named by UUID or bus are counted as they appear."""
        device, identity = values.pop("device", None), values.pop("identity", None)
        if device is None:
            known = self._identities
            device = f"gpu{known.setdefault(identity or '', len(known))}"
        return device

    def seconds(self, values: dict[str, Any], device: str) -> float:
        """Time of the line on one clock, whatever part of it was written."""
        if "seconds" in values:
            return values.pop("seconds")
        of_day = values.pop("of_day", None)
        if of_day is None:
            self.assumed = True
            self._count[device] = count = self._count.get(device, -1) + 1
            return float(count)
        # Time without a date: after midnight it begins anew.
        if of_day < self._last - _DAY_S / 2:
            self._days += _DAY_S
        self._last = of_day
        return self._days + of_day


def _header(line: str) -> Reader | None:
    """How to read what follows, where a line is a header."""
    if line.startswith(_OURS):
        return functools.partial(_ours, line.split(","))
    return nvidia_smi.header(line)


def _ours(columns: list[str], line: str) -> dict[str, Any]:
    cells = line.split(",")
    if len(cells) != len(columns):
        raise BadLine
    moment, node, device = cells[:3]
    if not (NODE.fullmatch(node) and _DEVICE.fullmatch(device)):
        raise BadLine
    values: dict[str, Any] = {
        name: nvidia_smi.measured(name, cell)
        for name, cell in zip(columns, cells)
        if name in METRICS
    }
    seconds = (dt.datetime.fromisoformat(moment.removesuffix("Z")) - EPOCH).total_seconds()
    return {**values, "node": int(node), "device": device, "seconds": seconds}
