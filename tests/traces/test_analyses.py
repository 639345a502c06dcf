"""Time, launches, memory, differences and the speed of light, each against plain counting."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_events import kernel, launch, operator, write

from scalebook import traces
from scalebook.cli.command import main
from scalebook.contract import ScalebookError, UsageError
from scalebook.traces import attribution, intervals, peaks, times, work

# ------------------------------------------------------------------------- time


def step(number: int, start: float, dur: float) -> dict:
    return operator(f"ProfilerStep#{number}", start, dur, cat="user_annotation")


def read(tmp_path, events, name="t.json"):
    return traces.read(write(tmp_path / name, events))


def test_idle_time_is_split_by_what_ends_it(tmp_path):
    events = [
        launch(0, 1), kernel("a", 10, 10, 1),
        launch(5, 2), kernel("b", 25, 5, 2),  # queued, 5 µs later: the device's own gap
        launch(40, 3), kernel("c", 50, 10, 3),  # launched after b ended: the host was late
        launch(12, 4), kernel("d", 100, 10, 4),  # queued for long, and yet late: the rest
        kernel("e", 112, 8, 99),  # nothing tells who launched it
    ]  # fmt: skip
    row = traces.get_time(read(tmp_path, events)).iloc[-1]
    assert (row["span_us"], row["busy_us"], row["idle_us"]) == (110, 43, 67)
    assert (row["gap_us"], row["host_us"], row["rest_us"]) == (5, 20, 42)


def test_idle_time_while_the_host_waits_for_data_is_input(tmp_path):
    loader = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
    events = [operator(loader, 15, 30, cat="user_annotation"), launch(0, 1), launch(48, 2),
              kernel("a", 10, 10, 1), kernel("b", 50, 10, 2)]  # fmt: skip
    assert traces.get_time(read(tmp_path, events)).iloc[-1]["input_us"] == 25


def test_a_step_of_the_device_is_not_that_of_the_host(tmp_path):
    events = [step(1, 0, 100), step(2, 100, 100), step(3, 200, 100)]
    events += [operator("aten::mm", 100 * i + 5, 20) for i in range(3)]
    events += [launch(100 * i + 10, i + 1) for i in range(3)]
    # The device is far behind the host.
    events += [kernel("sgemm", 150 + 200 * i, 180, i + 1) for i in range(3)]
    table = traces.get_time(read(tmp_path, events)).set_index("step")
    assert table.loc[[1, 2, 3], "span_us"].tolist() == [200, 200, 180]
    assert table.loc[[1, 2, 3], "busy_us"].tolist() == [180, 180, 180]
    assert table.loc[[1, 2, 3], "dur_us"].tolist() == [100, 100, 100]


def test_slow_first_steps_are_warm_up():
    assert times.warm_up(np.array([900, 300, 100, 100, 400, 100])).tolist() == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    assert not times.warm_up(np.array([900, 100])).any()


ACTIVITIES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 15), st.sampled_from("gnm"), st.integers(0, 1)),
    min_size=1,
    max_size=20,
)


@pytest.mark.slow
@settings(max_examples=40)
@given(ACTIVITIES, st.integers(5, 50))
def test_times_of_steps_agree_with_counting_cells(tmp_path_factory, spans, cut):
    names = {"g": "volta_sgemm", "n": "ncclKernel", "m": "Memcpy"}
    events = [operator("aten::mm", at, 0.5, tid=9) for at in (0,)]
    for number, (start, dur, what, device) in enumerate(spans, 1):
        event = kernel(names[what], 1000 + start, dur, number, device)
        events += [{**event, "cat": "gpu_memcpy" if what == "m" else "kernel"}]
        events += [launch(0 if start < cut else 500, number)]
    events += [step(1, 0, 400), step(2, 400, 400)]
    trace = read(tmp_path_factory.mktemp("t"), events)
    table = traces.get_time(trace)

    def cells(rows):
        return {at for start, dur, *_ in rows for at in range(start, start + dur)}

    sums = dict.fromkeys(times.TIMES, 0)
    for device in {span[3] for span in spans}:
        mine = [span for span in spans if span[3] == device]
        busy = cells(mine)
        compute = cells([span for span in mine if span[2] == "g"])
        talk = cells([span for span in mine if span[2] == "n"])
        values = (max(busy) + 1 - min(busy), len(busy), len(compute), len(talk),
                  len(cells([span for span in mine if span[2] == "m"])), len(compute & talk),
                  max(busy) + 1 - min(busy) - len(busy))  # fmt: skip
        for key, value in zip(times.TIMES, values):
            sums[key] += value
    whole = table.iloc[-1]
    assert {key: whole[key] for key in times.TIMES} == pytest.approx(sums, abs=1e-6)
    parts = whole[["host_us", "gap_us", "rest_us"]].sum()
    assert parts == pytest.approx(whole["idle_us"], abs=1e-6)
    steps = table[table["step"] >= 0]
    split = steps[["busy_us", "idle_us"]].sum(axis=1)
    both = {span[2] for span in spans}
    assert both and (split <= steps["span_us"] * 2 + 1e-6).all()
    gpu = attribution.attribute(trace).gpu
    assert gpu["dur"].sum() == sum(span[1] for span in spans)


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=20)


@given(SPANS, st.lists(st.tuples(st.integers(-5, 80), st.integers(0, 30)), max_size=5))
def test_clipping_to_many_windows_agrees_with_clipping_to_each(spans, windows):
    start = np.array([span[0] for span in spans], dtype=float)
    found = intervals.union(start, start + np.array([span[1] for span in spans], dtype=float))
    low = np.array([window[0] for window in windows], dtype=float)
    high = low + np.array([window[1] for window in windows], dtype=float)
    each = [intervals.clipped(found, a, b) for a, b in zip(low, high)]
    assert np.allclose(intervals.clipped(found, low, high), each)


@pytest.mark.shared
def test_quantities_agree_with_holistic_trace_analysis(shared):
    # What HolisticTraceAnalysis 0.5.0 answers for these files: kernel, compute, other and idle
    # time in µs, and overlap in percent. It leaves the last step out and narrows every event to
    # whole µs, which is done here too.
    for name, last, kernels, compute, rest, idle, overlap in (
        ("resnet_v100_ddp_rank0.pt.trace.json.gz", 105, 384634, 372150, 2371, 10113, None),
        ("dlrm_128gpu_rank0.json.gz", 552, 600058, 106252, 172428, 321378, 11.81),
    ):
        trace = traces.read(shared / "data/traces" / name)
        gpu = attribution.attribute(trace).gpu
        gpu = gpu[gpu["step"] != last]
        exact = trace.origin_ns / 1e3 + gpu["start"].to_numpy()
        start, end = np.ceil(exact), np.floor(exact + gpu["dur"].to_numpy())
        end = np.maximum(start, end)
        copies = gpu["kind"].isin(["copy", "set"]).to_numpy()
        talk = (gpu["by_kernel"] == "communication").to_numpy() & ~copies
        computing, talking, busy = (
            intervals.union(start[mask], end[mask]) for mask in (~copies & ~talk, talk, start > 0)
        )
        whole = end.max() - start.min()
        working, computed, talked = (
            intervals.clipped(spans, -np.inf, np.inf) for spans in (busy, computing, talking)
        )
        assert whole == pytest.approx(kernels, abs=2)
        assert computed == pytest.approx(compute, rel=1e-4)
        assert whole - working == pytest.approx(idle, rel=1e-3)
        assert working - computed == pytest.approx(rest, rel=1e-2)
        if overlap is not None:
            hidden = np.sum(intervals.clipped(computing, *talking))
            assert 100 * hidden / talked == pytest.approx(overlap, abs=0.005)


# ------------------------------------------------------------------------- launches


def test_launch_delay_and_queue(tmp_path):
    events = [launch(0, 1), launch(2, 2), launch(4, 3), launch(90, 4), kernel("a", 5, 20, 1),
              kernel("b", 30, 4, 2), kernel("c", 40, 5, 3), kernel("d", 91, 5, 4)]  # fmt: skip
    table = traces.get_launches(read(tmp_path, events))
    assert table["delay_us"].tolist() == [4, 27, 35, 0]
    assert table["queue"].tolist() == [1, 2, 3, 1]
    row = traces.get_launch_summary(read(tmp_path, events)).iloc[0]
    assert row["short_share"] == 0.75 and row["short_time_share"] == pytest.approx(14 / 34)


def test_queue_over_time(tmp_path):
    events = [launch(0, 1), launch(2, 2), launch(4, 3), launch(90, 4), kernel("a", 5, 20, 1),
              kernel("b", 30, 4, 2), kernel("c", 40, 5, 3), kernel("d", 90, 5, 4)]  # fmt: skip
    table = traces.get_queue(read(tmp_path, events))
    rows = [[0, 1], [2, 2], [4, 3], [5, 2], [30, 1], [40, 0], [90, 0]]
    assert table[["start_us", "queue"]].values.tolist() == rows
    assert traces.get_queue(read(tmp_path, [operator("aten::mm", 0, 5)])).empty


def test_many_short_kernels_with_a_late_host_are_launch_bound(tmp_path):
    events = []
    for i in range(50):
        events += [launch(20 * i, i), kernel("relu", 20 * i + 2, 4, i)]
    summary = traces.summary(write(tmp_path / "t.json", events))
    assert summary["bound"] == "launch" and summary["launch"][0]["launch_bound"] is True
    assert "CUDA graphs" in summary["verdict"] and "100.0 % of its 50 kernels" in summary["verdict"]


# ------------------------------------------------------------------------- memory


def test_memory_by_what_it_is_held_for(tmp_path):
    total = 1000

    def change(at, size, address, tid=1):
        nonlocal total
        total += size
        return {"ph": "i", "name": "[memory]", "ts": at, "pid": 5, "tid": tid, "args": {
            "Bytes": size, "Total Allocated": total, "Addr": address, "Device Type": 1,
            "Device Id": 0}}  # fmt: skip

    events = [
        operator("forward", 0, 100, cat="user_annotation"),
        operator("backward", 200, 100, cat="user_annotation"),
        operator("Optimizer.step#SGD.step", 400, 100, cat="user_annotation"),
        kernel("k", 10, 5),
        change(10, 400, 1), change(20, 50, 2), change(30, -50, 2),
        change(210, 300, 3), change(220, 80, 4), change(230, -80, 4), change(250, -400, 1),
        change(410, 20, 5), change(420, -300, 3), change(430, -600, 9),
    ]  # fmt: skip
    trace = read(tmp_path, events)
    table = traces.get_memory(trace)
    assert table["total"].tolist() == [
        1400, 1450, 1400, 1700, 1780, 1700, 1300, 1320, 1020, 420,
    ]  # fmt: skip
    peak = traces.get_memory_peak(trace).set_index("category")["at_peak_bytes"]
    assert peak[["total", "before", "activation", "gradient", "temporary"]].tolist() == [
        1780, 1000, 400, 300, 80,
    ]  # fmt: skip
    assert table.iloc[-1][["before", "optimizer_state", "gradient"]].tolist() == [400, 20, 0]


def test_without_records_of_memory_there_is_an_empty_table(tmp_path):
    trace = read(tmp_path, [kernel("k", 0, 5)])
    assert traces.get_memory(trace).empty and traces.get_memory_peak(trace).empty


# ------------------------------------------------------------------------- differences


def run(slow: float, names: tuple[str, ...], steps: int) -> list[dict]:
    events, number = [], 0
    for i in range(steps):
        events.append(step(i, 1000 * i, 1000))
        for place, name in enumerate(names):
            number += 1
            at = 1000 * i + 100 * place
            events += [
                operator(name, at, 50),
                launch(at + 10, number),
                kernel(f"k_{name}", at + 20, slow if name == "aten::mm" else 10, number),
            ]
    return events


def test_differences_are_per_step(tmp_path):
    one = read(tmp_path, run(40, ("aten::mm", "aten::add", "aten::relu"), 2), "a.json")
    other = read(tmp_path, run(20, ("aten::mm", "aten::add", "aten::gelu"), 5), "b.json")
    table = traces.get_diff(one, other).set_index("name")
    assert table["change"].to_dict() == {
        "aten::mm": "faster",
        "aten::gelu": "appeared",
        "aten::relu": "vanished",
        "aten::add": "same",
    }
    assert table.loc["aten::mm", ["before_us", "after_us", "ratio"]].tolist() == [40, 20, 0.5]
    assert table.loc["aten::mm", ["before_calls", "after_calls"]].tolist() == [1, 1]
    kernels = traces.get_diff(one, other, by="kernel")
    assert set(kernels["name"]) == {f"k_{name}" for name in table.index}
    whole = traces.get_diff_times(one, other).set_index("name")
    assert whole.loc["busy", "change_us"] == -20
    assert traces.get_diff(one, one)["change_us"].abs().max() == 0
    with pytest.raises(ScalebookError, match="choose one of"):
        traces.get_diff(one, other, by="mood")
    cpu = read(tmp_path, [operator("aten::mm", 0, 5)], "c.json")
    with pytest.raises(ScalebookError, match="one kind"):
        traces.get_diff(one, cpu)
    assert traces.get_diff(cpu, cpu)["change"].tolist() == ["same"]
    with pytest.raises(ScalebookError, match="no GPU kernels"):
        traces.get_diff(cpu, cpu, by="kernel")


def test_the_commands(tmp_path):
    one = write(tmp_path / "a.json", run(40, ("aten::mm", "evil\x1b[2J<b>"), 2))
    other = write(tmp_path / "b.json", run(20, ("aten::mm",), 3))
    shown = CliRunner().invoke(main, ["trace", "diff", str(one), str(other)])
    assert shown.exit_code == 0 and "faster" in shown.output and "\x1b" not in shown.output
    told = CliRunner().invoke(main, ["trace", "diff", str(one), str(other), "--json"])
    answer = json.loads(told.output)
    assert answer["before"] == "a.json" and answer["changes"][0]["name"] == "aten::mm"
    both = CliRunner().invoke(main, ["trace", "summary", str(one), str(other), "--json"])
    answer = json.loads(both.output)
    assert [file["file"] for file in answer["files"]] == ["a.json", "b.json"]
    assert answer["job"] is None and "says no rank" in answer["job_problem"]
    single = CliRunner().invoke(main, ["trace", "summary", str(one), "--json"])
    document = json.loads(single.output)
    keys = {"time", "by_operator", "by_kernel", "steps", "ranks", "dropped", "verdict"}
    assert keys <= set(document)
    missing = CliRunner().invoke(main, ["trace", "diff", str(one), str(tmp_path / "no.json")])
    assert missing.exit_code == 1 and missing.output == "scalebook: no.json: no such file\n"


# ------------------------------------------------------------------------- speed of light


def test_peaks_are_found_by_the_names_drivers_give():
    names = {
        "Tesla T4": (8.1, 320), "Tesla V100-SXM2-32GB": (15.7, 900),
        "NVIDIA A100-SXM4-40GB": (19.5, 1555), "NVIDIA A100-SXM4-80GB": (19.5, 2039),
        "NVIDIA A100 80GB PCIe": (19.5, 1935),
        "Tesla V100-PCIE-16GB": (14, 900), "Tesla V100S-PCIE-32GB": (16.4, 1134),
        "NVIDIA A100-PCIE-40GB": (19.5, 1555),
        "NVIDIA H100 80GB HBM3": (67, 3350), "NVIDIA H100 PCIe": (51, 2000),
        "NVIDIA H100 NVL": (60, 3900), "NVIDIA H200": (67, 4800), "NVIDIA H200 NVL": (60, 4800),
        "AMD Instinct MI250X": (47.85, 1638.4), "AMD Instinct MI210": (45.3, 1638.4),
        "AMD Instinct MI300X": (163.4, 5300), "AMD Instinct MI325X": (163.4, 6000),
        "NVIDIA B200": (80, 8000), "NVIDIA L40S": (91.6, 864), "NVIDIA A10": (31.2, 600),
    }  # fmt: skip
    for name, (flops, bandwidth) in names.items():
        peak = peaks.known(name)
        assert (peak.of("fp32"), peak.memory_gb_s) == (flops, bandwidth)
        assert peak.source and peak.date
    # What was made for one machine, or is another model, is not taken for one of these.
    for name in ("NVIDIA GeForce GT 1030", "NVIDIA A100-SXM-64GB", "NVIDIA GH200 480GB",
                 "NVIDIA T400", "Tesla V100-FHHL-16GB", "AMD Instinct MI250",
                 "NVIDIA A10G", "NVIDIA L40", "NVIDIA GB200"):  # fmt: skip
        assert peaks.known(name) is None
    assert peaks.known("Tesla T4").of("bf16") == 8.1


#: By device: operations a clock in fp32 and in fp16's matrix units, GHz of both, bits of the
#: memory's bus, and Gbit/s of each of its lines, as the makers' white papers have them.
CLOCKED = {
    "NVIDIA T4": (2560 * 2, 320 * 128, 1.59, 1.59, 256, 10.0),
    "NVIDIA V100 PCIe": (5120 * 2, 640 * 128, 1.38, 1.38, 4096, 1.754),
    "NVIDIA V100S PCIe": (5120 * 2, 640 * 128, 1.597, 1.597, 4096, 2.214),
    "NVIDIA V100 SXM2": (5120 * 2, 640 * 128, 1.53, 1.53, 4096, 1.754),
    "NVIDIA A100 80GB PCIe": (6912 * 2, 432 * 512, 1.41, 1.41, 5120, 3.024),
    "NVIDIA A100 80GB SXM4": (6912 * 2, 432 * 512, 1.41, 1.41, 5120, 3.186),
    "NVIDIA A100 40GB": (6912 * 2, 432 * 512, 1.41, 1.41, 5120, 2.43),
    "NVIDIA H100 PCIe": (14592 * 2, 456 * 1024, 1.755, 1.62, 5120, 3.186),
    "NVIDIA H100 SXM5": (16896 * 2, 528 * 1024, 1.98, 1.83, 5120, 5.2),
    "NVIDIA H200 SXM": (16896 * 2, 528 * 1024, 1.98, 1.83, 6144, 6.25),
    "NVIDIA L40S": (18176 * 2, 568 * 256, 2.52, 2.52, 384, 18.0),
    "NVIDIA A10": (9216 * 2, 288 * 256, 1.695, 1.695, 384, 12.5),
    "AMD Instinct MI250X (one of its two dies)": (110 * 256, 110 * 1024, 1.7, 1.7, 4096, 3.2),
    "AMD Instinct MI210": (104 * 256, 104 * 1024, 1.7, 1.7, 4096, 3.2),
    "AMD Instinct MI300X": (304 * 256, 304 * 2048, 2.1, 2.1, 8192, 5.2),
}


def test_peaks_are_what_units_and_clocks_come_to():
    known = {peak.device: peak for _, peak in peaks.table()}
    for device, (scalar, matrix, clock, matrix_clock, bits, pace) in CLOCKED.items():
        peak = known[device]
        assert peak.of("fp32") == pytest.approx(scalar * clock / 1e3, rel=0.015), device
        assert peak.of("fp16") == pytest.approx(matrix * matrix_clock / 1e3, rel=0.015), device
        assert peak.memory_gb_s == pytest.approx(bits * pace / 8, rel=0.02), device
        if "tf32" in peak.tflops:
            assert peak.of("tf32") == pytest.approx(peak.of("fp16") / 2, rel=0.015)
            assert peak.of("bf16") == peak.of("fp16")
        if "fp8" in peak.tflops:
            assert peak.of("fp8") == pytest.approx(2 * peak.of("fp16"), rel=0.015)
    # Some variants are known by their data sheets only.
    assert known.keys() - CLOCKED.keys() == {
        "NVIDIA H100 NVL",
        "NVIDIA H200 NVL",
        "NVIDIA B200 SXM",
        "AMD Instinct MI325X",
    }


def test_what_is_no_product_runs_at_the_rate_of_the_vector_units(tmp_path):
    assert peaks.known("AMD Instinct MI210").of("fp32", product=False) == 22.6
    assert peaks.known("Tesla T4").of("fp16", product=False) == 8.1
    shapes = {"Input Dims": [[1024], [1024]], "Input type": ["c10::Half"] * 2}
    events = [operator("aten::add", 0, 10, args=shapes), launch(1, 1), kernel("add", 20, 9, 1)]
    peak = traces.Peak("test", {"fp32": 4.0, "fp16": 64.0}, 1e9, "made up", "today", 2.0)
    row = traces.get_speed(read(tmp_path, events), peak).iloc[0]
    assert row["best_us"] == pytest.approx(1024 / 2e6)


@pytest.mark.slow
def test_a_cpu_is_measured():
    peak = traces.measured_cpu()
    assert peak.of("fp32") > 0 and peak.memory_gb_s > 0 and peak.source == "measured here"


def conv(data, weight, stride, padding, dilation=1, groups=1, transposed=False):
    lists = [f"[{one}, {one}]" for one in (stride, padding, dilation)]
    values = ["", "", "", *lists, str(transposed), "[0, 0]", str(groups)]
    return [data, weight, []] + [[]] * 6, ["float"] * 3 + [""] * 6, values


@settings(max_examples=40)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
       st.integers(0, 2), st.integers(5, 9))  # fmt: skip
def test_work_of_a_convolution_agrees_with_doing_it(batch, groups, kernel_size, stride, pad, size):
    import torch

    data, weight = (
        torch.ones(batch, 2 * groups, size, size),
        torch.ones(3 * groups, 2, kernel_size, kernel_size),
    )
    out = torch.nn.functional.conv2d(data, weight, stride=stride, padding=pad, groups=groups)
    shape = conv(list(data.shape), list(weight.shape), stride, pad, groups=groups)
    done = work.of("aten::convolution", shape)
    assert done.flops == 2 * out.numel() * weight[0].numel()
    assert done.bytes == 4 * (data.numel() + weight.numel() + out.numel())


def test_work_that_shapes_do_not_tell_is_unknown():
    dims = [[1, 3, 8, 8], [4, 3, 3, 3], []]
    assert work.of("aten::conv2d", (dims, ["float"] * 3, [])) is None
    assert work.of("aten::mm", ([[2, 3], [4, 5]], ["float"] * 2, [])) is None
    assert work.of("mystery::mm", ([[2, 3], [3, 5]], ["float"] * 2, [])) is None
    for dims in ([], [[]], [[-1, 2], [2, 2]], [["a"], {}], [[10**30, 2], [2, 2]]):
        assert work.of("aten::mm", (dims, ["float"] * 2, [])) is None
    half = work.of("aten::mm", ([[2, 3], [3, 5]], ["c10::Half"] * 2, []))
    assert (half.flops, half.bytes, half.precision) == (60, 2 * (6 + 15 + 10), "fp16")


@pytest.mark.parametrize("causal", [True, False])
def test_work_of_attention_agrees_with_counting_pairs(causal):
    for rows, columns in ((5, 5), (3, 7), (7, 3)):
        dims = [[2, 4, rows, 8], [2, 4, columns, 8], [2, 4, columns, 6], [], [], []]
        shape = dims, ["c10::Half"] * 3 + [""] * 3, ["", "", "", "", "0.", str(causal)]
        done = work.of("aten::scaled_dot_product_attention", shape)
        pairs = sum(not causal or column <= row for row in range(rows) for column in range(columns))
        assert done.flops == 2 * 8 * pairs * (8 + 6) and done.precision == "fp16"
        assert done.bytes == 2 * 8 * (8 * rows + (8 + 6) * columns + 6 * rows)


@pytest.mark.parametrize(
    ("name", "arguments", "place"),
    [
        ("_scaled_dot_product_flash_attention_backward", 14, 11),
        ("_scaled_dot_product_efficient_attention_backward", 14, 11),
        ("_scaled_dot_product_flash_attention_for_cpu_backward", 9, 7),
    ],
)
def test_work_of_attention_backward(name, arguments, place):
    tensors = [[2, 4, 5, 8]] * 5
    dims = tensors + [[]] * (arguments - 5)
    values = ["True" if one == place else "" for one in range(arguments)]
    done = work.of(f"aten::{name}", (dims, ["float"] * 5 + [""] * (arguments - 5), values))
    # The scores once more, and four products.
    assert done.flops == 5 * 2 * 8 * (5 * 6 // 2) * 8
    assert done.bytes == 4 * 8 * 2 * 4 * 5 * 8


def test_attention_made_of_products_counts_once(tmp_path):
    query = {"Input Dims": [[2, 8, 16, 4]] * 3, "Input type": ["float"] * 3}
    product = {"Input Dims": [[16, 16, 4], [16, 4, 16]], "Input type": ["float"] * 2}
    events = [
        operator("aten::scaled_dot_product_attention", 0, 50, args=query),
        operator("aten::bmm", 5, 10, args=product),
        launch(6, 1),
        kernel("gemm", 60, 5, 1),
    ]
    table = traces.get_speed(read(tmp_path, events))
    assert table["operator"].tolist() == ["aten::bmm"]


@pytest.mark.parametrize(
    ("name", "dims", "types", "moved"),
    [
        # An out argument is written, not read: DDP's copy into a bucket.
        ("aten::mul", [[1000], [], [1000]], ["float", "double", "float"], 8000),
        ("aten::mul", [[1000], [1000]], ["float", "float"], 12_000),
        ("aten::mul_", [[512, 64], [512, 1]], ["c10::BFloat16", "float"], 2 * 65536 + 2048),
        # What is written is of the greater type, and as large as both are stretched to.
        ("aten::mul", [[512, 4096], [512, 1]], ["c10::BFloat16", "float"], 12_584_960),
        ("aten::add", [[8, 1], [1, 8]], ["c10::Half", "c10::BFloat16"], 2 * 16 + 4 * 64),
        ("aten::add", [[8], [8]], ["long int", "c10::Half"], 64 + 16 + 16),
        ("aten::eq", [[8], [8]], ["float", "float"], 32 + 32 + 8),
        ("aten::copy_", [[8], [8]], ["c10::Float8_e4m3fn", "c10::BFloat16"], 8 + 16),
    ],
)
def test_bytes_by_what_is_read_and_written(name, dims, types, moved):
    assert work.of(name, (dims, types, [])).bytes == moved


def test_a_type_that_is_not_known_has_no_size():
    assert work.of("aten::add", ([[8], [8]], ["c10::Mystery", "float"], [])) is None


def space_evenly(path):
    """Put 1 µs between any two moments of a trace, so that nothing depends on how fast it ran."""
    trace = json.loads(path.read_text())
    timed = [event for event in trace["traceEvents"] if "ts" in event]
    ends = {id(event): event["ts"] + event.get("dur", 0) for event in timed}
    moments = sorted({event["ts"] for event in timed} | set(ends.values()))
    even = {moment: us for us, moment in enumerate(moments)}
    for event in timed:
        start, end = even[event["ts"]], even[ends[id(event)]]
        event |= {"ts": start, "dur": end - start} if "dur" in event else {"ts": start}
    path.write_text(json.dumps(trace))


@pytest.mark.slow
def test_flops_of_a_step_are_those_pytorch_counts(tmp_path):
    import torch
    from torch import nn
    from torch.profiler import ProfilerActivity, profile, schedule
    from torch.utils.flop_counter import FlopCounterMode

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3),
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    images, labels = torch.randn(4, 3, 32, 32), torch.randint(0, 10, (4,))

    def train():
        nn.functional.cross_entropy(net(images), labels).backward()

    with FlopCounterMode(display=False) as counter:
        train()
    path = tmp_path / "cpu_rank0.json"
    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        profile_memory=True,
        with_stack=True,
        schedule=schedule(wait=0, warmup=1, active=2, repeat=1),
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
    ) as profiler:
        for _ in range(3):
            train()
            profiler.step()
    space_evenly(path)
    trace = traces.read(path)
    peak = traces.Peak("test", {"fp32": 0.1}, 10.0, "made up", "today")
    table = traces.get_speed(trace, peak)
    products = table[table["kind"].isin(["convolution", "gemm"])]
    assert products["flops"].sum() / 2 == counter.get_total_flops()
    known = table[table["flops"].notna()]
    assert (known["best_us"] > 0).all() and set(known["bound"]) <= {"compute", "memory"}
    assert (known["intensity"] <= known["flops"] / known["bytes"] + 1e-9).all()
    row = traces.get_speed_summary(trace, peak).iloc[0]
    assert row["mfu"] > 0 and row["best_us"] < row["step_us"] and 0.5 < row["known_share"] <= 1
    # The module names and memory of the same trace.
    modules = traces.get_breakdown(trace, "module")["group"]
    assert "Sequential_0/Conv2d_0" in set(modules)
    attributed = traces.get_attribution(trace)
    undone = attributed[attributed["operator"].str.contains("ConvolutionBackward", na=False)]
    assert undone["module"].str.contains("Conv2d").all() and (undone["phase"] == "backward").all()
    peaks_of_memory = traces.get_memory_peak(trace).set_index("category")["at_peak_bytes"]
    assert peaks_of_memory["total"] > peaks_of_memory["activation"] > 0
    summary = traces.summary(path)
    assert summary["speed"]["flops"] > 0 and summary["speed"]["mfu"] is None
    json.dumps(summary, allow_nan=False)
    held = CliRunner().invoke(main, ["trace", "summary", "--measure-cpu", "--json", str(path)])
    speed = json.loads(held.output)["speed"]
    assert speed["mfu"] > 0 and speed["source"].startswith("measured here")


def test_a_gpu_of_the_table_is_placed_on_its_roofline(tmp_path):
    shapes = {"Input Dims": [[1024, 1024], [1024, 1024]], "Input type": ["c10::Half"] * 2}
    events = [operator("aten::mm", 0, 10, args=shapes), launch(1, 1), kernel("gemm", 20, 100, 1)]
    document = {"traceEvents": events, "deviceProperties": [{"id": 0, "name": "Tesla T4"}]}
    trace = read(tmp_path, document)
    row = traces.get_speed(trace).iloc[0]
    assert row["bound"] == "compute" and row["precision"] == "fp16"
    assert row["best_us"] == pytest.approx(2 * 1024**3 / 65e6)
    assert row["efficiency"] == pytest.approx(row["best_us"] / 100)
    summary = traces.summary(tmp_path / "t.json")
    assert summary["speed"]["mfu"] == pytest.approx(row["efficiency"], rel=1e-4)
    assert "of what NVIDIA T4 could" in summary["verdict"]


# ------------------------------------------------------------------------- verdict


def busy(family: str, gap: float = 0.0, count: int = 40) -> list[dict]:
    events = []
    for i in range(count):
        at = i * (50 + gap)
        events += [operator(family, at, 5, tid=1), launch(at + 1, i), kernel("k", at + 6, 50, i)]
    return events


def waiting() -> list[dict]:
    loader = "enumerate(DataLoader)#x.__next__"
    return [operator(loader, 60 + 110 * i, 40, 3, "user_annotation") for i in range(39)]


def talking() -> list[dict]:
    return [kernel("ncclKernel", 2100 + 100 * i, 100, 900 + i) for i in range(9)]


@pytest.mark.parametrize(
    ("events", "bound"),
    [
        (busy("aten::conv2d"), "compute"),
        (busy("aten::batch_norm"), "memory"),
        (busy("aten::mm", gap=60), "idle"),
        ([*busy("aten::mm"), *talking()], "communication"),
        ([*busy("aten::mm", gap=60), *waiting()], "input"),
    ],
)
def test_the_verdict_follows_from_the_figures(tmp_path, events, bound):
    summary = traces.summary(write(tmp_path / "t.json", events))
    assert summary["bound"] == bound
    share = 100 * summary["time"]["busy_us"] / summary["time"]["span_us"]
    assert f"busy {share:.1f} %" in summary["verdict"] and "To try:" in summary["verdict"]
    assert math.isfinite(share) and "nan" not in summary["verdict"]


def test_analyses_of_a_trace_of_the_study(study_root):
    (study_root / "results/profiling").mkdir(parents=True)
    write(study_root / "results/profiling/a_rank0.json", busy("aten::mm"))
    table = traces.trace_speed("results/profiling/a_rank0.json")
    assert isinstance(table, pd.DataFrame) and len(table) == 1
    with pytest.raises(UsageError, match="outside"):
        traces.trace_speed("../a.json")
