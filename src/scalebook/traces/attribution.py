"""Which operator launched each GPU activity, and how long each operator itself ran.

A GPU activity and the runtime call that launched it share a correlation number;
the call lies, on its thread, within the operators that made it. Of those the
outermost whose name tells a family is taken: a copy that a convolution makes
for itself is convolution, a gradient copied for an all-reduce is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalebook.traces import families
from scalebook.traces.reading import Trace


@dataclass(frozen=True)
class Attribution:
    """GPU activities and CPU operators with what they belong to.

    Attributes
    ----------
    gpu : DataFrame
        Columns name, device, start, dur, kind, by_kernel, by_operator (families),
        operator (name of the one taken, else of the one around, untrusted; empty for none).
    cpu : DataFrame
        Operators: columns name, start, dur, self_us, outermost (bool), family, operator.
    """

    gpu: pd.DataFrame
    cpu: pd.DataFrame


def attribute(trace: Trace) -> Attribution:
    """Attribute every GPU activity and operator of a trace."""
    host = trace.of("operator", "annotation", "runtime").reset_index(drop=True)
    kind = host["kind"].to_numpy(object)
    own_family = _classified(host["name"], families.operator)
    # Collectives show as annotations: their time counts, that of other annotations does not.
    counted = (kind == "operator") | ((kind == "annotation") & (own_family == "communication"))
    recognised = np.array([family is not None for family in own_family], dtype=bool)
    owner, around, self_us = _nested(host, recognised, counted)
    family = _looked_up(own_family, owner, "other")
    operator = _looked_up(host["name"].to_numpy(object), np.where(owner < 0, around, owner), "")
    cpu = pd.DataFrame(
        {
            "name": host["name"],
            "start": host["start"],
            "dur": host["dur"],
            "self_us": self_us,
            "outermost": around < 0,
            "family": family,
            "operator": operator,
        }
    )[counted].reset_index(drop=True)

    gpu = trace.of("kernel", "copy", "set").reset_index(drop=True)
    launcher = _launcher(gpu, host)
    by_kernel = _classified(gpu["name"], families.kernel)
    by_kernel[gpu["kind"].isin(["copy", "set"]).to_numpy()] = "memory"
    by_operator = _looked_up(family, launcher, "other")
    # A collective is communication whoever asked for it.
    by_operator[by_kernel == "communication"] = "communication"
    gpu = gpu[["name", "device", "start", "dur", "kind"]].assign(
        by_kernel=by_kernel, by_operator=by_operator, operator=_looked_up(operator, launcher, "")
    )
    return Attribution(gpu, cpu)


def _classified(names: pd.Series, classify: Callable[[str], str | None]) -> np.ndarray:
    """Family of each name; every distinct name is looked at once."""
    codes, distinct = pd.factorize(names)
    known = np.empty(len(distinct), dtype=object)
    known[:] = [classify(name) for name in distinct]
    return known[codes] if len(codes) else np.empty(0, dtype=object)


def _looked_up(values: np.ndarray, position: np.ndarray, default: str) -> np.ndarray:
    """``values[position]``, with `default` where the position is -1."""
    result = np.full(len(position), default, dtype=object)
    found = position >= 0
    result[found] = values[position[found]]
    return result


def _nested(
    host: pd.DataFrame, recognised: np.ndarray, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nest the events of each thread by time.

    Returns
    -------
    owner : ndarray of int
        Position of the outermost enclosing event, or itself, that is recognised; -1 for none.
    around : ndarray of int
        Position of the innermost counted event that encloses it; -1 for none.
    self_us : ndarray of float
        Duration less that of the counted events directly inside.
    """
    size = len(host)
    if size == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    starts, durations = host["start"].to_numpy(), host["dur"].to_numpy()
    threads = pd.factorize(host["pid"] + "\0" + host["tid"])[0]
    is_call = (host["kind"] == "runtime").tolist()
    # Outer before inner: earlier first, then longer first, then as written.
    order = np.lexsort((-durations, starts, threads)).tolist()
    start, end = starts.tolist(), (starts + durations).tolist()
    thread, known, counts = threads.tolist(), recognised.tolist(), counted.tolist()
    self_us = durations.tolist()
    owner, around = [-1] * size, [-1] * size
    stack: list[int] = []
    current = -1
    for index in order:
        if thread[index] != current:
            current = thread[index]
            stack = []
        while stack and end[stack[-1]] <= start[index]:
            stack.pop()
        if stack:
            above = stack[-1]
            owner[index] = owner[above]
            around[index] = above if counts[above] else around[above]
        if owner[index] < 0 and known[index]:
            owner[index] = index
        outer = around[index]
        if counts[index] and outer >= 0:
            self_us[outer] -= min(end[index], end[outer]) - start[index]
        if not is_call[index]:
            stack.append(index)
    return np.array(owner), np.array(around), np.maximum(self_us, 0.0)


def _launcher(gpu: pd.DataFrame, host: pd.DataFrame) -> np.ndarray:
    """Position in `host` of what launched each activity: by correlation, else external id."""
    call = (host["kind"] == "runtime").to_numpy()
    launcher = _matched(gpu["correlation"], host["correlation"].where(call, -1))
    # Several writers put the correlation into the external id too: it comes second.
    operator = (host["kind"] == "operator").to_numpy()
    second = _matched(gpu["external"], host["external"].where(operator, -1))
    return np.where(launcher >= 0, launcher, second)


def _matched(wanted: pd.Series, keys: pd.Series) -> np.ndarray:
    """Position of the first equal key of each wanted one; -1 for none, and for negative ones."""
    first = pd.Series(np.arange(len(keys)), index=keys.to_numpy())
    first = first[(first.index >= 0) & ~first.index.duplicated()]
    positions = first.reindex(wanted.to_numpy())
    return positions.fillna(-1).to_numpy(np.int64)
