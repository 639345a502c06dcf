"""Several traces as one job: who waits for whom, and how fast messages travel."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scalebook.contract import ScalebookError
from scalebook.traces import work
from scalebook.traces.attribution import Attribution, attribute
from scalebook.traces.nesting import values_at
from scalebook.traces.reading import read
from scalebook.traces.times import get_time, steady
from scalebook.traces.trace import Shape, Trace

_RANK = re.compile(r"(?:^|[_.-])rank[_-]?(\d{1,6})(?!\d)")

#: Names of collectives in kernels, annotations and messages; the first found decides.
_KINDS = (
    (r"all_?reduce|cross_device_reduce", "all_reduce"), (r"reduce_?scatter", "reduce_scatter"),
    (r"all_?gather", "all_gather"), (r"all_?to_?all|sendrecv|deep_ep", "all_to_all"),
    (r"broadcast", "broadcast"), (r"barrier", "barrier"), (r"reduce", "reduce"),
    (r"gather", "gather"), (r"scatter", "scatter"), (r"send", "send"), (r"recv", "recv"),
)  # fmt: skip
#: Bytes on the wire of a rank for each byte of the message, of n ranks (as nccl-tests has it).
_BUS: dict[str, Callable[[int], float]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0,
    "reduce": lambda n: 1.0,
}
_CALL = re.compile(r"^(nccl|rccl|hccl|xccl|gloo|mpi|ucc):")


def rank_of(trace: Trace, name: str) -> int | None:
    """Rank of a trace: as it says, else as its file is named."""
    if trace.rank is not None:
        return trace.rank
    named = _RANK.search(name)
    return int(named[1]) if named else None


def read_job(paths: list[Path]) -> dict[int, Trace]:
    """Read the traces of one job by rank.

    Raises
    ------
    ScalebookError
        If a file cannot be read, its rank is not known, or two files do not belong together.
    """
    return as_job([(path.name, read(path)) for path in paths])


def as_job(traces: Iterable[tuple[str, Trace]]) -> dict[int, Trace]:
    """Traces by rank, from traces with the names of their files; raises as `read_job`."""
    job: dict[int, Trace] = {}
    names: dict[int, str] = {}
    for name, trace in traces:
        rank = rank_of(trace, name)
        if rank is None:
            raise ScalebookError(
                f"{name}: says no rank; name it ..._rank<number>.json to compare ranks"
            )
        if rank in job:
            raise ScalebookError(f"{name}: is of rank {rank}, as is {names[rank]}")
        job[rank], names[rank] = trace, name
    sizes = {trace.world_size for trace in job.values() if trace.world_size is not None}
    if len(sizes) > 1:
        raise ScalebookError(
            f"the traces are of jobs with {' and '.join(map(str, sorted(sizes)))} ranks; "
            "compare ranks of one job"
        )
    return dict(sorted(job.items()))


def get_collectives(job: Mapping[int, Trace]) -> pd.DataFrame:
    """Every collective at every rank, on one clock.

    See `match` for how calls are matched and clocks set; calls that are not
    found at all ranks are left out.

    Returns
    -------
    DataFrame
        One row a call and rank: columns step (of the lowest rank), kind, number (count within
        the kind), rank, start_us and dur_us (on the common clock), wait_us (until the last of
        the ranks here came), last_rank (the one that came last), transfer_us (from then to the
        end), bytes (message; NaN: not recorded), group_size, complete (all ranks of the group
        are here), algbw_gb_s, busbw_gb_s (NaN: unknown; where ranks are missing at least so much).
    """
    calls = _all_calls(job)
    columns = ["step", "kind", "number", "rank", "start_us", "dur_us", "wait_us", "last_rank",
               "transfer_us", "bytes", "group_size", "complete", "algbw_gb_s",
               "busbw_gb_s"]  # fmt: skip
    key = ["kind", "number"]
    calls, clocks = match(calls)
    if calls.empty:
        return pd.DataFrame(columns=columns)
    calls["step"] = calls.groupby(key)["step"].transform("first")
    calls["start_us"] -= calls["rank"].map(clocks)
    calls["end_us"] -= calls["rank"].map(clocks)
    groups = calls.groupby(key, sort=False)
    came, over = groups["start_us"].transform("max"), groups["end_us"].transform("median")
    calls["wait_us"] = np.clip(came - calls["start_us"], 0.0, calls["dur_us"])
    last = calls.loc[groups["start_us"].idxmax(), [*key, "rank"]]
    calls = calls.merge(last.rename(columns={"rank": "last_rank"}), on=key, how="left")
    calls["transfer_us"] = np.maximum(over - came, 0.0).to_numpy()
    calls["complete"] = calls["group_size"] <= len(job)
    calls["algbw_gb_s"] = (
        calls["bytes"] / calls["transfer_us"].where(calls["transfer_us"] > 0) / 1e3
    )
    factor = [
        _BUS[kind](size) if kind in _BUS and size > 1 else np.nan
        for kind, size in zip(calls["kind"], calls["group_size"])
    ]
    calls["busbw_gb_s"] = calls["algbw_gb_s"] * factor
    first = calls["start_us"].min()
    calls["start_us"] -= first
    return calls.sort_values(["start_us", "rank"], kind="stable")[columns].reset_index(drop=True)


def get_collective_summary(job: Mapping[int, Trace]) -> pd.DataFrame:
    """Collectives by kind and size, most bytes first.

    Returns
    -------
    DataFrame
        Columns kind, bytes (NaN: not recorded), calls, total_bytes, wait_us (mean of a call and
        rank), transfer_us and busbw_gb_s (medians), complete.
    """
    calls = get_collectives(job)
    columns = ["kind", "bytes", "calls", "total_bytes", "wait_us", "transfer_us", "busbw_gb_s",
               "complete"]  # fmt: skip
    if calls.empty:
        return pd.DataFrame(columns=columns)
    # Ranks may name different sizes for one call: its largest counts.
    calls["bytes"] = calls.groupby(["kind", "number"])["bytes"].transform("max")
    table = calls.groupby(["kind", "bytes"], dropna=False, as_index=False).agg(
        calls=("number", "nunique"),
        wait_us=("wait_us", "mean"),
        transfer_us=("transfer_us", "median"),
        busbw_gb_s=("busbw_gb_s", "median"),
        complete=("complete", "all"),
    )
    table["total_bytes"] = table["bytes"] * table["calls"]
    order = table.sort_values(["total_bytes", "kind"], ascending=[False, True], kind="stable")
    return order[columns].reset_index(drop=True)


def get_ranks(job: Mapping[int, Trace]) -> pd.DataFrame:
    """How the work is spread: one row a rank, times of a mean step (of all where none is marked).

    Returns
    -------
    DataFrame
        Columns rank, steps, step_us, busy_us, compute_us, communication_us, exposed_us, idle_us;
        wait_us (in collectives, for the last rank to come), awaited_us (that others waited for
        this one); load (compute over the mean of all ranks), clock_us (its clock against the
        lowest rank's), straggler (bool: most awaited, for over 5 % of a step).
    """
    collectives = get_collectives(job)
    rows = []
    for rank, trace in job.items():
        times = get_time(trace)
        steps, counted = times[times["step"] >= 0], steady(times)
        mean = counted.mean()
        used = collectives["step"].isin(counted["step"]) | steps.empty
        mine = collectives[used]
        waits = mine[mine["rank"] == rank]["wait_us"].sum()
        awaited = mine[(mine["last_rank"] == rank) & (mine["rank"] != rank)]["wait_us"].sum()
        rows.append(
            {
                "rank": rank,
                "steps": len(steps),
                "step_us": mean["span_us"],
                **mean[["busy_us", "compute_us", "communication_us", "exposed_us", "idle_us"]],
                "wait_us": waits / len(counted),
                "awaited_us": awaited / len(counted),
            }
        )
    table = pd.DataFrame(rows)
    table["load"] = table["compute_us"] / max(table["compute_us"].mean(), 1e-9)
    table["clock_us"] = table["rank"].map(get_clocks(job))
    share = table["awaited_us"] / (max(1, len(job) - 1) * table["step_us"])
    table["straggler"] = (table["awaited_us"] == table["awaited_us"].max()) & (share > 0.05)
    return table


def get_clocks(job: Mapping[int, Trace]) -> dict[int, float]:
    """Each rank's clock less the lowest rank's, in µs, by the ends of collectives; 0 if unknown."""
    calls = _all_calls(job)
    return dict.fromkeys(job, 0.0) | (match(calls)[1] if len(calls) else {})


def _all_calls(job: Mapping[int, Trace]) -> pd.DataFrame:
    """Collectives of all ranks, each on its own clock, counted from the earliest event."""
    # As whole nanoseconds the times of day keep their digits until this is taken off.
    origin = min(trace.origin_ns for trace in job.values())
    calls = pd.concat(
        [_calls(trace, len(job), origin).assign(rank=rank) for rank, trace in job.items()],
        ignore_index=True,
    )
    calls["end_us"] = calls["start_us"] + calls["dur_us"]
    return calls


def _calls(trace: Trace, ranks: int, origin: int) -> pd.DataFrame:
    """Collectives of one rank, in time: step, kind, start_us (its own clock), size."""
    parts = attribute(trace)
    frame, place = _activities(parts)
    host_names = parts.host["name"].astype(object).to_numpy()
    kinds, sizes, groups = [], [], []
    shapes = parts.host["shape"].to_numpy()
    for name, message, position in zip(frame["name"], frame["message"], place):
        sent = trace.messages[message] if message >= 0 else {}
        caller = host_names[position] if position >= 0 else ""
        kind = _kind(str(sent.get("collective") or "")) or _kind(caller) or _kind(name)
        group = sent.get("group_size")
        group = group if type(group) is int and group > 0 else trace.world_size or ranks
        size = _message_bytes(kind, sent)
        if np.isnan(size) and position >= 0 and shapes[position] >= 0:
            size = _shape_bytes(kind, trace.shapes[shapes[position]], group)
        kinds.append(kind or "other")
        sizes.append(size)
        groups.append(group)
    result = pd.DataFrame(
        {
            "step": frame["step"].to_numpy(),
            "kind": kinds,
            "start_us": frame["start"].to_numpy() + (trace.origin_ns - origin) / 1e3,
            "dur_us": frame["dur"].to_numpy(),
            "bytes": np.array(sizes, dtype=float),
            "group_size": np.array(groups, dtype=np.int64),
        }
    )
    return result.sort_values("start_us", kind="stable").reset_index(drop=True)


def _activities(parts: Attribution) -> tuple[pd.DataFrame, np.ndarray]:
    """Collectives as they ran, and the host's call of each (position; -1: none)."""
    calls = parts.host["name"].astype(object).str.match(_CALL).to_numpy(bool)
    everyone = np.arange(len(parts.host))
    around = parts.tree.innermost(np.where(calls, everyone, -1))
    if parts.on_gpu:
        gpu = parts.gpu
        frame = gpu[(gpu["by_kernel"] == "communication") & (gpu["kind"] == "kernel")]
        return frame, values_at(around, frame["launcher"].to_numpy(), -1)
    frame = parts.cpu[calls[parts.cpu["launcher"].to_numpy()]]
    return frame, frame["launcher"].to_numpy()


def _kind(name: str) -> str | None:
    lower = name.lower()[:200]
    return next((kind for pattern, kind in _KINDS if re.search(pattern, lower)), None)


def _message_bytes(kind: str | None, message: dict[str, Any]) -> float:
    """Size of a message as the trace's collectives say it; NaN where they do not."""
    size = work.size_of(message.get("dtype"))
    inward, outward = (message.get(key) or 0 for key in ("elements_in", "elements_out"))
    if size is None or not all(type(count) is int and count > 0 for count in (inward, outward)):
        return np.nan
    return float(size * (outward if kind == "all_gather" else inward))


def _shape_bytes(kind: str | None, shape: Shape, group: int) -> float:
    """Size of a message by the shape of what was sent; NaN where that does not say it."""
    dims, types, _ = shape
    size = work.size_of(types[0]) if types else None
    count = work.elements(dims[0]) if dims else 0
    if size is None or count == 0:
        return np.nan
    return float(size * count * (group if kind == "all_gather" else 1))


# --------------------------------------------------------------------------- matching and clocks

#: Collectives that no rank leaves before the last has come.
SYNCHRONISING = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "barrier")
#: Collectives in which every rank names the same size.
_EQUAL = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce")

#: Ends of one call lie within this of each other, once the clocks agree.
TOLERANCE_US = 1000.0
_CALLS = 300


def match(calls: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, float]]:
    """Number the calls so that equal numbers of a kind are one call, and compare the clocks.

    The n-th call of a kind at one rank is the n-th at the others, unless counts, sizes or ends
    speak against it. Then the n-th of a size is that of the others: calls on several threads may
    begin in another order at each rank. Where that does not hold either, since a trace may have
    lost some, calls are one whose ends coincide.

    Parameters
    ----------
    calls : DataFrame
        Columns rank, kind, bytes, end_us, in time.

    Returns
    -------
    DataFrame
        The calls found at all ranks, with a column number.
    dict of int to float
        Each rank's clock less the lowest rank's, in µs; 0 where nothing tells.
    """
    ranks = sorted(calls["rank"].unique())
    calls = calls.assign(number=calls.groupby(["rank", "kind"]).cumcount())
    orderly: list[pd.DataFrame] = []
    others: list[pd.DataFrame] = []
    for _, mine in calls.groupby("kind", sort=True):
        mine = mine if _in_order(mine, ranks) else _by_size(mine, ranks)
        (orderly if _in_order(mine, ranks) else others).append(mine)
    clocks = dict.fromkeys(ranks, 0.0)
    matched = [mine for mine in orderly if mine["kind"].iat[0] in SYNCHRONISING]
    rest = [mine for mine in others if mine["kind"].iat[0] in SYNCHRONISING]
    if matched or not rest:
        known = pd.concat(matched or orderly) if matched or orderly else calls[:0]
        ends = known.pivot_table(index=["kind", "number"], columns="rank", values="end_us")
        clocks |= (
            ends.sub(ends[ranks[0]], axis=0).median().fillna(0.0).to_dict() if len(ends) else {}
        )
    else:
        clocks |= {rank: _vote(pd.concat(rest), ranks[0], rank) for rank in ranks[1:]}
    orderly += [_by_ends(mine, ranks, clocks) for mine in rest]
    numbered = pd.concat(orderly) if orderly else calls[:0]
    complete = numbered.groupby(["kind", "number"])["rank"].transform("size") == len(ranks)
    return numbered[complete].sort_index().reset_index(drop=True), clocks


def _in_order(calls: pd.DataFrame, ranks: list[int]) -> bool:
    """Whether calls of one kind can be matched by their order alone."""
    if (
        calls["rank"].value_counts().reindex(ranks, fill_value=0) != calls["number"].max() + 1
    ).any():
        return False
    kind = calls["kind"].iat[0]
    sizes = calls.pivot(index="number", columns="rank", values="bytes")
    if kind in _EQUAL and (sizes.sub(sizes[ranks[0]], axis=0).abs() > 0).to_numpy().any():
        return False
    ends = calls.pivot(index="number", columns="rank", values="end_us")
    if kind not in SYNCHRONISING or len(ends) < 3:
        return True
    apart = ends.sub(ends[ranks[0]], axis=0)
    spread = (apart - apart.median()).abs().median().max()
    pace = float(np.median(np.diff(ends[ranks[0]])))
    return bool(spread <= max(TOLERANCE_US, 0.1 * pace))


def _by_size(calls: pd.DataFrame, ranks: list[int]) -> pd.DataFrame:
    """Number calls of one kind size by size, in the order of the lowest rank's first of each."""
    if calls["bytes"].isna().any():
        return calls
    place = calls.groupby(["rank", "bytes"]).cumcount()
    keys = pd.MultiIndex.from_arrays([calls["bytes"], place])
    first = keys[(calls["rank"] == ranks[0]).to_numpy()]
    number = pd.Series(np.arange(len(first)), index=first).reindex(keys)
    return calls if number.isna().any() else calls.assign(number=number.to_numpy(np.int64))


def _vote(calls: pd.DataFrame, one: int, other: int) -> float:
    """Difference of two clocks by which most ends of calls of one kind coincide."""
    apart = []
    for _, mine in calls.groupby("kind"):
        ends = [mine[mine["rank"] == rank]["end_us"].to_numpy()[:_CALLS] for rank in (one, other)]
        apart.append((ends[1][None, :] - ends[0][:, None]).ravel())
    ordered = np.sort(np.concatenate(apart))
    if len(ordered) == 0:
        return 0.0
    last = np.searchsorted(ordered, ordered + TOLERANCE_US, side="right")
    first = int(np.argmax(last - np.arange(len(ordered))))
    return float(np.median(ordered[first : last[first]]))


def _by_ends(calls: pd.DataFrame, ranks: list[int], clocks: dict[int, float]) -> pd.DataFrame:
    """Number calls of one kind after those of the lowest rank that end at the same time."""
    base = calls[calls["rank"] == ranks[0]]
    ends = base["end_us"].to_numpy()
    kept = [base]
    for rank in ranks[1:]:
        mine = calls[calls["rank"] == rank]
        when = mine["end_us"].to_numpy() - clocks[rank]
        if len(ends) == 0 or len(when) == 0:
            continue
        apart = np.abs(when[:, None] - ends[None, :])
        nearest = apart.argmin(axis=1)
        # Each takes the other for the nearest.
        mutual = apart.argmin(axis=0)[nearest] == np.arange(len(when))
        close = mutual & (apart[np.arange(len(when)), nearest] <= TOLERANCE_US)
        kept.append(mine[close].assign(number=base["number"].to_numpy()[nearest[close]]))
    return pd.concat(kept)
