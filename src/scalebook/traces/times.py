"""When a device worked, at what, and what it waited for: per step and in total.

Times are unions of intervals: what runs on several streams at once counts once, and
the times of several GPUs are added up.
"""

from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from scalebook.traces import families, intervals
from scalebook.traces.attribution import attribute, classified
from scalebook.traces.trace import Trace

#: A gap up to this long, in µs, before an activity that was already queued is the device's own
#: delay between two activities (the limit HolisticTraceAnalysis takes).
GAP_US = 30.0
#: The first steps that take so much longer than the median one are warm-up.
WARM_UP = 1.25

TIMES = (
    "span_us", "busy_us", "compute_us", "communication_us", "memory_us", "overlap_us", "idle_us",
)  # fmt: skip
IDLE = ("host_us", "gap_us", "rest_us", "input_us")


_known: WeakKeyDictionary[Trace, pd.DataFrame] = WeakKeyDictionary()


def get_time(trace: Trace) -> pd.DataFrame:
    """Time by what the device did: one row a step the profiler marked, the last row for all.

    Returns
    -------
    DataFrame
        Columns, in µs unless named:

        ``step``: number; -1 for the whole trace. ``start_us`` and ``dur_us``: of the step on
        the host. ``warm_up`` (bool). ``span_us``: of the step on the device: from its first
        activity to that of the next step, because a host that runs ahead ends its steps long
        before the device does; of all: from the first to the last activity. ``busy_us``;
        ``compute_us``, ``communication_us``, ``memory_us`` (copies and fills);
        ``overlap_us``: compute hides communication; ``exposed_us``: communication alone;
        ``idle_us`` = span - busy, and its parts: ``host_us``: the next activity was launched
        only after the gap began; ``gap_us``: it was queued, and began within `GAP_US`;
        ``rest_us``. ``input_us``: the part of idle in which the host waited for data.
        On a CPU operators count as activities, and idle is not split.
    """
    known = _known.get(trace)
    if known is None:
        known = _known[trace] = _timed(trace)
    return known.copy()


def _timed(trace: Trace) -> pd.DataFrame:
    parts = attribute(trace)
    on_gpu = parts.on_gpu
    frame = parts.gpu if on_gpu else parts.cpu[parts.cpu["outermost"]]
    family = frame["by_kernel" if on_gpu else "by_operator"].to_numpy()
    # Copies by the device's own engine, and by kernels that do nothing else.
    copies = family == "memory"
    collective = family == "communication"
    steps = parts.steps
    low, high = windows(frame, steps) if on_gpu else _marks(steps)
    data = _data(parts.host)
    rows = np.zeros((len(steps) + 1, len(TIMES) + len(IDLE)))
    for device in sorted(frame["device"].unique()):
        here = (frame["device"] == device).to_numpy()
        rows += _device(frame, here, here & collective, here & copies, low, high, data, on_gpu)
    result = pd.DataFrame(rows, columns=[*TIMES, *IDLE])
    result.insert(0, "step", [*steps["step"], -1])
    first = float(frame["start"].min()) if len(frame) else 0.0
    result.insert(1, "start_us", [*steps["start"], first])
    result.insert(2, "dur_us", [*steps["dur"], result["span_us"].iloc[-1]])
    result.insert(3, "warm_up", [*warm_up(high - low), False])
    place = result.columns.get_loc("overlap_us") + 1
    result.insert(place, "exposed_us", result["communication_us"] - result["overlap_us"])
    return result


def windows(gpu: pd.DataFrame, steps: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """From when to when the device worked on each step; as on the host where it did not."""
    low, high = _marks(steps)
    end = gpu["start"] + gpu["dur"]
    first = gpu["start"].groupby(gpu["step"]).min().reindex(steps["step"]).to_numpy(float)
    last = end.groupby(gpu["step"]).max().reindex(steps["step"]).to_numpy(float)
    known = ~np.isnan(first)
    low, high = np.where(known, first, low), np.where(known, last, high)
    high[:-1] = np.where(known[:-1] & known[1:], low[1:], high[:-1])
    return low, np.maximum(low, high)


def _marks(steps: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    start = steps["start"].to_numpy(float)
    return start, start + steps["dur"].to_numpy(float)


def warm_up(durations: np.ndarray) -> np.ndarray:
    """Which of the first steps took much longer than the median one."""
    slow = np.zeros(len(durations), dtype=bool)
    if len(durations) > 2:
        slow = durations > WARM_UP * np.median(durations)
        slow &= np.cumprod(slow).astype(bool)
    return slow


def steady(times: pd.DataFrame) -> pd.DataFrame:
    """Of what `get_time` answers the steps that do not warm up; all where none is marked."""
    steps = times[times["step"] >= 0]
    return steps[~steps["warm_up"]] if len(steps) else times


def _device(
    frame: pd.DataFrame,
    here: np.ndarray,
    collective: np.ndarray,
    copies: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    data: intervals.Intervals,
    on_gpu: bool,
) -> np.ndarray:
    """Times of one device in each window, and at last in all; columns as `TIMES` and `IDLE`."""
    start = frame["start"].to_numpy()
    end = start + frame["dur"].to_numpy()

    def covered(mask: np.ndarray) -> intervals.Intervals:
        return intervals.union(start[mask], end[mask])

    busy, communication = covered(here), covered(collective)
    compute, memory = covered(here & ~collective & ~copies), covered(copies)
    both = intervals.joined(compute, communication)
    low = np.append(low, busy[0][0])
    high = np.append(high, busy[1][-1])

    def within(spans: intervals.Intervals) -> np.ndarray:
        return np.maximum(intervals.clipped(spans, low, high), 0.0)

    span, working = high - low, within(busy)
    alike, alone = within(compute), within(communication)
    idle = span - working
    columns = [span, working, alike, alone, within(memory), alike + alone - within(both), idle]
    free = (np.append(-np.inf, busy[1]), np.append(busy[0], np.inf))
    host, gap = np.zeros_like(idle), np.zeros_like(idle)
    if on_gpu:
        late, queued = _waits(frame[here], free)
        bounded = tuple(np.clip(border, low.min(), high.max()) for border in free)
        host = within((bounded[0][late], bounded[1][late]))
        gap = within((bounded[0][queued], bounded[1][queued]))
    # Data awaited while the device was idle: all of the waiting less that while it worked.
    awaited = within(data) - (within(data) + working - within(intervals.joined(data, busy)))
    columns += [host, gap, np.maximum(idle - host - gap, 0.0), np.maximum(awaited, 0.0)]
    times: np.ndarray = np.maximum(np.stack(columns, axis=1), 0.0)
    return times


def _waits(gpu: pd.DataFrame, free: intervals.Intervals) -> tuple[np.ndarray, np.ndarray]:
    """Which idle times the host caused, and which the device, by what ends them."""
    ordered = gpu.sort_values("start", kind="stable")
    place = np.searchsorted(ordered["start"].to_numpy(), free[1][:-1], side="left")
    launched = ordered["launch_start"].to_numpy()[place]
    late = np.append(launched > free[0][:-1], False)
    queued = np.append(~np.isnan(launched), False) & ~late & (free[1] - free[0] <= GAP_US)
    return late, queued


def _data(host: pd.DataFrame) -> intervals.Intervals:
    """When the host waited for its input, as annotations say."""
    annotations = (host["kind"] == "annotation").to_numpy()
    opened = classified(host["name"], annotations, families.opened_phase, -1)
    mine = host[opened == families.PHASES.index("data")]
    start = mine["start"].to_numpy()
    return intervals.union(start, start + mine["dur"].to_numpy())
