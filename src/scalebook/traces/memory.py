"""Memory by what it is held for, over time, where the profiler recorded it.

The profiler records every allocation and release, not what is in it. A block is
told by when it lives: what is allocated going forward and outlives that is an
activation, what is left by the backward pass a gradient, and so on.
"""

import numpy as np
import pandas as pd

from scalebook.traces import families
from scalebook.traces.attribution import attribute
from scalebook.traces.nesting import nest, values_at
from scalebook.traces.trace import Trace

CATEGORIES = (
    "before", "input", "activation", "gradient", "optimizer_state", "communication", "temporary",
    "other",
)  # fmt: skip
_LASTING = {
    "data": "input", "forward": "activation", "backward": "gradient",
    "optimizer": "optimizer_state", "communication": "communication", "other": "other",
}  # fmt: skip


def get_memory(trace: Trace) -> pd.DataFrame:
    """Bytes held after every allocation and release.

    Returns
    -------
    DataFrame
        In time: columns device (-1: the host), start_us, total and one for each of `CATEGORIES`:
        ``before`` was held when recording began, ``temporary`` is released in the phase that
        allocated it. Empty where memory was not recorded.
    """
    columns = ["device", "start_us", "total", *CATEGORIES]
    memory = trace.memory
    if memory.empty:
        return pd.DataFrame(columns=columns, dtype=float).astype({"device": int})
    phase, serial = _phase(trace)
    tables = []
    for device, mine in memory.groupby("device", sort=True):
        place = mine.index.to_numpy()
        size = mine["bytes"].to_numpy()
        category = _category(mine["address"].to_numpy(), size, phase[place], serial[place])
        changes = np.zeros((len(mine), len(CATEGORIES)))
        changes[np.arange(len(mine)), category] = size
        held = np.cumsum(changes, axis=0)
        first = mine["allocated"].iloc[0]
        held[:, 0] += max(0.0, first - size[0]) if np.isfinite(first) else 0.0
        # Blocks are released that were allocated unseen: never less than nothing is held.
        held[:, 0] -= min(0.0, held[:, 0].min())
        table = pd.DataFrame(held, columns=list(CATEGORIES), index=place)
        about = {"device": int(device), "start_us": mine["start"], "total": held.sum(axis=1)}
        tables.append(table.assign(**about))
    return pd.concat(tables, ignore_index=True)[columns]


def get_memory_peak(trace: Trace) -> pd.DataFrame:
    """Peak by category: one row a device and category, and one for the total.

    Returns
    -------
    DataFrame
        Columns device, category, at_peak_bytes (when the device held most), peak_bytes (the
        category's own), peak_start_us (of the device).
    """
    rows = []
    for device, mine in get_memory(trace).groupby("device", sort=True):
        top = mine.loc[mine["total"].idxmax()]
        rows += [
            {
                "device": int(device),
                "category": category,
                "at_peak_bytes": round(top[category]),
                "peak_bytes": round(mine[category].max()),
                "peak_start_us": float(top["start_us"]),
            }
            for category in ("total", *CATEGORIES)
        ]
    columns = ["device", "category", "at_peak_bytes", "peak_bytes", "peak_start_us"]
    return pd.DataFrame(rows, columns=columns)


def _phase(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Phase (number) of each event of memory, and which stretch of that phase it lies in."""
    host = attribute(trace).host
    memory = trace.memory
    count = len(host)
    lane = np.concatenate((host["lane"].to_numpy(), memory["lane"].to_numpy()))
    start = np.concatenate((host["start"].to_numpy(), memory["start"].to_numpy()))
    duration = np.concatenate((host["dur"].to_numpy(), np.zeros(len(memory))))
    leaf = np.concatenate(
        ((host["kind"] == "runtime").to_numpy(), np.ones(len(memory), dtype=bool))
    )
    around = nest(lane, start, duration, leaf, trace.resolution_us).parent[count:]
    codes = pd.Categorical(host["phase"], categories=list(families.PHASES)).codes
    other = families.PHASES.index("other")
    phase = values_at(codes, around, other)
    # Between two operators of one phase that phase goes on.
    known = pd.Series(np.where(phase == other, np.nan, phase))
    phase = known.ffill().bfill().fillna(other).to_numpy(np.int64)
    serial = np.cumsum(np.concatenate(([0], np.diff(phase) != 0)))
    return phase, serial


def _category(
    address: np.ndarray, size: np.ndarray, phase: np.ndarray, serial: np.ndarray
) -> np.ndarray:
    """Number in `CATEGORIES` of what each event allocates or releases."""
    number = {name: CATEGORIES.index(name) for name in CATEGORIES}
    lasting = [number[_LASTING[name]] for name in families.PHASES]
    category = np.full(len(size), number["before"], dtype=np.int64)
    held: dict[int, int] = {}
    events = zip(address.tolist(), size.tolist(), phase.tolist(), serial.tolist())
    for index, (where, change, now, stretch) in enumerate(events):
        if change > 0:
            held[where] = index
            category[index] = lasting[now]
        elif (begun := held.pop(where, None)) is not None:
            if serial[begun] == stretch:
                category[begun] = number["temporary"]
            category[index] = category[begun]
    return category
