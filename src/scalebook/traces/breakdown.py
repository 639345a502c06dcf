"""Where the time of a trace went: every activity with what it belongs to, sums, and changes."""

import numpy as np
import pandas as pd

from scalebook.contract import ScalebookError, UsageError
from scalebook.traces.attribution import attribute
from scalebook.traces.times import get_time, steady, warm_up, windows
from scalebook.traces.trace import Trace

#: What time can be summed by, and the columns that hold it on a GPU and on a CPU.
GROUPS = {
    "family": ("by_operator", "by_operator"),
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
    names = {"start": "start_us", "dur": "dur_us", "time": "time_us"}
    columns = ["name", "operator", "module", "by_kernel", "by_operator", "phase", "step",
               "device", "stream", "start_us", "dur_us", "time_us"]  # fmt: skip
    return attribute(trace).work.rename(columns=names)[columns].astype({"name": object})


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
    column = GROUPS[by][0 if parts.on_gpu else 1]
    columns = ["group", "calls", "total_us", "mean_us", "share"]
    if column is None:
        return pd.DataFrame(columns=columns)
    time = parts.work["time"]
    table = time.groupby(parts.work[column].astype(object).to_numpy()).agg(["size", "sum", "mean"])
    table.columns = ["calls", "total_us", "mean_us"]
    table["share"] = table["total_us"] / (float(time.sum()) or 1.0)
    table = table.rename_axis("group").reset_index()
    order = table.sort_values(["total_us", "group"], ascending=[False, True], kind="stable")
    return order[columns].reset_index(drop=True)


# --------------------------------------------------------------------------- between two traces

#: A change of time is told from noise when it is over this share of the time before.
NOTABLE = 0.05

#: What two traces can be compared by.
COMPARED_BY = ("operator", "kernel", "family", "module", "phase")


def get_diff(before: Trace, after: Trace, by: str = "operator") -> pd.DataFrame:
    """Time and calls per step in two traces, and how they changed.

    Steps that warm up are left out where others are there; without marked steps a trace counts
    as one step.

    Parameters
    ----------
    before, after : Trace
        Of the same kind of device.
    by : {"operator", "kernel", "family", "module", "phase"}
        What is compared. On a CPU operators count with their own time; there are no kernels.

    Returns
    -------
    DataFrame
        Largest change first: columns name (untrusted), family, before_us, after_us, change_us,
        ratio (after / before; NaN where it appeared), before_calls, after_calls, change
        ("faster", "slower", "same", "appeared", "vanished").

    Raises
    ------
    ScalebookError
        If one trace is of a GPU and the other is not, or `by` does not fit.
    """
    if by not in COMPARED_BY:
        raise ScalebookError(f"diff by {by}: choose one of {', '.join(COMPARED_BY)}")
    on_gpu = [attribute(trace).on_gpu for trace in (before, after)]
    if on_gpu[0] != on_gpu[1]:
        raise ScalebookError(
            "diff: one trace is of a GPU and the other of a CPU only; compare traces of one kind"
        )
    if by == "kernel" and not on_gpu[0]:
        raise ScalebookError("diff by kernel: the traces hold no GPU kernels; use by operator")
    sides = [_per_step(trace, by) for trace in (before, after)]
    both = sides[0].add_suffix("_before").join(sides[1].add_suffix("_after"), how="outer")
    old, new = both["time_before"].fillna(0.0), both["time_after"].fillna(0.0)
    cases = {
        "appeared": both["time_before"].isna(),
        "vanished": both["time_after"].isna(),
        "same": np.abs(new - old) <= NOTABLE * old,
        "faster": new < old,
    }
    result = pd.DataFrame(
        {
            "name": both.index.astype(object),
            "family": both["family_after"].fillna(both["family_before"]),
            "before_us": old,
            "after_us": new,
            "change_us": new - old,
            "ratio": (new / old.where(old > 0)).to_numpy(),
            "before_calls": both["calls_before"].fillna(0.0),
            "after_calls": both["calls_after"].fillna(0.0),
            "change": np.select(list(cases.values()), list(cases), "slower"),
        }
    )
    order = np.lexsort((result["name"].astype(str), -result["change_us"].abs()))
    return result.iloc[order].reset_index(drop=True)


def _per_step(trace: Trace, by: str) -> pd.DataFrame:
    """Summed time, calls and family by name, divided by the number of steps."""
    parts = attribute(trace)
    frame = parts.work
    family = "by_kernel" if by == "kernel" else "by_operator"
    column = GROUPS[by][0 if parts.on_gpu else 1]
    steps = parts.steps
    count = 1
    if len(steps):
        low, high = windows(frame, steps) if parts.on_gpu else (0.0, steps["dur"].to_numpy())
        kept = steps["step"].to_numpy()[~warm_up(high - low)]
        frame, count = frame[frame["step"].isin(kept)], len(kept)
    rows = pd.DataFrame(
        {"name": frame[column].astype(object), "family": frame[family], "time": frame["time"]}
    )
    pairs = rows.groupby(["name", "family"], sort=False)["time"].agg(["sum", "size"])
    pairs = pairs.sort_values("sum", ascending=False, kind="stable").reset_index("family")
    # A name found in several families goes by the one with most of its time.
    groups = pairs.groupby(level="name", sort=False).agg(
        time=("sum", "sum"), calls=("size", "sum"), family=("family", "first")
    )
    groups[["time", "calls"]] = groups[["time", "calls"]] / count
    return groups


def get_diff_times(before: Trace, after: Trace) -> pd.DataFrame:
    """Mean time of a step by what the device did: rows span, busy and so on.

    Returns
    -------
    DataFrame
        Columns name, before_us, after_us, change_us; steps as in `get_diff`.
    """
    old, new = (
        steady(get_time(trace)).drop(columns=["step", "start_us", "warm_up"]).mean()
        for trace in (before, after)
    )
    return pd.DataFrame(
        {
            "name": [name.removesuffix("_us") for name in old.index],
            "before_us": old.to_numpy(),
            "after_us": new.to_numpy(),
            "change_us": (new - old).to_numpy(),
        }
    )
