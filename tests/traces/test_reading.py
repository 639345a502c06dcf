"""Reading traces of every kind there is, and of some there should not be."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from pathlib import Path

import pytest
from trace_events import kernel, launch, operator, write

from scalebook import results, traces
from scalebook.contract import ScalebookError, UsageError
from scalebook.traces import backends, reading
from scalebook.traces import trace as trace_module

EVENTS = [
    operator("aten::conv2d", 100.5, 20),
    launch(110, 1),
    kernel("volta_sgemm_64x64_nt", 130.25, 10.5, 1),
    kernel("ncclDevKernel_AllReduce", 135.0, 10, 2),
]


@pytest.mark.parametrize("name", ["t.json", "t.pt.trace.json.gz"])
@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: {"traceEvents": e, "deviceProperties": 3}])
def test_objects_and_lists_plain_and_packed_are_the_same(tmp_path, name, wrap):
    summary = traces.summary(write(tmp_path / name, wrap(EVENTS)))
    assert summary["by_operator"] == {"convolution": 10.5, "communication": 10.0}
    assert summary["by_kernel"] == {"gemm": 10.5, "communication": 10.0}
    assert summary["time"]["busy_us"] == 14.75 and summary["time"]["overlap_us"] == 5.75
    assert summary["steps"] == [] and summary["dropped"] == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b'{"traceEvents": [{"ph": "X"', "cut short within the last 27"),
        (b'{"traceEvents": {}}', "holds no list of traceEvents"),
        (b"[" * 100_000, "no JSON|nested too deeply"),
        (b"\x00\x01\x02", "no JSON"),
        (b"<html>", "no JSON"),
        ('{"traceEvents": []}'.encode("utf-16"), "is UTF-16 text; write it as UTF-8"),
        ("[]".encode("utf-16-be"), "is UTF-16 text"),
        (b"[]", "holds no GPU activity and no operator"),
        (gzip.compress(b"[" + b" " * 10_000)[:-20], "cut short"),
        (b"\x1f\x8b\x08" + b"\x00" * 40, "damaged gzip"),
    ],
    # Named by hand: the header of a gzip holds the second it was made in.
    ids=[
        "empty",
        "torn",
        "no list",
        "deep",
        "binary",
        "page",
        "UTF-16",
        "UTF-16 unmarked",
        "nothing in it",
        "torn gzip",
        "no gzip",
    ],
)
def test_damaged_files_end_in_one_line(tmp_path, content, said):
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(ScalebookError, match=said) as raised:
        traces.summary(path)
    assert "\n" not in str(raised.value) and str(tmp_path) not in str(raised.value)


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "UNPACKED_LIMIT", 1 << 20)
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b"[" + b" " * (64 << 20)) + packer.flush()
    (tmp_path / "t.json.gz").write_bytes(bomb)
    with pytest.raises(ScalebookError, match="unpacks to more than 1 MiB"):
        traces.summary(tmp_path / "t.json.gz")


def test_what_cannot_be_believed_is_dropped_and_counted(tmp_path):
    bad = [
        7,
        None,
        [1],
        {**kernel("a", 1, 1), "dur": -5},
        {**kernel("b", 1, 1), "dur": 1e15},
        {**kernel("c", 1, 1), "ts": "soon"},
        {**kernel("d", 1, 1), "ts": 10**30},
        {**kernel("e", 1, 1), "name": {"x": 1}},
        {key: value for key, value in kernel("f", 1, 1).items() if key != "dur"},
        {**kernel("g", 140, 1), "args": "none"},
        {**kernel("h", 140, 1), "args": {"correlation": "1", "device": -3, "External id": 1e99}},
        {"ph": ["X"]},
        {"ph": "X", "cat": 4},
    ]
    summary = traces.summary(write(tmp_path / "t.json", EVENTS + bad))
    assert summary["dropped"] == {
        "duration over 11 days": 1, "negative duration": 1, "no duration": 1, "no name": 1,
        "no usable time": 2, "not an event": 3, "without a category (cat)": 1,
    }  # fmt: skip
    assert summary["total_us"] == 22.5


def test_nan_and_broken_names_are_read_the_slow_way(tmp_path):
    text = (
        json.dumps(EVENTS)[:-1]
        + ', {"ph": "X", "cat": "kernel", "name": "x", "ts": NaN, "dur": 1}]'
    )
    data = text.encode().replace(b"aten::conv2d", b"aten::conv2d\xff")
    summary = traces.summary(write(tmp_path / "t.json", data))
    assert summary["dropped"] == {"no usable time": 1} and summary["total_us"] == 20.5


def test_private_fields_are_not_copied(tmp_path):
    document = {
        "traceEvents": EVENTS,
        "username": "ann",
        "host_name": "node-7",
        "traceName": "/home/ann/x.json",
        "distributedInfo": {"rank": 3, "world_size": 8},
    }
    summary = traces.summary(write(tmp_path / "t.json", document))
    assert summary["ranks"] == [{"rank": 3, "world_size": 8}]
    assert not {"ann", "node-7", "home"} & set(json.dumps(summary).replace("/", '"').split('"'))


def test_the_rank_comes_from_the_name_where_the_trace_has_none(tmp_path):
    path = write(tmp_path / "baseline_1_2gpu_1_rank1.pt.trace.json.gz", EVENTS)
    assert traces.summary(path)["ranks"] == [{"rank": 1, "world_size": None}]


def test_traces_of_the_results_are_listed_and_summed_up(study_root):
    for folder in ("results/profiling", "results/local/profiling"):
        (study_root / folder).mkdir(parents=True)
    write(study_root / "results/profiling/b_rank0.pt.trace.json.gz", EVENTS)
    write(study_root / "results/local/profiling/a.pt.trace.json", EVENTS[:2])
    (study_root / "results/profiling/gpu_util_1.log").write_text("x")
    names = traces.trace_files()
    assert names == [
        "results/profiling/b_rank0.pt.trace.json.gz",
        "results/local/profiling/a.pt.trace.json",
    ]
    summary = traces.trace_summary(names[0])
    assert summary["file"] == names[0] and summary["device"] == "gpu"
    summary["by_kernel"].clear()
    assert traces.trace_summary(names[0])["by_kernel"]
    assert traces.trace_summary(names[1])["device"] == "cpu"
    before = results.answer_digest("trace_summary", {"path": names[0]})
    write(study_root / names[0], EVENTS[:3])
    assert results.answer_digest("trace_summary", {"path": names[0]}) != before
    with pytest.raises(UsageError, match="outside the study"):
        traces.trace_summary("../elsewhere.json")
    with pytest.raises(ScalebookError, match=r"^results/none.json: no such file"):
        traces.trace_summary("results/none.json")


def test_nanoseconds_are_told_from_microseconds(tmp_path):
    slow = [{**event, "ts": 1.7e15 + event["ts"]} for event in EVENTS]
    fast = [{**e, "ts": (1.7e15 + e["ts"]) * 1e3, "dur": e["dur"] * 1e3} for e in EVENTS]
    one = traces.summary(write(tmp_path / "us.json", slow))
    other = traces.summary(write(tmp_path / "ns.json", fast))
    assert other["total_us"] == pytest.approx(one["total_us"])
    assert other["time"]["busy_us"] == pytest.approx(one["time"]["busy_us"], abs=1)


def test_columns_of_what_an_event_says(tmp_path):
    call = {"Collective name": "allreduce", "In msg nelems": 8, "Out msg nelems": 8,
            "dtype": "Float", "Group size": 2, "Process Group Description": "secret"}  # fmt: skip
    shaped = {"Input Dims": [[2, 3], []], "Input type": ["float", "Scalar"], "Sequence number": 4,
              "Fwd thread id": 1, "External id": 9}  # fmt: skip
    copy = kernel("Memcpy DtoD", 5, 1)
    copy = {**copy, "cat": "gpu_memcpy"}
    held = {"Bytes": 100, "Total Allocated": 300, "Addr": 7, "Device Type": 1, "Device Id": 0}
    memory = {"ph": "i", "name": "[memory]", "ts": 3, "pid": 5, "tid": 1, "args": held}
    events = [operator("aten::mul", 0, 2, args=shaped), copy,
              operator("record_param_comms", 6, 1, args=call), memory,
              {**memory, "args": {"Bytes": "many"}}]  # fmt: skip
    trace = traces.read(write(tmp_path / "t.json", events))
    row = trace.events.iloc[0]
    assert (row["sequence"], row["external"]) == (4, 9)
    assert trace.shapes[row["shape"]] == ([[2, 3], []], ["float", "Scalar"], [])
    assert trace.events.iloc[1][["stream", "device"]].tolist() == [7, 0]
    assert trace.messages[0]["elements_in"] == 8 and "secret" not in str(trace.messages)
    assert trace.memory[["start", "bytes", "allocated", "device"]].values.tolist() == [
        [3, 100, 300, 0]
    ]
    assert trace.dropped == {"memory without size or time": 1}


def big_trace(path: Path, count: int = 4000) -> Path:
    events = [kernel(f"k{i % 50}", 10 * i + 0.125, 5 + i % 3, i) for i in range(count)]
    events += [
        operator("aten::add", 10 * i, 3, args={"Input Dims": [[i % 9]]}) for i in range(count)
    ]
    return write(path, {"traceEvents": events, "username": "ann", "host_name": "node-7",
                        "distributedInfo": {"rank": 1, "world_size": 2}})  # fmt: skip


def test_a_trace_is_parsed_once(study_root, monkeypatch):
    path = big_trace(study_root / "t.json")
    first = traces.read(path)
    entries = list((study_root / ".scalebook/traces").iterdir())
    assert len(entries) == 1
    content = entries[0].read_bytes()
    assert not any(secret in content for secret in (b"ann", b"node-7", str(study_root).encode()))
    monkeypatch.setattr(reading.ChromeTrace, "read", None)
    # Another name, the same content.
    again = traces.read(path.rename(study_root / "other.json"))
    assert again.events.equals(first.events) and again.memory.equals(first.memory)
    for name in ("lanes", "shapes", "messages", "devices", "rank", "world_size", "origin_ns",
                 "resolution_us", "dropped"):  # fmt: skip
        assert getattr(again, name) == getattr(first, name)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_entry_is_made_anew(study_root, damage):
    path = big_trace(study_root / "t.json")
    expected = traces.summary(path)
    (entry,) = (study_root / ".scalebook/traces").iterdir()
    entry.write_bytes(entry.read_bytes()[:5000] if damage is None else damage)
    assert traces.summary(path) == expected
    assert len(entry.read_bytes()) > 10_000


def test_old_entries_make_room(study_root, monkeypatch):
    monkeypatch.setattr(trace_module, "LIMIT", 1)
    traces.read(big_trace(study_root / "t.json"))
    assert list((study_root / ".scalebook/traces").iterdir()) == []


def test_small_traces_are_not_kept(study_root):
    traces.read(write(study_root / "t.json", EVENTS))
    assert not (study_root / ".scalebook/traces").exists()


def test_memory_grows_with_the_events_not_with_the_text(tmp_path):
    path = tmp_path / "t.json"
    padding = {"note": "x" * 20_000}
    events = [operator("aten::add", 10 * i, 3, args=padding) for i in range(1500)]
    write(path, events)
    size = path.stat().st_size
    tracemalloc.start()
    trace = traces.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(trace.events) == 1500 and peak < size  # read whole it takes many times that


def test_text_for_a_terminal_holds_no_escape_sequences(tmp_path):
    events = [*EVENTS, kernel("evil\x1b[2J\x07<script>" + "x" * 500, 400, 5), 3]
    text = traces.as_text(traces.summary(write(tmp_path / "t.json", events)))
    assert "\x1b" not in text and "\x07" not in text and max(map(len, text.splitlines()[:-1])) < 120
    assert "convolution" in text and "1 not an event" in text
    assert "by kernel name" not in traces.as_text(
        traces.summary(write(tmp_path / "c.json", EVENTS[:1]))
    )


# ------------------------------------------------------------------------- formats

TOY = """
import numpy as np
import pandas as pd
from scalebook.traces.backends import TraceFormat
from scalebook.traces.backends.chrome import Builder

class Toy(TraceFormat):
    name = "toy"
    def recognises(self, head):
        return head.startswith(b"toy 1")
    def read(self, pieces, where):
        builder = Builder()
        for line in b"".join(pieces).decode().splitlines()[1:]:
            name, start, dur = line.split()
            builder.add([{"ph": "X", "cat": "kernel", "name": name, "ts": float(start),
                          "dur": float(dur), "pid": 0, "tid": 7, "args": {"device": 0}}])
        return builder.trace({})

FORMAT = Toy()
"""


def test_a_format_from_outside_is_found_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "toy_traces.py").write_text(TOY)
    about = tmp_path / "toy_traces-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-traces\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{backends.GROUP}]\ntoy = toy_traces:FORMAT\n")
    monkeypatch.syspath_prepend(tmp_path)
    backends.registered.cache_clear()
    try:
        (tmp_path / "t.trace").write_text("toy 1\nvolta_sgemm 0 10\nncclAllReduce 10 5\n")
        summary = traces.summary(tmp_path / "t.trace")
        assert summary["by_kernel"] == {"gemm": 10.0, "communication": 5.0}
        assert traces.summary(write(tmp_path / "t.json", EVENTS))["by_kernel"]["gemm"] == 10.5
    finally:
        backends.registered.cache_clear()
