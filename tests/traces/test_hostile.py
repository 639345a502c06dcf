"""Made-up events of every kind: an answer or one line, never anything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalebook import traces
from scalebook.contract import ScalebookError

ODD = st.sampled_from(
    [None, True, -1, 0, 3, 2**63, 10**40, 1e300, 0.25, "", "x", "[1, 1]", [], [[]],
     [[2, 3], [3, 4]],
     [[[2], [3]], [4]], {"a": [1]}, float("nan"), "\ud800", "<b>", "[" * 50, "9" * 300]
)  # fmt: skip
NAMES = st.sampled_from(
    ["aten::conv2d", "aten::convolution_backward", "aten::mm", "aten::max_pool2d", "aten::copy_",
     "aten::_foreach_add_", "aten::batch_norm", "nn.Module: A_0", "nccl:all_reduce",
     "gloo:all_gather", "ncclKernel_AllReduce", "record_param_comms", "ProfilerStep#1",
     "ProfilerStep#2", "Memcpy HtoD", "triton_poi_fused_add_0", "volta_sgemm", "[memory]",
     "Optimizer.step#SGD.step", "autograd::engine::evaluate_function: MmBackward0", "forward",
     "enumerate(DataLoader)#x", "\x1b[2J<script>"]
)  # fmt: skip
CATEGORIES = st.sampled_from(
    ["kernel", "gpu_memcpy", "gpu_memset", "cuda_runtime", "cpu_op", "user_annotation",
     "python_function", "CPU_OP", "other"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["device", "stream", "correlation", "External id", "Sequence number", "Fwd thread id",
     "Input Dims", "Input type", "Concrete Inputs", "Collective name", "In msg nelems",
     "Out msg nelems", "dtype", "Group size", "Module Hierarchy", "Bytes", "Total Allocated",
     "Addr", "Device Type", "bytes"]
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 2, 3])
EVENT = st.fixed_dictionaries(
    {"ph": st.sampled_from(["X", "X", "X", "X", "i", "s"]), "cat": CATEGORIES, "name": NAMES,
     "ts": st.integers(0, 40), "dur": st.integers(0, 20), "pid": NUMBERS, "tid": NUMBERS,
     "args": st.dictionaries(KEYS, NUMBERS | ODD, max_size=6)}
)  # fmt: skip
SHAPED = {"Input type": ["float", "c10::Half"], "Sequence number": 1, "Fwd thread id": 0,
          "External id": 1}  # fmt: skip
TEMPLATES = [
    {"cat": "cpu_op", "name": "aten::mm", "args": SHAPED | {"Input Dims": [[2, 3], [3, 4]]}},
    {"cat": "cpu_op", "name": "aten::conv2d", "args": SHAPED | {
        "Input Dims": [[1, 3, 8, 8], [4, 3, 3, 3], [4], [], [], [], []],
        "Concrete Inputs": ["", "", "", "[1, 1]", "[0, 0]", "[1, 1]", "1"]}},
    {"cat": "cpu_op", "name": "aten::_foreach_add_", "args": SHAPED | {
        "Input Dims": [[[2], [3, 3]], [[2], [3, 3]]]}},
    {"cat": "cpu_op", "name": "autograd::engine::evaluate_function: MmBackward0",
     "args": SHAPED | {"Fwd thread id": 1}},
    {"cat": "user_annotation", "name": "ProfilerStep#1"},
    {"cat": "user_annotation", "name": "ProfilerStep#2"},
    {"cat": "user_annotation", "name": "gloo:all_reduce", "args": SHAPED | {"Input Dims": [[9]]}},
    {"cat": "user_annotation", "name": "backward"},
    {"cat": "python_function", "name": "nn.Module: Net_0"},
    {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "args": {"correlation": 1}},
    {"cat": "kernel", "name": "volta_sgemm", "args": {"correlation": 1, "device": 0, "stream": 7}},
    {"cat": "kernel", "name": "ncclDevKernel_AllReduce", "args": {
        "correlation": 2, "device": 0, "stream": 9, "Collective name": "allreduce",
        "dtype": "Float", "In msg nelems": 4, "Out msg nelems": 4, "Group size": 2}},
    {"cat": "gpu_memcpy", "name": "Memcpy HtoD", "args": {"correlation": 3, "bytes": 8}},
    {"ph": "i", "name": "[memory]", "args": {"Bytes": 8, "Total Allocated": 8, "Addr": 1,
                                             "Device Type": 1, "Device Id": 0}},
    {"ph": "i", "name": "[memory]", "args": {"Bytes": -8, "Total Allocated": 0, "Addr": 1}},
]  # fmt: skip


@st.composite
def plausible(draw):
    template = draw(st.sampled_from(TEMPLATES))
    event = {"ph": "X", "pid": 1, "tid": draw(NUMBERS), "ts": draw(st.integers(0, 40)),
             "dur": draw(st.integers(0, 20))} | template  # fmt: skip
    args = dict(event.get("args", {}))
    if args and draw(st.booleans()):
        args[draw(st.sampled_from(sorted(args)))] = draw(NUMBERS | ODD)
    return event | {"args": args}


STRANGE = st.fixed_dictionaries(
    {}, optional={key: ODD for key in ("ph", "cat", "name", "ts", "dur", "pid", "tid", "args")}
)
HEADER = st.dictionaries(
    st.sampled_from(["deviceProperties", "distributedInfo", "baseTimeNanoseconds"]),
    ODD
    | st.just([{"id": 0, "name": "Tesla T4", "computeMajor": "7"}, 3])
    | st.just({"rank": 1, "world_size": "2"}),
    max_size=3,
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(plausible() | EVENT | STRANGE, min_size=4, max_size=16), HEADER)
def test_no_trace_breaks_an_analysis(tmp_path_factory, events, header):
    folder = tmp_path_factory.mktemp("t")
    for name in ("a_rank0.json", "b_rank1.json"):
        (folder / name).write_text(json.dumps(header | {"traceEvents": events}))
    try:
        answer = traces.summary(folder / "a_rank0.json")
        json.dumps(answer, allow_nan=False)
        traces.as_text(answer).encode()
        both = traces.summaries([folder / "a_rank0.json", folder / "b_rank1.json"])
        json.dumps(both, allow_nan=False)
        if both["job"]:
            traces.job_as_text(both["job"])
        for by in ("operator", "module", "phase"):
            changes = traces.diff(folder / "a_rank0.json", folder / "b_rank1.json", by)
            json.dumps(changes, allow_nan=False)
            traces.diff_as_text(changes)
    except ScalebookError as error:
        assert "\n" not in str(error)
        return
    time = answer["time"]
    assert answer["total_us"] >= 0 and time["busy_us"] <= time["span_us"] + 1e-3
    assert abs(sum(answer["by_operator"].values()) - answer["total_us"]) < 0.1
    assert abs(sum(answer["by_phase"].values()) - answer["total_us"]) < 0.1
