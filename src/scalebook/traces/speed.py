"""How near operators come to what the device can do: the roofline, and the best step."""

import re
from typing import Any

import numpy as np
import pandas as pd

from scalebook.traces import peaks, work
from scalebook.traces.attribution import answered, attribute
from scalebook.traces.nesting import Nesting, values_at
from scalebook.traces.peaks import Peak
from scalebook.traces.times import get_time, steady
from scalebook.traces.trace import Trace

# Kernels that round fp32 to tf32 for the matrix units.
_TF32 = re.compile(r"tf32|s1688|s161616", re.IGNORECASE)

#: Kinds of work that matrix units do; the others run at the rate of the vector units.
PRODUCTS = ("convolution", "gemm", "attention")

COLUMNS = [
    "operator", "shapes", "kind", "phase", "precision", "calls", "time_us", "flops", "bytes",
    "intensity", "tflops", "gb_s", "best_us", "bound", "efficiency",
]  # fmt: skip


def get_peak(trace: Trace) -> Peak | None:
    """Peak of the GPU that worked most, by its name; None where it is not known."""
    gpu = attribute(trace).gpu
    names = {device["id"]: device["name"] for device in trace.devices}
    if gpu.empty or not names:
        return None
    busiest = int(gpu["dur"].groupby(gpu["device"]).sum().idxmax())
    return peaks.known(names.get(busiest, next(iter(names.values()))))


def get_speed(trace: Trace, peak: Peak | None = None) -> pd.DataFrame:
    """Operators against the roofline: one row an operator, shapes and phase.

    Parameters
    ----------
    trace : Trace
        Recorded with shapes.
    peak : Peak, optional
        Of the device; that of `get_peak` where left out.

    Returns
    -------
    DataFrame
        Longest first: operator, shapes (text), kind, phase, precision (tf32 where kernel names
        say so), calls, time_us (of its kernels; on a CPU its own), flops and bytes (of all
        calls, the least traffic there is), intensity (flops a byte), tflops and gb_s achieved,
        best_us (the longer of arithmetic and traffic at peak; NaN without a peak), bound
        ("compute" or "memory"), efficiency (best_us / time_us). Operators whose work cannot be
        told from shapes are one last row without figures.
    """
    parts = attribute(trace)
    peak = peak or get_peak(trace)
    host = parts.host
    works = _works(trace, host)
    known = pd.notna(works)
    calls = _counted(host, known, works, parts.tree)
    where = parts.tree.innermost(np.where(calls, np.arange(len(host)), -1))
    frame = parts.work
    place = values_at(where, frame["launcher"].to_numpy(), -1)
    duration = frame["time"].to_numpy()
    time = np.bincount(place[place >= 0], duration[place >= 0], minlength=len(host))
    tensor = np.zeros(len(host), dtype=bool)
    if parts.on_gpu and calls.any():
        names = frame["name"].cat
        rounded = np.array([bool(_TF32.search(name)) for name in names.categories], dtype=bool)
        tensor[place[rounded[names.codes.to_numpy()] & (place >= 0)]] = True
    mine = host.loc[calls, ["name", "shape", "phase"]].astype({"name": object})
    done = pd.DataFrame(works[calls].tolist(), columns=work.Work._fields, index=mine.index)
    rows = mine.rename(columns={"name": "operator"}).join(done).assign(time_us=time[calls])
    rows.loc[tensor[calls] & (rows["precision"] == "fp32"), "precision"] = "tf32"
    keys = ["operator", "shape", "phase", "kind", "precision"]
    table = rows.groupby(keys, sort=False, as_index=False).agg(
        calls=("flops", "size"),
        time_us=("time_us", "sum"),
        flops=("flops", "sum"),
        bytes=("bytes", "sum"),
    )
    # What ran for no time on the device was answered without it.
    table = table[table["time_us"] > 0]
    table["shapes"] = [shapes_text(trace.shapes[int(code)][0]) for code in table["shape"]]
    table = _placed(table, peak).sort_values("time_us", ascending=False, kind="stable")
    rest = float(duration[place < 0].sum())
    if rest > 0:
        texts = ("operator", "shapes", "kind", "phase", "precision", "bound")
        last: dict[str, object] = dict.fromkeys(texts, "")
        last |= {"calls": int(np.count_nonzero(place < 0)), "time_us": rest}
        table = pd.concat([table, pd.DataFrame([last])], ignore_index=True)
    return table.reindex(columns=COLUMNS).reset_index(drop=True)


def get_speed_summary(trace: Trace, peak: Peak | None = None) -> pd.DataFrame:
    """A step against the speed of light: one row.

    Returns
    -------
    DataFrame
        Columns device, source, steps; step_us (mean, without warm-up), flops and bytes a step,
        known_share (of the time in operators whose work is known), tflops, mfu (share of the
        peak of each operation's kind and precision, over the whole step), best_us (the step if each
        known operator ran at its roofline, the others as they did, without waiting). NaN for
        what is not known; no row where no shapes were recorded.
    """
    peak = peak or get_peak(trace)
    return summed(trace, peak, get_speed(trace, peak))


def summed(trace: Trace, peak: Peak | None, table: pd.DataFrame) -> pd.DataFrame:
    """`get_speed_summary` from what `get_speed` answered."""
    columns = ["device", "source", "steps", "step_us", "flops", "bytes", "known_share", "tflops",
               "mfu", "best_us"]  # fmt: skip
    known = table[table["flops"].notna()]
    if known.empty:
        return pd.DataFrame(columns=columns)
    times = get_time(trace)
    steps = times[times["step"] >= 0]
    count = max(1, len(steps))
    step_us = float(steady(times)["span_us"].mean())
    flops = float(known["flops"].sum()) / count
    rest = float(table["time_us"].sum() - known["time_us"].sum())
    row = {
        "device": peak.device if peak else None,
        "source": f"{peak.source}, {peak.date}" if peak else None,
        "steps": len(steps),
        "step_us": step_us,
        "flops": flops,
        "bytes": float(known["bytes"].sum()) / count,
        "known_share": float(known["time_us"].sum() / table["time_us"].sum()),
        "tflops": flops / step_us / 1e6 if step_us > 0 else np.nan,
        "mfu": np.nan,
        "best_us": np.nan,
    }
    if peak and step_us > 0:
        at_peak = float((known["flops"] / _rates(known, peak)).sum())
        row["mfu"] = at_peak / count / step_us
        row["best_us"] = (float(known["best_us"].clip(upper=known["time_us"]).sum()) + rest) / count
    return pd.DataFrame([row], columns=columns)


def _works(trace: Trace, host: pd.DataFrame) -> np.ndarray:
    """Work of each operator with shapes; None for the others. Each kind of call once."""
    shaped = (host["shape"] >= 0) & (host["kind"] == "operator")
    names, shapes = host["name"].cat.categories, max(1, len(trace.shapes))
    calls = host["name"].cat.codes.astype(np.int64) * shapes + host["shape"]

    def done(call: int) -> work.Work | None:
        return work.of(names[call // shapes], trace.shapes[call % shapes])

    return answered(calls.where(shaped, -1).to_numpy(), done, None)


def _counted(host: pd.DataFrame, known: np.ndarray, works: np.ndarray, tree: Nesting) -> np.ndarray:
    """Which calls count: where calls of one kind nest, only the innermost.

    Attention that is made of products is counted as these.
    """
    around = tree.above(tree.innermost(np.where(known, np.arange(len(host)), -1)))
    counted = known.copy()
    for index in np.flatnonzero(known & (around >= 0)):
        kinds = works[around[index]].kind, works[index].kind
        if kinds[0] == kinds[1] or kinds == ("attention", "gemm"):
            counted[around[index]] = False
    return counted


def _placed(table: pd.DataFrame, peak: Peak | None) -> pd.DataFrame:
    table["intensity"] = table["flops"] / table["bytes"]
    table["tflops"] = table["flops"] / table["time_us"] / 1e6
    table["gb_s"] = table["bytes"] / table["time_us"] / 1e3
    if peak is None:
        return table.assign(best_us=np.nan, bound="", efficiency=np.nan)
    arithmetic = table["flops"] / _rates(table, peak)
    traffic = table["bytes"] / (peak.memory_gb_s * 1e3)
    table["best_us"] = np.maximum(arithmetic, traffic)
    table["bound"] = np.where(arithmetic > traffic, "compute", "memory")
    table["efficiency"] = table["best_us"] / table["time_us"]
    return table


def _rates(table: pd.DataFrame, peak: Peak) -> np.ndarray:
    """Operations a µs that the device could do of each row's kind and precision."""
    products = table["kind"].isin(PRODUCTS)
    rates = [peak.of(*row) for row in zip(table["precision"], products)]
    return np.array(rates, dtype=float) * 1e6


def shapes_text(dims: list[Any]) -> str:
    """Shapes of the arguments in a short line."""
    parts = []
    for shape in dims:
        if isinstance(shape, list) and shape:
            parts.append(
                f"{len(shape)} tensors" if isinstance(shape[0], list) else "×".join(map(str, shape))
            )
    return ", ".join(parts)[:120]
