"""Traces that people met and that were once summed up wrongly, each with its right answer."""

from __future__ import annotations

from pathlib import Path

from scalebook import traces

CASES = Path(__file__).parent / "cases"


def summary(name: str) -> dict:
    return traces.summary(CASES / f"{name}.json")


# ------------------------------------------------------------------------- nesting


def test_a_range_that_begins_as_another_ends_is_not_within_it():
    assert summary("one_us_overlap")["by_operator"] == {"gemm": 2400}


def test_ranges_that_intersect_take_nothing_from_each_other():
    answer = summary("optimizer_and_step_intersect")
    assert answer["by_operator"] == {"gemm": 2400} and "optimizer" not in answer["by_phase"]


def test_a_collective_goes_on_beside_what_its_thread_calls_next():
    answer = summary("async_ranges")
    assert answer["by_operator"]["gemm"] == 22500
    assert answer["time"]["span_us"] == 29015 and answer["time"]["busy_us"] == 27045
