"""Traces that people met and that were once summed up wrongly, each with its right answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trace_events import kernel, launch, operator, write

from scalebook import traces
from scalebook.contract import ScalebookError
from scalebook.traces.backends import splitting

#: Invalid JSON by what is wrong with it, with the line.
INVALID = {
    "invalid_backslash": "line 19 is not valid JSON: a backslash is not escaped",
    "invalid_quote": "line 19 is not valid JSON: a quotation mark is not escaped",
    "invalid_na": "line 75 is not valid JSON: what stands there is no value",
    "invalid_control": "line 34 is not valid JSON: a line break, tab",
}
CASES = Path(__file__).parent / "cases"


def step(number: int, start: float, dur: float) -> dict:
    return operator(f"ProfilerStep#{number}", start, dur, cat="user_annotation")


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


# ------------------------------------------------------------------------- steps

LEFT = "GPU activities whose launch was not recorded"


def test_what_was_launched_before_the_recording_lengthens_no_step():
    answer = summary("leftover_launches")
    assert [one["span_us"] for one in answer["steps"]] == [1000, 1000]
    assert answer["notices"] == {LEFT: 30}
    assert f"30 {LEFT}" in traces.as_text(answer)


def test_steps_of_ranks_without_what_was_launched_before():
    answer = traces.summaries([CASES / f"left_rank{rank}.json" for rank in (0, 1)])
    assert [one["step_us"] for one in answer["job"]["ranks"]] == [1000, 1000]
    assert [one["notices"] for one in answer["files"]] == [{LEFT: 22}] * 2


def test_an_activity_without_a_launch_takes_the_step_before_it_in_its_stream(tmp_path):
    events = [step(1, 0, 100), step(2, 100, 100), launch(10, 1), launch(110, 2)]
    events += [kernel("a", 20, 5, 1), kernel("lost", 130, 5, 77), kernel("b", 150, 5, 2),
               kernel("lost", 160, 5, 78), kernel("early", 12, 5, 79)]  # fmt: skip
    trace = traces.read(write(tmp_path / "t.json", events))
    assert traces.get_attribution(trace)["step"].tolist() == [1, 1, 2, 2, -1]
    # Where no launch was recorded at all, the device's own times say it.
    trace = traces.read(write(tmp_path / "u.json", [step(1, 0, 100), kernel("a", 20, 5)]))
    assert traces.get_attribution(trace)["step"].tolist() == [1]
    assert traces.get_notices(trace) == {}


# ------------------------------------------------------------------------- families


def test_kernels_of_a_replayed_graph_go_by_their_names():
    answer = summary("graph_replay_gemm")
    assert answer["bound"] == "compute" and answer["by_operator"] == {"gemm": 4470}
    assert "For 100.0 % of GPU time no operator is known" in answer["verdict"]


def test_other_is_no_work_of_memory(tmp_path):
    events = [launch(10 * i, i) for i in range(9)]
    events += [kernel("mystery", 100 + 10 * i, 10, i) for i in range(9)]
    answer = traces.summary(write(tmp_path / "t.json", events))
    assert answer["bound"] == "unknown" and "is not known" in answer["verdict"]


def test_a_roofline_of_the_lesser_part_decides_nothing(tmp_path):
    shapes = {"Input Dims": [[4096], [4096]], "Input type": ["float"] * 2}
    events = [
        operator("aten::add", 0, 9, args=shapes), launch(1, 1), kernel("add", 20, 10, 1),
        operator("aten::mm", 10, 9), launch(11, 2), kernel("volta_sgemm", 30, 90, 2),
    ]  # fmt: skip
    document = {"traceEvents": events, "deviceProperties": [{"id": 0, "name": "Tesla T4"}]}
    answer = traces.summary(write(tmp_path / "t.json", document))
    assert answer["speed"]["memory_bound_share"] == 1 and answer["bound"] == "compute"


def test_what_took_no_time_has_no_verdict(tmp_path):
    answer = traces.summary(write(tmp_path / "t.json", [kernel("gemm", 1, 0)]))
    assert answer["bound"] == "unknown" and "took any time" in answer["verdict"]


@pytest.mark.parametrize("name", ["allreduce_custom", "allreduce_symmetric_memory"])
def test_a_collective_is_one_without_nccl(name):
    answer = summary(name)
    assert answer["time"]["communication_us"] == answer["by_kernel"]["communication"] == 1840
    assert answer["bound"] == "communication"


def test_attention_is_a_family_with_its_work():
    answer = summary("attention")
    assert answer["by_operator"] == {"attention": 300, "normalisation": 30}
    row = answer["roofline"][0]
    elements = 2 * 8 * 128 * 64
    assert row["kind"] == "attention" and row["flops"] == 4 * elements * 128
    assert row["bytes"] == 2 * 4 * elements
    norm = answer["roofline"][1]
    assert norm["kind"] == "normalisation" and norm["bytes"] == 2 * 4 * 8 * 1024


# ------------------------------------------------------------------------- times and launches


def test_a_kernel_at_time_zero_is_dropped_and_counted():
    answer = summary("kernel_at_time_zero")
    assert answer["time"]["span_us"] == 3840 and answer["dropped"] == {"no usable time": 1}


def test_whole_numbers_keep_their_digits_beyond_those_of_a_float():
    answer = summary("times_above_2_53")
    assert answer["time"]["span_us"] == 16 and answer["time"]["busy_us"] == 12


def test_times_written_as_text_are_read():
    answer = summary("times_as_text")
    assert answer["time"]["span_us"] == 3840 and answer["total_us"] == 2400
    assert answer["events"] == 64 and answer["dropped"] == {}


def test_calls_of_another_runtime_launch_as_well():
    answer = summary("xpu_runtime")
    assert answer["launch"][0]["launched"] == 20 and answer["idle"]["host_us"] == 3800


def test_a_kernel_that_only_copies_is_a_copy(tmp_path):
    events = [kernel("__amd_rocclr_copyBuffer", 0, 30), kernel("volta_sgemm", 40, 10)]
    answer = traces.summary(write(tmp_path / "t.json", events))
    assert answer["time"]["memory_us"] == 30 and answer["time"]["compute_us"] == 10


def test_two_processes_with_equal_correlations_launch_their_own(tmp_path):
    events = []
    for number in range(5):
        for process, name, device in ((5, "aten::mm", 0), (6, "aten::relu", 1)):
            at = 100 * number + device
            one = [operator(name, at, 20), launch(at + 2, number)]
            events += [{**event, "pid": process} for event in one]
            events += [kernel("k", at + 30, 10 + device, number, device)]
    events += [{**operator("aten::mm", 900, 20), "pid": 5}, {**launch(905, 77), "pid": 5}]
    events += [kernel("k", 930, 10, 77, 0)]
    trace = traces.read(write(tmp_path / "t.json", events))
    table = traces.get_attribution(trace)
    assert table.groupby("device")["operator"].unique().map(list).to_dict() == {
        0: ["aten::mm"],
        1: ["aten::relu"],
    }


# ------------------------------------------------------------------------- what is not read


@pytest.mark.parametrize(("name", "said"), INVALID.items())
def test_the_line_of_invalid_json_is_named_with_its_cause(name, said):
    with pytest.raises(ScalebookError, match=said):
        summary(name)


def test_invalid_json_far_inside_a_large_trace_is_no_torn_file(tmp_path, monkeypatch):
    monkeypatch.setattr(splitting, "CHUNK", 256)
    monkeypatch.setattr(splitting, "SUSPICIOUS", 1024)
    lines = [json.dumps(kernel("gemm", 10 * at, 5, at)) for at in range(100)]
    lines[60] = lines[60].replace('"stream": 7', '"stream": N/A')
    path = write(tmp_path / "t.json", ("[" + ",\n".join(lines) + "]").encode())
    with pytest.raises(ScalebookError, match="line 61 is not valid JSON: what stands there"):
        traces.summary(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_category", r"left out: 50 without a category \(cat\)\. Is it a trace"),
        ("jax_chrome", r"left out: 21 without a category \(cat\), as XLA \(JAX"),
        ("begin_end_pairs", r"left out: 2 begin or end alone \(ph B, E\)"),
        ("list_of_strings", "left out: 2 not an event"),
    ],
)
def test_a_file_without_anything_to_sum_up_says_what_it_holds(name, said):
    with pytest.raises(ScalebookError, match=said):
        summary(name)


def test_launches_without_what_they_launched_are_no_run_of_a_cpu():
    answer = summary("launches_without_kernels")
    assert answer["bound"] == "unknown"
    assert "20 launch calls were recorded and no GPU activity" in answer["verdict"]


def test_events_of_a_device_that_is_not_known_are_counted():
    answer = summary("unknown_device")
    assert answer["bound"] == "unknown" and "40 events of categories" in answer["verdict"]
    assert answer["not_read"] == {"mtia_runtime": 20, "mtia_ccp_events": 20}
    assert "20 mtia_runtime" in traces.as_text(answer)


def test_categories_that_are_known_and_not_needed_leave_the_verdict(tmp_path):
    events = [
        operator("aten::mm", 0, 50),
        operator("sum.py(3): f", 0, 60, cat="python_function"),
        operator("x", 0, 9, cat="overhead"),
    ]
    answer = traces.summary(write(tmp_path / "t.json", events))
    assert answer["not_read"] == {"python_function": 1, "overhead": 1}
    assert answer["notices"] == {} and answer["bound"] == "compute"


def test_kernels_that_overlap_on_a_stream_are_counted(tmp_path):
    events = [kernel("gemm", 0, 10, 1), kernel("gemm", 5, 10, 2), kernel("gemm", 14.5, 10, 3)]
    answer = traces.summary(write(tmp_path / "t.json", events))
    assert answer["notices"] == {"kernels that overlap on one stream": 1}
