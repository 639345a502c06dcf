"""Events of one step on their lanes: what a timeline is drawn from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from scalebook.contract import UsageError
from scalebook.traces.attribution import Attribution, answered, attribute
from scalebook.traces.nesting import values_at
from scalebook.traces.speed import shapes_text
from scalebook.traces.times import get_time
from scalebook.traces.trace import MODULE, Trace

#: Most events of a timeline: of more, the longest.
MOST = 8000
#: Events nested deeper within a thread are left out, as are threads beyond so many.
DEEPEST, MOST_LANES = 14, 24

COLUMNS = ["lane", "lane_name", "depth", "kind", "name", "operator", "family", "phase", "shapes",
           "step", "start_us", "dur_us", "left_out"]  # fmt: skip


def middle_step(steps: Sequence[Mapping[Any, Any]]) -> int:
    """The middle one of the steps that are not warm-up, and -1 where no step is marked.

    Parameters
    ----------
    steps : sequence of mapping
        ``steps`` of a `summary`.
    """
    chosen = [step for step in steps if not step["warm_up"]] or steps
    return int(chosen[len(chosen) // 2]["step"]) if chosen else -1


def get_timeline(trace: Trace, step: int | None = None, most: int = MOST) -> pd.DataFrame:
    """Events of one step, by lane: streams of GPUs first, then threads, the busiest first.

    A host that runs ahead launches a step long before the device works on it. The time shown
    therefore goes from the step's begin on the host to its end on the device, and what the
    device does for other steps meanwhile is there too.

    Parameters
    ----------
    trace : Trace
        What to show.
    step : int, optional
        Number of a step, -1 for the whole trace; `middle_step` where left out.
    most : int
        How many events to keep: the longest.

    Returns
    -------
    DataFrame
        Columns lane (from 0), lane_name ("GPU 0, stream 7", "thread 1"), depth (0: outermost),
        kind, name and operator (untrusted text; operator is what launched a GPU activity), family
        (by operator), phase, shapes (text), step (-1: unknown), start_us (from the step's begin),
        dur_us, left_out (events of this lane not kept). Sorted by lane, depth and start.

    Raises
    ------
    UsageError
        If the trace has no such step.
    """
    parts = attribute(trace)
    if step is None:
        times = get_time(trace)
        step = middle_step(times[times["step"] >= 0].to_dict("records"))
    low, high = _window(trace, parts, step)
    host, gpu = _host(parts, step, low, high), _gpu(parts, step, low, high)
    frame = pd.concat([gpu, host], ignore_index=True).astype({"kind": object, "name": object})
    shapes = frame["shape"].to_numpy(np.int64)
    texts = answered(shapes, lambda code: shapes_text(trace.shapes[code][0]), "")
    frame = frame.assign(shapes=texts, start_us=frame["start"] - low, dur_us=frame["dur"])
    return _kept(frame, most)[COLUMNS]


def _window(trace: Trace, parts: Attribution, step: int) -> tuple[float, float]:
    """From when to when a step was worked on, on host and device."""
    if step < 0:
        ends = trace.events["start"] + trace.events["dur"]
        return (float(trace.events["start"].min()), float(ends.max())) if len(ends) else (0.0, 0.0)
    mark = parts.steps[parts.steps["step"] == step]
    if mark.empty:
        there = ", ".join(map(str, parts.steps["step"])) or "none"
        raise UsageError(f"step {step}: the trace has no such step; it has {there[:200]}")
    low = float(mark["start"].iloc[0])
    high = low + float(mark["dur"].iloc[0])
    own = parts.gpu[parts.gpu["step"] == step]
    return low, max(high, float((own["start"] + own["dur"]).max())) if len(own) else high


def _host(parts: Attribution, step: int, low: float, high: float) -> pd.DataFrame:
    """Events of the threads that began in the step, each at its depth."""
    host = parts.host
    depth = np.zeros(len(host), dtype=np.int64)
    for number, level in enumerate(parts.tree.levels):
        depth[level] = number
    if step >= 0:
        mark = parts.steps[parts.steps["step"] == step].iloc[0]
        high = float(mark["start"] + mark["dur"])
    within = (host["start"] >= low) & (host["start"] <= high)
    host = host.assign(depth=depth)[within.to_numpy()]
    host = host.assign(depth=host["depth"] - host.groupby("lane")["depth"].transform("min"))
    names = host["name"].astype(object).str.removeprefix(MODULE)
    busy = host["dur"].where(host["depth"] == 0, 0.0).groupby(host["lane"]).sum()
    order = busy.sort_values(ascending=False, kind="stable").index
    numbers = {lane: number for number, lane in enumerate(order, 1)}
    number = host["lane"].map(numbers).astype(np.int64)
    lane_name = "thread " + number.astype(str)
    return host.drop(columns="lane").assign(
        on_gpu=False, order=number, lane_name=lane_name, name=names, operator="", step=step
    )


def _gpu(parts: Attribution, step: int, low: float, high: float) -> pd.DataFrame:
    """Activities of the devices between the two times, whatever step they belong to."""
    gpu = parts.gpu
    end = gpu["start"] + gpu["dur"]
    gpu = gpu[((end > low) & (gpu["start"] < high)) | ((gpu["step"] == step) & (step >= 0))]
    around = parts.tree.innermost(parts.host["shape"].to_numpy())
    shape = values_at(around, gpu["launcher"].to_numpy(), -1)
    keys = list(zip(gpu["device"].tolist(), gpu["stream"].tolist()))
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    names = [
        f"GPU{f' {device}' if device >= 0 else ''}{f', stream {stream}' if stream >= 0 else ''}"
        for device, stream in keys
    ]
    order = [numbers[key] for key in keys]
    return gpu.rename(columns={"by_operator": "family"}).assign(
        on_gpu=True, order=order, lane_name=names, depth=0, shape=shape
    )


def _kept(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Number the lanes and leave out what is too deep, too many lanes down, or too short."""
    lanes = frame[["on_gpu", "order"]].drop_duplicates()
    lanes = lanes.sort_values(["on_gpu", "order"], ascending=[False, True], kind="stable")
    lanes["lane"] = np.arange(len(lanes))
    frame = frame.merge(lanes, on=["on_gpu", "order"], how="left")
    fits = (frame["depth"] < DEEPEST) & (frame["lane"] < MOST_LANES)
    longest = frame["dur_us"].where(fits, -1.0).rank(method="first", ascending=False)
    keep = fits & (longest <= most)
    left_out = (~keep).groupby(frame["lane"]).transform("sum")
    frame = frame.assign(left_out=left_out.astype(np.int64))[keep]
    order = ["lane", "depth", "start_us"]
    return frame.sort_values(order, kind="stable").reset_index(drop=True)
