"""What a profiled run leaves: traces that say which module did it, and what recording cost."""

from __future__ import annotations

import gzip
import json
import shutil
import socket

import pytest
import torch
import train_helpers as helpers

from scalebook import contract, traces
from scalebook.traces import families
from scalebook.train import privacy, profiler


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    for name in ("SCALEBOOK_JOB_ID", "SLURM_JOB_ID", "SCALEBOOK_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Folder of a run on a CPU with one recorded step."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEBOOK_ROOT", str(folder))
        for name in ("SCALEBOOK_JOB_ID", "SLURM_JOB_ID", "SCALEBOOK_PROGRESS"):
            patch.delenv(name, raising=False)
        helpers.study(folder, epochs=4, untimed_steps=1, profile=True)
        assert helpers.train(folder) == 0
    return folder


@pytest.fixture
def run(root, recorded):
    """A copy of it."""
    shutil.copytree(recorded, root, dirs_exist_ok=True)
    return root


def events(path):
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


@pytest.mark.slow
def test_trace_of_a_run(run):
    path = helpers.only(run, "results/local/profiling/*_rank0.pt.trace.json.gz")
    modules = [one for one in events(path) if one.get("name", "").startswith("nn.Module: ")]
    assert {one["cat"] for one in modules} == {"python_function"}
    assert len(modules) == 2 * 10  # steps, and modules of the network
    summary = traces.summary(path)
    # The forward and the backward pass of a convolution belong to the same module.
    table = traces.get_attribution(traces.read(path))
    of_module = table[table["module"] == "TinyNet/features/3"]
    assert {"forward", "backward"} <= set(of_module["phase"])
    assert "convolution" in set(of_module["by_operator"])
    for phase in ("data", "forward", "backward", "optimizer"):
        assert summary["by_phase"][phase] > 0
        assert families.PHASES[families.opened_phase(phase)] == phase
    assert summary["speed"] and summary["memory"]  # shapes and allocations were recorded
    # Which one comes first depends on where the machine took the processor away.
    assert any(one["name"].startswith("aten::") for one in summary["top_operators"])


def test_what_recording_cost(run):
    cost = helpers.last_attempt(run)["profiler"]
    plain = sorted(float(one["step_time_s"]) for one in helpers.steps(run)[6:9])
    assert cost["recorded_steps"] == 1 and cost["other_steps"] == 3
    assert cost["other_step_time_s"] == plain[1]
    assert cost["recorded_step_time_s"] == float(helpers.steps(run)[4]["step_time_s"])
    ratio = cost["recorded_step_time_s"] / cost["other_step_time_s"]
    assert cost["ratio"] == pytest.approx(ratio, rel=1e-2)
    log = helpers.only(run, "results/**/*.log".replace("**/*", "local/logs/*")).read_text()
    assert log.count("profiler: a step took") == 1
    path = helpers.only(run, "results/local/profiling/*_rank0.pt.trace.json.gz")
    summary = traces.summary(path)
    assert summary["profiler"] == cost
    assert f"{cost['ratio']:.2f} times" in traces.as_text(summary)
    # A trace alone does not know.
    alone = run / path.name
    alone.write_bytes(path.read_bytes())
    assert traces.summary(alone)["profiler"] is None


@pytest.mark.slow
def test_a_run_on_a_cpu_is_held_against_what_that_cpu_can_do(run):
    said = helpers.last_attempt(run)["cpu_peak"]
    path = helpers.only(run, "results/local/profiling/*_rank0.pt.trace.json.gz")
    peak = traces.get_run_peak(path)
    assert peak.of("fp32") == said["fp32_tflops"] > 0
    assert peak.memory_gb_s == said["memory_gb_s"] > 0
    assert peak.source == "measured by the run" and f"{said['threads']} thread" in peak.device
    summary = traces.summary(path)
    assert summary["peak"]["tflops"] == peak.tflops and 0 < summary["speed"]["mfu"] < 1
    assert "measured by the run" in summary["verdict"]
    # Asked for through the study the answer is the same, and another peak is another answer.
    where = path.relative_to(run).as_posix()
    asked = traces.trace_summary(where)
    assert asked["speed"] == summary["speed"]
    assert traces.trace_speed(where)["best_us"].notna().any()
    manifest = helpers.only(run, "results/local/manifests/*.json")
    document = json.loads(manifest.read_text())
    document["attempts"][-1]["cpu_peak"]["fp32_tflops"] *= 2
    contract.write_json(manifest, document)
    assert traces.trace_summary(where)["speed"]["mfu"] == pytest.approx(
        summary["speed"]["mfu"] / 2, rel=1e-3
    )
    document["attempts"][-1]["cpu_peak"] = {"fp32_tflops": -1}
    contract.write_json(manifest, document)
    assert traces.get_run_peak(path) is None
    assert traces.trace_summary(where)["speed"]["mfu"] is None


def test_a_trace_says_nothing_of_who_and_where(recorded):
    path = helpers.only(recorded, "results/local/profiling/*_rank0.pt.trace.json.gz")
    text = gzip.decompress(path.read_bytes()).decode()
    for secret in (str(recorded), torch.__path__[0], socket.gethostname() + '"', ".py("):
        assert secret not in text
    assert "host_name" not in json.loads(text)


@pytest.mark.slow
def test_hooks_stay_only_while_steps_are_recorded(root, monkeypatch):
    seen = []
    original = profiler.StepProfiler.step

    def step(self):
        original(self)
        network = self._calls._model
        seen.append(sum(len(one._forward_pre_hooks) for one in network.modules()))

    monkeypatch.setattr(profiler.StepProfiler, "step", step)
    helpers.study(root, epochs=3, untimed_steps=2, profile=True)
    assert helpers.train(root) == 0
    assert seen == [0, 10, 10, 10, 10, 10, 0, 0, 0]


def test_annotations_of_a_gpu_are_not_kept_twice(tmp_path):
    name = "nn.Module: conv1"
    found = [
        {"name": name, "cat": "user_annotation", "ts": 1, "dur": 5, "ph": "X"},
        {"name": name, "cat": "gpu_user_annotation", "ts": 2, "dur": 5, "ph": "X"},
        {"name": "forward", "cat": "gpu_user_annotation", "ts": 2, "dur": 5, "ph": "X"},
        {"ph": "M"},
    ]
    text = profiler.clean_trace({"traceEvents": found, "host_name": "x"}, tmp_path)
    kept = json.loads(text)["traceEvents"]
    assert [one.get("cat") for one in kept] == ["python_function", "gpu_user_annotation", None]


def test_a_user_named_as_a_phase_takes_no_phase_away(tmp_path, monkeypatch):
    monkeypatch.setattr(privacy.getpass, "getuser", lambda: "data")
    found = [{"name": "data", "args": {"file": f"{tmp_path}/a.py", "at": "/home/data/b.py"}}]
    text = profiler.clean_trace({"traceEvents": found, "distributedInfo": "of data"}, tmp_path)
    assert json.loads(text) == {
        "traceEvents": [{"name": "data", "args": {"file": "a.py", "at": "b.py"}}],
        "distributedInfo": "of (name)",
    }


@pytest.mark.slow
def test_every_rank_leaves_a_trace_and_they_are_one_job(root):
    helpers.study(root, world_size=2, epochs=3, untimed_steps=0, profile=True)
    done = helpers.finish(helpers.start_ranks(root, 2))
    assert [status for status, _, _ in done] == [0, 0], done
    paths = sorted(root.glob("results/local/profiling/*.pt.trace.json.gz"))
    assert len(paths) == 2
    answer = traces.summaries(paths)
    assert [one["rank"] for one in answer["job"]["ranks"]] == [0, 1]
    assert answer["files"][0]["by_phase"]["communication"] > 0
    assert answer["files"][1]["profiler"] == helpers.last_attempt(root)["profiler"]


def test_a_manifest_that_says_nonsense_says_nothing(tmp_path):
    path = tmp_path / "profiling" / "a_7_1cpu_7_rank0.pt.trace.json.gz"
    manifest = tmp_path / "manifests" / "a_7_1cpu_7.json"
    assert traces.get_overhead(path) is None
    good = {"recorded_steps": 4, "recorded_step_time_s": 0.2, "other_steps": 9,
            "other_step_time_s": 0.1, "ratio": 2.0}  # fmt: skip
    wrong = [5, {**good, "ratio": "2"}, {**good, "ratio": -1}, {"ratio": 2.0}]
    for attempts in ([], None, [3], *([{"profiler": one}] for one in wrong)):
        contract.write_json(manifest, {"attempts": attempts})
        assert traces.get_overhead(path) is None, attempts
    contract.write_whole(manifest, "{")
    assert traces.get_overhead(path) is None
    # Of several attempts the last that recorded wrote the trace.
    attempts = [{"profiler": {**good, "ratio": 3.0}}, {"profiler": {**good, "x": "y"}}, {}]
    contract.write_json(manifest, {"attempts": attempts})
    assert traces.get_overhead(path) == good
    assert traces.get_overhead(tmp_path / path.name) is None
