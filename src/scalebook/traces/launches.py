"""How kernels are launched, what that costs, and what is odd about it."""

import re

import numpy as np
import pandas as pd

from scalebook.traces.attribution import attribute
from scalebook.traces.times import get_time
from scalebook.traces.trace import Trace

#: A kernel shorter than this takes about as long as it takes to launch it.
SHORT_US = 10.0
#: A run is launch-bound when the device waits this share of its time for the host to launch,
#: and this share of its kernels is short.
WAITING, SHORT = 0.2, 0.5
#: Kernels overlap where one begins so long, in µs, before the one before it ends: writers round.
OVERLAP_US = 1.0


def get_launches(trace: Trace) -> pd.DataFrame:
    """Every GPU activity with the call that launched it.

    Returns
    -------
    DataFrame
        One row an activity whose runtime call was recorded, in the order of the calls: columns
        name (untrusted), kind, device, stream, launch_start (µs), launch_us (the call's own
        duration), delay_us (from the call's end to the activity's start, 0 where it began
        earlier), dur_us, queue (activities launched into the stream and not yet begun, this one
        included), step.
    """
    gpu = attribute(trace).gpu
    gpu = gpu[gpu["launch_start"].notna()].sort_values("launch_start", kind="stable")
    launched, start = gpu["launch_start"].to_numpy(), gpu["start"].to_numpy()
    queue = np.zeros(len(gpu), dtype=np.int64)
    for place in gpu.groupby(["device", "stream"], sort=False).indices.values():
        begun = np.searchsorted(np.sort(start[place]), launched[place], side="right")
        queue[place] = np.maximum(np.arange(1, len(place) + 1) - begun, 0)
    delay = start - launched - gpu["launch_dur"].to_numpy()
    return pd.DataFrame(
        {
            "name": gpu["name"], "kind": gpu["kind"], "device": gpu["device"],
            "stream": gpu["stream"], "launch_start": launched, "launch_us": gpu["launch_dur"],
            "delay_us": np.maximum(delay, 0.0), "dur_us": gpu["dur"], "queue": queue,
            "step": gpu["step"],
        }
    ).reset_index(drop=True)  # fmt: skip


def get_queue(trace: Trace) -> pd.DataFrame:
    """How many activities wait in each stream, over time.

    Returns
    -------
    DataFrame
        One row a change, in time within each stream: columns device, stream, start_us, queue
        (activities launched and not yet begun). Of activities whose call was recorded.
    """
    gpu = attribute(trace).gpu
    gpu = gpu[gpu["launch_start"].notna()]
    here = gpu[["device", "stream"]]
    begun = np.maximum(gpu["start"], gpu["launch_start"])
    changes = pd.concat(
        [
            here.assign(start_us=gpu["launch_start"], change=1),
            here.assign(start_us=begun, change=-1),
        ]
    )
    keys = ["device", "stream"]
    summed = changes.groupby([*keys, "start_us"], as_index=False)["change"].sum()
    summed["queue"] = summed.groupby(keys)["change"].cumsum()
    return summed[[*keys, "start_us", "queue"]]


def get_launch_summary(trace: Trace) -> pd.DataFrame:
    """Whether launching holds the device up: one row a device.

    Returns
    -------
    DataFrame
        Columns device, kernels, launched (those whose call was recorded), median_dur_us,
        median_launch_us, median_delay_us, median_queue, short_share (of kernels under
        `SHORT_US`), short_time_share (of kernel time), waiting_share (of the device's time in
        which it waits for the host, data apart), launch_bound (bool).
    """
    launches = get_launches(trace)
    launches = launches[launches["kind"] == "kernel"]
    gpu = attribute(trace).gpu
    kernels = gpu[gpu["kind"] == "kernel"]
    whole = get_time(trace).iloc[-1]
    waiting = max(0.0, whole["host_us"] - whole["input_us"]) / max(whole["span_us"], 1e-9)
    rows = []
    for device, mine in kernels.groupby("device"):
        calls = launches[launches["device"] == device]
        short = mine["dur"] < SHORT_US
        rows.append(
            {
                "device": int(device),
                "kernels": len(mine),
                "launched": len(calls),
                "median_dur_us": mine["dur"].median(),
                "median_launch_us": calls["launch_us"].median(),
                "median_delay_us": calls["delay_us"].median(),
                "median_queue": calls["queue"].median(),
                "short_share": short.mean(),
                "short_time_share": mine["dur"][short].sum() / max(mine["dur"].sum(), 1e-9),
                "waiting_share": waiting,
                "launch_bound": bool(waiting >= WAITING and short.mean() >= SHORT),
            }
        )
    columns = [
        "device", "kernels", "launched", "median_dur_us", "median_launch_us", "median_delay_us",
        "median_queue", "short_share", "short_time_share", "waiting_share", "launch_bound",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


#: Notices that leave the verdict open where nothing of a device was read.
LAUNCHES_ALONE = "launch calls and no GPU activity"
UNKNOWN = "events of unknown categories, not read"
_LAUNCH = re.compile(r"launch|memcpy|memset", re.IGNORECASE)


def get_notices(trace: Trace) -> dict[str, int]:
    """Count oddities by kind; empty where there are none.

    GPU activities without the call that launched them, as those are that were launched before
    the recording, take the step of the activity before them in their stream, or none. Of kernels
    that overlap on one stream, the sum is more than the time. Where calls were recorded that launch
    something, and nothing of the device, or events of categories that nothing is known of, the
    figures are of the host alone.
    """
    parts = attribute(trace)
    gpu = parts.gpu
    left = gpu["launcher"].to_numpy() < 0
    counts = {
        "GPU activities whose launch was not recorded": int(left.sum()) if not left.all() else 0,
        "kernels that overlap on one stream": _overlapping(trace),
        LAUNCHES_ALONE: _launches(parts.host) if gpu.empty else 0,
        UNKNOWN: trace.unknown,
    }
    return {reason: count for reason, count in counts.items() if count}


def _overlapping(trace: Trace) -> int:
    """Kernels that begin before an earlier one of their stream has ended."""
    gpu = attribute(trace).gpu
    gpu = gpu[(gpu["kind"] == "kernel") & (gpu["stream"] >= 0)]
    gpu = gpu.sort_values("start", kind="stable")
    reach = (gpu["start"] + gpu["dur"]).groupby([gpu["device"], gpu["stream"]]).cummax()
    before = reach.groupby([gpu["device"], gpu["stream"]]).shift()
    return int(np.count_nonzero(before - gpu["start"] > OVERLAP_US))


def _launches(host: pd.DataFrame) -> int:
    """Runtime calls that make a device do something."""
    calls = host["name"][host["kind"] == "runtime"].astype(str)
    return int(calls.str.contains(_LAUNCH).sum())
