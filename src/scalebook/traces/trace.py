"""A profiler trace as tables: what every analysis starts from.

Names stay raw and have to be escaped wherever they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

#: What an event may be.
KINDS = ("annotation", "copy", "kernel", "module", "operator", "runtime", "set")
#: Longest name kept.
WIDEST_NAME = 2000

#: What the names of events that call a module begin with.
MODULE = "nn.Module: "


@dataclass(frozen=True, eq=False)
class Trace:
    """The complete events of one trace.

    Attributes
    ----------
    events : DataFrame
        Columns kind (categorical of `KINDS`), name (categorical; untrusted text), lane
        (position in `lanes`), start, dur (µs, from the first event on), device, stream,
        correlation, external, sequence, forward_thread, bytes (-1: not given), shape,
        message, hierarchy (position in `shapes`, `messages`, `hierarchies`; -1: none).
        Ordered as in the file.
    memory : DataFrame
        Allocations and releases: columns lane, start (µs, as above), bytes (negative: released),
        allocated, reserved (totals after it), device (-1: the host), address.
    lanes : tuple of (str, str)
        Process and thread, or device and stream; untrusted text.
    shapes : tuple of (list, list, list)
        Dimensions, types and values of an operator's arguments, as the profiler writes them.
    messages : tuple of dict
        Collectives: collective, elements_in, elements_out, dtype, group_size, group.
    hierarchies : tuple of str
        Modules that called an operator, where the trace names them; untrusted text.
    devices : tuple of dict
        The GPUs: id, name (untrusted text), memory_bytes, multiprocessors, capability.
    rank, world_size : int or None
        As the trace says.
    origin_ns : int
        Time of the first event on the writer's clock.
    resolution_us : float
        Finest difference its times can show.
    dropped : dict of str to int
        What was left out, and how many.
    """

    events: pd.DataFrame
    memory: pd.DataFrame
    lanes: tuple[tuple[str, str], ...]
    shapes: tuple[tuple[list, list, list], ...]
    messages: tuple[dict[str, Any], ...]
    hierarchies: tuple[str, ...]
    devices: tuple[dict[str, Any], ...]
    rank: int | None
    world_size: int | None
    origin_ns: int
    resolution_us: float
    dropped: dict[str, int]

    def of(self, *kinds: str) -> pd.DataFrame:
        """Events of these kinds."""
        return self.events[self.events["kind"].isin(kinds)]
