"""What encloses what on a thread, against looking at every pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scalebook.traces.nesting import TOLERANCE_US, nest

EVENT = st.tuples(
    st.integers(0, 1), st.integers(0, 30), st.integers(0, 12), st.booleans(), st.booleans()
)


def encloses(outer, inner) -> bool:
    lane, start, dur, leaf, _ = outer
    thread, begin, length, *_ = inner
    end, over = start + dur, begin + length
    return (
        lane == thread and not leaf and dur > 0
        and start <= begin < end and over - end <= TOLERANCE_US and end - begin > length / 2
    )  # fmt: skip


def brute_force(events) -> list[int]:
    """Parent of each: the shortest that encloses it and came before it, the last of those."""
    order = sorted(range(len(events)), key=lambda i: (*events[i][:2], -events[i][2]))
    parent, closed = [-1] * len(events), set()
    for place, index in enumerate(order):
        lane, begin, length, _, beside = events[index]
        before = [one for one in order[:place] if one not in closed and events[one][0] == lane]
        around = [one for one in before if encloses(events[one], events[index])]
        if around:
            parent[index] = min(reversed(around), key=lambda one: events[one][2])
        running = [one for one in before if not events[one][3] and sum(events[one][1:3]) > begin]
        if beside and running:
            end, over = sum(events[running[-1]][1:3]), begin + length
            if (
                end < over
                and not encloses(events[running[-1]], events[index])
                and end - begin > TOLERANCE_US
            ):
                closed.add(index)
    return parent


@given(st.lists(EVENT, max_size=14))
def test_the_parent_is_the_shortest_of_those_that_enclose(events):
    columns = [np.array(column) for column in zip(*events)] or [np.empty(0)] * 5
    lane, start, dur, leaf, beside = columns
    leaf, beside = leaf.astype(bool), beside.astype(bool)
    found = nest(lane.astype(int), start.astype(float), dur.astype(float), leaf, 0.0, beside)
    assert found.parent.tolist() == brute_force(events)
    for number, level in enumerate(found.levels):
        above = found.parent[level]
        assert (above < 0).all() if number == 0 else np.isin(above, found.levels[number - 1]).all()
