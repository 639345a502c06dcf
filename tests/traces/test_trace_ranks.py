"""Several traces as one job: made-up ranks, two real ones, and two of a large job."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from trace_events import events_of, kernel, launch, operator, own_times, write
from waiting import PATIENCE_S

from scalebook import traces
from scalebook.cli.command import main
from scalebook.contract import ScalebookError
from scalebook.traces import ranks

MESSAGE = {"Collective name": "allreduce", "In msg nelems": 250_000, "Out msg nelems": 250_000,
           "dtype": "Float", "Group size": 2}  # fmt: skip


def rank(tmp_path, number, comes, ends, clock=0.0, sizes=True, world=2, step=True):
    """A rank whose n-th all-reduce begins at comes[n] and ends at ends[n]."""
    events = [operator("ProfilerStep#1", clock, 10_000, cat="user_annotation")] if step else []
    for index, (begin, end) in enumerate(zip(comes, ends)):
        event = kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", clock + begin, end - begin, index)
        event["args"].update(MESSAGE if sizes else {})
        events += [launch(clock + begin - 5, index), event]
        events += [
            launch(clock + begin - 90, 1000 + index),
            kernel("volta_sgemm", clock + begin - 80, 70, 1000 + index),
        ]
    document = {"traceEvents": events, "distributedInfo": {"rank": number, "world_size": world}}
    return write(tmp_path / f"r{number}.json", document)


def test_clocks_are_set_by_the_ends_of_collectives(tmp_path):
    ends = [1000, 2000, 3000.0]
    one = rank(tmp_path, 0, [900, 1900, 2900], ends)
    other = rank(tmp_path, 1, [600, 1950, 2990], ends, clock=5e6)
    job = traces.read_job([other, one])
    assert traces.get_clocks(job) == {0: 0.0, 1: 5e6}
    table = traces.get_collectives(job)
    assert table["kind"].unique().tolist() == ["all_reduce"]
    wait = table.pivot(index="number", columns="rank", values="wait_us")
    assert wait.to_numpy().tolist() == [[0, 300], [50, 0], [90, 0]]
    assert table.groupby("number")["last_rank"].first().tolist() == [0, 1, 1]
    assert table.groupby("number")["transfer_us"].first().tolist() == [100, 50, 10]
    # A megabyte in 100 µs is 10 GB/s; of two ranks each sends as much as the message.
    assert table["algbw_gb_s"].iloc[0] == pytest.approx(10) and table["complete"].all()
    assert np.allclose(table["busbw_gb_s"], table["algbw_gb_s"])
    ranks = traces.get_ranks(job).set_index("rank")
    assert ranks["wait_us"].tolist() == [140, 300] and ranks["awaited_us"].tolist() == [300, 140]


def test_bandwidth_is_unknown_without_sizes_and_a_bound_without_all_ranks(tmp_path):
    ends = [1000, 2000]
    job = traces.read_job([rank(tmp_path, n, [900, 1900], ends, sizes=False) for n in (0, 1)])
    table = traces.get_collectives(job)
    assert table["bytes"].isna().all() and table["busbw_gb_s"].isna().all()
    answer = traces.summaries([tmp_path / "r0.json", tmp_path / "r1.json"])
    assert "sizes were not recorded" in answer["job"]["verdict"]
    assert answer["job"]["collectives"][0]["bytes"] is None
    for number in (0, 1):
        path = rank(tmp_path, number, [900, 1900], ends, world=8)
        text = path.read_text().replace('"Group size": 2', '"Group size": 8')
        path.write_text(text)
    table = traces.get_collectives(traces.read_job([tmp_path / "r0.json", tmp_path / "r1.json"]))
    assert not table["complete"].any()
    assert np.allclose(table["busbw_gb_s"], table["algbw_gb_s"] * 2 * 7 / 8)


def test_calls_that_a_trace_lost_are_left_out(tmp_path):
    ends = [1000, 5000, 9000, 14_000, 20_000]
    comes = [end - 100 for end in ends]
    one = rank(tmp_path, 0, comes, ends)
    other = rank(tmp_path, 1, comes[1:4], ends[1:4], clock=700)
    table = traces.get_collectives(traces.read_job([one, other]))
    assert len(table) == 6 and table["wait_us"].max() == 0
    assert table["transfer_us"].tolist() == [100.0] * 6


def test_calls_that_begin_in_another_order_at_each_rank_are_told_by_their_size(tmp_path):
    sizes = {0: [1, 2, 2, 1, 1, 2], 1: [2, 1, 2, 1, 2, 1]}
    calls = pd.DataFrame(
        [
            {"rank": rank, "kind": "broadcast", "bytes": 100.0 * size, "end_us": 10.0 * place}
            for rank, mine in sizes.items()
            for place, size in enumerate(mine)
        ]
    )
    found, _ = ranks.match(calls)
    assert len(found) == 12
    assert (found.groupby("number")["bytes"].nunique() == 1).all()
    assert (found.groupby("number")["rank"].nunique() == 2).all()
    # Not where sizes differ as well, or are not known.
    odd = calls.assign(bytes=calls["bytes"].where(calls.index > 0, 700.0))
    assert ranks.match(odd)[0].empty
    assert len(ranks.match(calls.assign(bytes=float("nan")))[0]) == 12


def test_ranks_that_share_no_collective_are_still_compared(tmp_path):
    one = write(tmp_path / "a_rank0.json", [kernel("sgemm", 0, 50)])
    other = write(tmp_path / "a_rank1.json", [kernel("sgemm", 0, 150)])
    job = traces.read_job([one, other])
    assert traces.get_collectives(job).empty and traces.get_clocks(job) == {0: 0.0, 1: 0.0}
    assert traces.get_ranks(job)["load"].tolist() == [0.5, 1.5]


def test_files_that_are_no_job_are_refused(tmp_path):
    one = write(tmp_path / "a_rank0.json", [kernel("sgemm", 0, 50)])
    with pytest.raises(ScalebookError, match="says no rank"):
        traces.read_job([one, write(tmp_path / "b.json", [kernel("sgemm", 0, 50)])])
    again = write(tmp_path / "b_rank0.json", [kernel("sgemm", 0, 50)])
    with pytest.raises(ScalebookError, match=r"b_rank0.json: is of rank 0, as is a_rank0.json"):
        traces.read_job([one, again])
    with pytest.raises(ScalebookError, match="jobs with 2 and 4 ranks"):
        traces.read_job([rank(tmp_path, 0, [], []), rank(tmp_path, 1, [], [], world=4)])


# ------------------------------------------------------------------------- one file of all


@pytest.mark.parametrize("name", ["all.json", "all.json.gz"])
def test_ranks_are_merged_into_one_file_on_one_clock(tmp_path, name):
    ends = [1000, 2000, 3000.0]
    one = rank(tmp_path, 0, [900, 1900, 2900], ends, clock=1.7e15)
    other = rank(tmp_path, 1, [600, 1950, 2990], ends, clock=1.7e15 + 5e6)
    # The second counts nanoseconds from a time of its own.
    document = json.loads(other.read_text())
    for event in document["traceEvents"]:
        event |= {"ts": (event["ts"] - 5e14) * 1e3, "dur": event["dur"] * 1e3}
    document["traceEvents"].append({"ph": "s", "id": 3, "ts": 1.2e18 + 5e9, "pid": 5, "tid": 1})
    write(other, document | {"baseTimeNanoseconds": 5 * 10**17})
    shown = CliRunner().invoke(
        main, ["trace", "merge", str(one), str(other), "--out", str(tmp_path / name)]
    )
    assert shown.exit_code == 0 and "31 events of 2 ranks" in shown.output
    data = (tmp_path / name).read_bytes()
    events = json.loads(gzip.decompress(data) if name.endswith("gz") else data)["traceEvents"]
    whole = [event for event in events if event["ph"] == "X"]
    assert min(event["ts"] for event in whole) == pytest.approx(0, abs=0.3)
    reduced = [event for event in whole if event["name"].startswith("nccl")]
    ended = {
        process: [e["ts"] + e["dur"] for e in reduced if e["pid"] == process]
        for process in {event["pid"] for event in reduced}
    }
    # To within what a float of so many nanoseconds can show.
    assert np.allclose(list(ended.values()), [[1000, 2000, 3000]] * 2, rtol=0, atol=0.3)
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {"rank 0: 0", "rank 0: 5", "rank 1: 0", "rank 1: 5"}
    assert [event["id"] for event in events if "id" in event] == ["1.3"]
    # It is a trace again.
    kernels = traces.summary(tmp_path / name)["by_kernel"]
    assert kernels == pytest.approx({"gemm": 420, "communication": 760})
    with pytest.raises(ScalebookError, match="is one of the traces to merge"):
        traces.merge([one, other], one)


def test_the_tables_behind_a_summary_are_written(tmp_path):
    files = [rank(tmp_path, number, [900], [1000]) for number in (0, 1)]
    shown = CliRunner().invoke(
        main, ["trace", "summary", *map(str, files), "--csv", str(tmp_path / "tables")]
    )
    assert shown.exit_code == 0
    found = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"r0_time.csv", "r1_by_operator.csv", "r0_queue.csv", "job_ranks.csv"} <= found
    table = pd.read_csv(tmp_path / "tables/job_collectives.csv")
    assert table["rank"].tolist() == [0, 1]


# ------------------------------------------------------------------------- two real ranks

TRAINING = """
import sys, time
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile, record_function, schedule

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 32))
images = torch.randn(16, 64)
with profile(
    activities=[ProfilerActivity.CPU], record_shapes=True,
    schedule=schedule(wait=0, warmup=1, active=3, repeat=1),
    on_trace_ready=lambda p: p.export_chrome_trace(f"{folder}/t_rank{rank}.json"),
) as profiler:
    for _ in range(4):
        with record_function("forward"):
            loss = net(images).sum()
        if rank == 1:
            time.sleep(1)
        with record_function("backward"):
            loss.backward()
        parts = [torch.empty(100), torch.empty(100)]
        dist.all_gather(parts, torch.ones(100))
        dist.barrier()
        profiler.step()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(number), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for number in (0, 1)
    ]
    try:
        said = [process.communicate(timeout=PATIENCE_S)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    return [folder / f"t_rank{number}.json" for number in (0, 1)]


@pytest.mark.slow
def test_who_waits_for_whom_in_a_real_job(two_ranks):
    job = traces.read_job(two_ranks)
    table = traces.get_collectives(job)
    gradients = table[(table["kind"] == "all_reduce") & (table["bytes"] == 4 * (64 * 32 + 32))]
    assert gradients.groupby("rank").size().tolist() == [3, 3]
    assert (gradients["last_rank"] == 1).all()
    waits = gradients.groupby("rank")["wait_us"].mean()
    assert waits[0] > 500_000 > waits[1]
    gathered = table[(table["kind"] == "all_gather") & (table["bytes"] == 800)]
    assert len(gathered) and np.allclose(gathered["busbw_gb_s"], gathered["algbw_gb_s"] / 2)
    assert (table["wait_us"] <= table["dur_us"]).all() and table["complete"].all()
    assert abs(traces.get_clocks(job)[1]) < 500_000
    ranks = traces.get_ranks(job).set_index("rank")
    assert ranks["straggler"].to_dict() == {0: False, 1: True}
    assert ranks.loc[0, "steps"] == 3
    result = CliRunner().invoke(main, ["trace", "summary", *map(str, two_ranks)])
    assert result.exit_code == 0 and "straggler" in result.output
    assert "a step for rank 1" in result.output
    told = CliRunner().invoke(main, ["trace", "summary", "--json", *map(str, two_ranks)])
    answer = json.loads(told.output)
    assert [one["rank"] for one in answer["job"]["ranks"]] == [0, 1]
    assert answer["job"]["load_balance"] <= 1


@pytest.mark.slow
def test_totals_steps_and_one_clock_of_a_real_job(two_ranks, tmp_path):
    answer = traces.summaries(two_ranks)
    raw = [own_times(path, "gloo:") for path in two_ranks]
    for one, times in zip(answer["files"], raw):
        assert one["total_us"] == pytest.approx(sum(times.values()), rel=0.01)
        assert [step["step"] for step in one["steps"]] == [1, 2, 3]
        assert one["by_operator"]["communication"] >= 0.99 * times["gloo:all_reduce"]
    whole = tmp_path / "all.json"
    told = traces.merge(two_ranks, whole)
    assert told["ranks"] == [0, 1]
    begun = []
    for rank, path in enumerate(two_ranks):
        document = json.loads(path.read_text())
        zero = document["baseTimeNanoseconds"] / 1e3 - told["clocks_us"][rank]
        begun += [zero + one["ts"] for one in events_of(path, "aten::")]
    merged = [one["ts"] for one in events_of(whole, "aten::")]
    # All events of both, and what lies between any two is what lay between them.
    apart = [np.sort(times) - min(times) for times in (begun, merged)]
    assert len(begun) == len(merged) and np.allclose(*apart, rtol=0, atol=1)
    both = traces.summary(whole)
    assert both["total_us"] == pytest.approx(sum(one["total_us"] for one in answer["files"]))


@pytest.mark.shared
def test_two_ranks_of_a_large_job(shared):
    names = [f"dlrm_128gpu_rank{number}.json.gz" for number in (0, 1)]
    job = traces.read_job([shared / "data/traces" / name for name in names])
    table = traces.get_collectives(job)
    # The files miss some calls: those found at both ranks end within a millisecond.
    assert len(table) == 10 and set(table["kind"]) == {"all_to_all", "all_reduce", "all_gather"}
    end = (table["start_us"] + table["dur_us"]).groupby([table["kind"], table["number"]])
    assert (end.max() - end.min()).max() < 1000
    assert not table["complete"].any() and (table["group_size"] == 128).all()
    assert abs(traces.get_clocks(job)[1]) < 1000
    gathers = table[table["kind"] == "all_gather"]
    assert gathers["bytes"].unique().tolist() == [2**31]
    assert gathers["busbw_gb_s"].between(10, 100).all()
