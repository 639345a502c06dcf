"""Calls of collectives at different ranks that are one, and the clocks of the ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
    orderly, others = [], []
    for _, mine in calls.groupby("kind", sort=True):
        mine = mine if _in_order(mine, ranks) else _by_size(mine, ranks)
        (orderly if _in_order(mine, ranks) else others).append(mine)
    clocks = dict.fromkeys(ranks, 0.0)
    steady = [mine for mine in orderly if mine["kind"].iat[0] in SYNCHRONISING]
    rest = [mine for mine in others if mine["kind"].iat[0] in SYNCHRONISING]
    if steady or not rest:
        known = pd.concat(steady or orderly) if steady or orderly else calls[:0]
        ends = known.pivot_table(index=["kind", "number"], columns="rank", values="end_us")
        clocks |= (
            ends.sub(ends[ranks[0]], axis=0).median().fillna(0.0).to_dict() if len(ends) else {}
        )
    else:
        clocks |= {rank: _vote(pd.concat(rest), ranks[0], rank) for rank in ranks[1:]}
    orderly += [_by_ends(mine, ranks, clocks) for mine in rest]
    found = pd.concat(orderly) if orderly else calls[:0]
    complete = found.groupby(["kind", "number"])["rank"].transform("size") == len(ranks)
    return found[complete].sort_index().reset_index(drop=True), clocks


def _in_order(calls: pd.DataFrame, ranks: list[int]) -> bool:
    """Whether calls of one kind can be told by their order alone."""
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
