"""What a reader of the figures has to know of a trace: counts of what is odd in it."""

import numpy as np

from scalebook.traces.attribution import attribute
from scalebook.traces.trace import Trace

#: Kernels overlap where one begins so long, in µs, before the one before it ends: writers round.
OVERLAP_US = 1.0


def get_notices(trace: Trace) -> dict[str, int]:
    """Count what is odd, by what it is; empty where nothing is.

    GPU activities without the call that launched them, as those are that were launched before
    the recording, take the step of the activity before them in their stream, or none. Of kernels
    that overlap on one stream, the sum is more than the time.
    """
    gpu = attribute(trace).gpu
    left = gpu["launcher"].to_numpy() < 0
    counts = {
        "GPU activities whose launch was not recorded": int(left.sum()) if not left.all() else 0,
        "kernels that overlap on one stream": _overlapping(trace),
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
