"""What changed from one trace to another: operators and kernels, per step."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scalebook.contract import ScalebookError
from scalebook.traces.attribution import attribute
from scalebook.traces.times import get_time, warm_up, windows
from scalebook.traces.trace import Trace

#: A change of time is told from noise when it is over this share of the time before.
NOTABLE = 0.05

_GROUPS = ("operator", "kernel", "family", "module", "phase")


def get_diff(before: Trace, after: Trace, by: str = "operator") -> pd.DataFrame:
    """Time and calls a step in two traces, and what became of them.

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
    if by not in _GROUPS:
        raise ScalebookError(f"diff by {by}: choose one of {', '.join(_GROUPS)}")
    on_gpu = [not attribute(trace).gpu.empty for trace in (before, after)]
    if on_gpu[0] != on_gpu[1]:
        raise ScalebookError(
            "diff: one trace is of a GPU and the other of a CPU only; compare traces of one kind"
        )
    if by == "kernel" and not on_gpu[0]:
        raise ScalebookError("diff by kernel: the traces hold no GPU kernels; use by operator")
    sides = [_per_step(trace, by) for trace in (before, after)]
    both = sides[0].add_suffix("_before").join(sides[1].add_suffix("_after"), how="outer")
    old, new = both["time_before"].fillna(0.0), both["time_after"].fillna(0.0)
    change = np.where(
        np.abs(new - old) <= NOTABLE * old, "same", np.where(new < old, "faster", "slower")
    ).astype(object)
    change[both["time_before"].isna()] = "appeared"
    change[both["time_after"].isna()] = "vanished"
    result = pd.DataFrame(
        {
            "name": both.index.astype(object),
            "family": both["family_after"].where(
                both["family_after"].notna(), both["family_before"]
            ),
            "before_us": old,
            "after_us": new,
            "change_us": new - old,
            "ratio": (new / old.where(old > 0)).to_numpy(),
            "before_calls": both["calls_before"].fillna(0.0),
            "after_calls": both["calls_after"].fillna(0.0),
            "change": change,
        }
    )
    order = np.lexsort((result["name"].astype(str), -result["change_us"].abs()))
    return result.iloc[order].reset_index(drop=True)


def _per_step(trace: Trace, by: str) -> pd.DataFrame:
    """Summed time, calls and family by name, divided by the number of steps."""
    parts = attribute(trace)
    on_gpu = not parts.gpu.empty
    frame = parts.gpu if on_gpu else parts.cpu
    family = "by_operator" if on_gpu and by != "kernel" else "by_kernel" if on_gpu else "family"
    column = {
        "operator": "operator" if on_gpu else "name", "kernel": "name", "family": family,
        "module": "module", "phase": "phase",
    }[by]  # fmt: skip
    steps = parts.steps
    count = 1
    if len(steps):
        low, high = windows(frame, steps) if on_gpu else (0.0, steps["dur"].to_numpy())
        steady = steps["step"].to_numpy()[~warm_up(high - low)]
        frame, count = frame[frame["step"].isin(steady)], len(steady)
    name = frame[column].astype(object).to_numpy()
    time = frame["dur" if on_gpu else "self_us"]
    rows = pd.DataFrame({"name": name, "family": frame[family].to_numpy(), "time": time.to_numpy()})
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
    sides = []
    for trace in (before, after):
        table = get_time(trace)
        steady = table[(table["step"] >= 0) & ~table["warm_up"]]
        times = steady if len(steady) else table
        sides.append(times.drop(columns=["step", "start_us", "warm_up"]).mean())
    old, new = sides
    return pd.DataFrame(
        {
            "name": [name.removesuffix("_us") for name in old.index],
            "before_us": old.to_numpy(),
            "after_us": new.to_numpy(),
            "change_us": (new - old).to_numpy(),
        }
    )
