"""Where the time of a trace went: every activity with what it belongs to, and sums of them."""

from __future__ import annotations

import pandas as pd

from scalebook.contract import UsageError
from scalebook.traces.attribution import attribute
from scalebook.traces.trace import Trace

#: What time can be summed by, and the columns that hold it on a GPU and on a CPU.
GROUPS = {
    "family": ("by_operator", "family"),
    "kernel_family": ("by_kernel", None),
    "operator": ("operator", "name"),
    "kernel": ("name", None),
    "module": ("module", "module"),
    "phase": ("phase", "phase"),
}


def get_attribution(trace: Trace) -> pd.DataFrame:
    """Every GPU activity, or on a CPU every operator, with what launched it.

    Returns
    -------
    DataFrame
        Columns name, operator, module (untrusted text; empty for none), by_kernel and
        by_operator (families; by_kernel empty on a CPU), phase, step (-1: none), device and
        stream (-1: the host), start_us, dur_us, time_us (what counts in sums: on a CPU the
        operator's own time).
    """
    parts = attribute(trace)
    if not parts.gpu.empty:
        frame = parts.gpu.assign(time_us=parts.gpu["dur"])
    else:
        frame = parts.cpu.rename(columns={"family": "by_operator", "self_us": "time_us"})
        frame = frame.assign(by_kernel="", device=-1, stream=-1)
    frame = frame.rename(columns={"start": "start_us", "dur": "dur_us"})
    columns = ["name", "operator", "module", "by_kernel", "by_operator", "phase", "step",
               "device", "stream", "start_us", "dur_us", "time_us"]  # fmt: skip
    return frame[columns].astype({"name": object})


def get_breakdown(trace: Trace, by: str = "family") -> pd.DataFrame:
    """Summed time by group, longest first.

    Parameters
    ----------
    trace : Trace
        What to sum up.
    by : {"family", "kernel_family", "operator", "kernel", "module", "phase"}
        ``family`` is that of the operator that launched an activity; ``kernel_family`` is by
        the kernel's own name, which does not tell what it was launched for.

    Returns
    -------
    DataFrame
        Columns group (names are untrusted text), calls, total_us, mean_us, share (of all time).
        Empty where a CPU trace is asked for kernels.

    Raises
    ------
    UsageError
        If `by` is none of these.
    """
    if by not in GROUPS:
        raise UsageError(f"breakdown by {by}: choose one of {', '.join(GROUPS)}")
    parts = attribute(trace)
    on_gpu = not parts.gpu.empty
    column = GROUPS[by][0 if on_gpu else 1]
    columns = ["group", "calls", "total_us", "mean_us", "share"]
    if column is None:
        return pd.DataFrame(columns=columns)
    frame = parts.gpu if on_gpu else parts.cpu
    time = frame["dur" if on_gpu else "self_us"]
    table = time.groupby(frame[column].astype(object).to_numpy()).agg(["size", "sum", "mean"])
    table.columns = ["calls", "total_us", "mean_us"]
    table["share"] = table["total_us"] / (float(time.sum()) or 1.0)
    table = table.rename_axis("group").reset_index()
    order = table.sort_values(["total_us", "group"], ascending=[False, True], kind="stable")
    return order[columns].reset_index(drop=True)
