"""Which event encloses which, on one thread after the other."""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from pandas.api.extensions import take

#: Events deeper than this enclose nothing: no thread calls so deep, only a made-up trace does.
DEEPEST = 1000
#: Writers round times: an event may end so much later than what encloses it.
TOLERANCE_US = 1.0


@dataclass(frozen=True)
class Nesting:
    """Events as trees, one or more for each thread.

    Attributes
    ----------
    parent : ndarray of int
        Position of the innermost event around each; -1 for none.
    levels : list of ndarray of int
        Positions by depth: first those without a parent, then their children, and so on.
    """

    parent: np.ndarray
    levels: list[np.ndarray]

    def innermost(self, own: np.ndarray) -> np.ndarray:
        """For each event the value of the nearest one, itself included, that has one (>= 0)."""
        values = own.copy()
        for level in self.levels[1:]:
            values[level] = np.where(own[level] >= 0, own[level], values[self.parent[level]])
        return values

    def outermost(self, own: np.ndarray) -> np.ndarray:
        """For each event the value of the farthest one around it, or itself, that has one."""
        values = own.copy()
        for level in self.levels[1:]:
            above = values[self.parent[level]]
            values[level] = np.where(above >= 0, above, own[level])
        return values

    def above(self, values: np.ndarray) -> np.ndarray:
        """The parent's value; -1 for events without a parent."""
        return values_at(values, self.parent, -1)


def values_at(values: np.ndarray, position: np.ndarray, missing: object) -> np.ndarray:
    """``values[position]``, and `missing` where the position is -1."""
    found: np.ndarray = take(values, position, allow_fill=True, fill_value=missing)
    return found


def nest(
    lane: np.ndarray,
    start: np.ndarray,
    duration: np.ndarray,
    leaf: np.ndarray,
    resolution: float = 0.0,
    beside: np.ndarray | None = None,
) -> Nesting:
    """Nest events by time: the parent of each is the shortest of those that enclose it.

    An event encloses what begins while it runs and ends no more than `TOLERANCE_US` after it,
    most of it within. Events that merely intersect take nothing from each other.

    Parameters
    ----------
    lane : ndarray of int
        Thread of each event; those of different threads do not nest.
    start, duration : ndarray of float
        When each ran.
    leaf : ndarray of bool
        Events that enclose nothing.
    resolution : float
        Finest difference the times can show: an event that ends less than half of it
        after another began ended before it.
    beside : ndarray of bool, optional
        Events that may go on beside their thread: one that outlives the last to begin of those
        that ran when it did encloses nothing.
    """
    size = len(start)
    parent, depth = [-1] * size, [0] * size
    end = start + duration
    beside = np.zeros(size, dtype=bool) if beside is None else beside
    least = np.maximum(end - TOLERANCE_US, np.nextafter((start + end) / 2, np.inf))
    # Outer before inner: earlier first, then longer first, then as written.
    order = np.lexsort((-duration, start, lane))
    columns = (lane, -(start + resolution / 2), -end, -least, duration, leaf | (duration <= 0),
               beside)  # fmt: skip
    running, current = _Running(), -1
    for index, thread, begin, over, enough, length, is_leaf, is_beside in zip(
        order.tolist(), *(column[order].tolist() for column in columns)
    ):
        if thread != current:
            running, current = _Running(), thread
        events, ends = running.events, running.ends
        if ends[-1] >= begin:
            running.leave(begin)
        place = len(ends) if ends[-1] <= enough else bisect_right(ends, enough)
        above = parent[index] = events[place - 1]
        depth[index] = depth[above] + 1 if above >= 0 else 1
        if is_leaf or len(events) > DEEPEST:
            continue
        if is_beside and place < len(ends):
            opened = max(events[1:], key=lambda event: (start[event], -duration[event], event))
            if end[opened] < least[index] and end[opened] + begin > TOLERANCE_US:
                continue
        running.enter(index, over, length)
    return Nesting(np.array(parent, dtype=np.int64), _levels(depth))


class _Running:
    """What encloses an event: the thread itself, and the events that run on it now.

    Those that end later come first; of two, one that began later, ends later and is shorter stands
    for both. Times are negated: ends that descend can then be searched as numbers that ascend.
    """

    __slots__ = ("ends", "events", "lengths")

    def __init__(self) -> None:
        self.events, self.ends, self.lengths = [-1], [-np.inf], [np.inf]

    def leave(self, begin: float) -> None:
        """Take away what ended before this time."""
        while self.ends[-1] >= begin:
            self.ends.pop()
            self.events.pop()
            self.lengths.pop()

    def enter(self, event: int, end: float, length: float) -> None:
        """Put an event that begins now at its place among those that run."""
        events, ends, lengths = self.events, self.ends, self.lengths
        place = len(ends) if ends[-1] <= end else bisect_right(ends, end)
        while place < len(ends) and lengths[place] >= length:
            del ends[place], events[place], lengths[place]
        ends.insert(place, end)
        events.insert(place, event)
        lengths.insert(place, length)


def _levels(depth: list[int]) -> list[np.ndarray]:
    """Events of each depth, the outermost first."""
    deep = np.array(depth, dtype=np.int32)
    by_depth = np.argsort(deep, kind="stable")
    return np.split(by_depth, np.flatnonzero(np.diff(deep[by_depth])) + 1)
