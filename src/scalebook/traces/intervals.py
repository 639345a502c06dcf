"""Arithmetic with sets of intervals: sorted arrays of starts and ends, in µs."""

import numpy as np

Intervals = tuple[np.ndarray, np.ndarray]


def union(start: np.ndarray, end: np.ndarray) -> Intervals:
    """Merge intervals that overlap or touch.

    Parameters
    ----------
    start, end : ndarray of float, shape (n,)
        In any order, ``end >= start``.

    Returns
    -------
    tuple of ndarray
        Starts and ends of disjoint intervals, ascending.
    """
    if len(start) == 0:
        return np.empty(0), np.empty(0)
    order = np.argsort(start, kind="stable")
    start = np.asarray(start, dtype=float)[order]
    reach = np.maximum.accumulate(np.asarray(end, dtype=float)[order])
    first = np.concatenate(([True], start[1:] > reach[:-1]))
    last = np.concatenate((first[1:], [True]))
    return start[first], reach[last]


def clipped(
    intervals: Intervals, low: float | np.ndarray, high: float | np.ndarray
) -> float | np.ndarray:
    """Length of disjoint intervals within ``low..high``, of each where these are arrays."""
    return _below(intervals, high) - _below(intervals, low)


def _below(intervals: Intervals, time: float | np.ndarray) -> float | np.ndarray:
    start, end = intervals
    if len(start) == 0:
        return np.zeros(np.shape(time))[()]
    before = np.concatenate(([0.0], np.cumsum(end - start)))
    place = np.searchsorted(start, time, side="right")
    last = np.maximum(place - 1, 0)
    # Within the interval that began last, what lies behind `time` does not count.
    return before[place] - np.where(place > 0, np.maximum(end[last] - time, 0.0), 0.0)


def joined(one: Intervals, other: Intervals) -> Intervals:
    """Union of two sets of disjoint intervals."""
    return union(np.concatenate((one[0], other[0])), np.concatenate((one[1], other[1])))
