"""Which event encloses which, on one thread after the other."""

from dataclasses import dataclass

import numpy as np

#: Events deeper than this enclose nothing: no thread calls so deep, only a made-up trace does.
DEEPEST = 1000


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
) -> Nesting:
    """Nest events by time.

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
    """
    size = len(start)
    # Outer before inner: earlier first, then longer first, then as written.
    order = np.lexsort((-duration, start, lane))
    parent, depth = [-1] * size, [0] * size
    around, ends = [-1], [np.inf]
    current = -1
    ordered = zip(
        order.tolist(),
        lane[order].tolist(),
        start[order].tolist(),
        (start + duration - resolution / 2)[order].tolist(),
        leaf[order].tolist(),
    )
    for index, thread, begin, end, is_leaf in ordered:
        if thread != current:
            current, around, ends = thread, [-1], [np.inf]
        while ends[-1] <= begin:
            ends.pop()
            around.pop()
        parent[index] = around[-1]
        depth[index] = len(around)
        if not is_leaf and len(around) <= DEEPEST:
            around.append(index)
            ends.append(end)
    deep = np.array(depth, dtype=np.int32)
    by_depth = np.argsort(deep, kind="stable")
    borders = np.flatnonzero(np.diff(deep[by_depth])) + 1
    return Nesting(np.array(parent, dtype=np.int64), np.split(by_depth, borders))
