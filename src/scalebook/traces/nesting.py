"""Which event encloses which, on one thread after the other."""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

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
        return np.where(self.parent >= 0, values[self.parent], -1)


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
    # Outer before inner: earlier first, then longer first, then as written.
    order = np.lexsort((-duration, start, lane))
    parent, depth = [-1] * size, [0] * size
    # What encloses an event: the thread itself, and what runs on it now. Those that end later
    # come first; of two, one that began later, ends later and is shorter stands for both.
    around, ends, lengths = [-1], [-np.inf], [np.inf]
    current = -1
    end = start + duration
    beside = np.zeros(size, dtype=bool) if beside is None else beside
    least = np.maximum(end - TOLERANCE_US, np.nextafter((start + end) / 2, np.inf))
    ordered = zip(
        order.tolist(),
        lane[order].tolist(),
        # Negated: ends that descend can then be searched as numbers that ascend.
        (-(start + resolution / 2))[order].tolist(),
        (-end)[order].tolist(),
        (-least)[order].tolist(),
        duration[order].tolist(),
        (leaf | (duration <= 0))[order].tolist(),
        beside[order].tolist(),
    )
    for index, thread, begin, over, enough, length, is_leaf, is_beside in ordered:
        if thread != current:
            current, around, ends, lengths = thread, [-1], [-np.inf], [np.inf]
        while ends[-1] >= begin:
            ends.pop()
            around.pop()
            lengths.pop()
        place = len(ends) if ends[-1] <= enough else bisect_right(ends, enough)
        above = parent[index] = around[place - 1]
        depth[index] = depth[above] + 1 if above >= 0 else 1
        if is_leaf or len(around) > DEEPEST:
            continue
        if is_beside and place < len(ends):
            opened = max(around[1:], key=lambda one: (start[one], -duration[one], one))
            if end[opened] < least[index] and end[opened] + begin > TOLERANCE_US:
                continue
        if ends[-1] > over:
            place = bisect_right(ends, over)
            while place < len(ends) and lengths[place] >= length:
                del ends[place], around[place], lengths[place]
            ends.insert(place, over)
            around.insert(place, index)
            lengths.insert(place, length)
        else:
            ends.append(over)
            around.append(index)
            lengths.append(length)
    deep = np.array(depth, dtype=np.int32)
    by_depth = np.argsort(deep, kind="stable")
    borders = np.flatnonzero(np.diff(deep[by_depth])) + 1
    return Nesting(np.array(parent, dtype=np.int64), np.split(by_depth, borders))
