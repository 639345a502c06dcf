"""The sampler beside a training: one writer a node, one file a job, and never in the way."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import train_helpers as helpers

from scalebook import contract, results, study
from scalebook.contract import RunFiles
from scalebook.launch import registry
from scalebook.train import manifest, run, settings
from scalebook.train.distributed import Ranks
from scalebook.train.tools import sampler, utilisation
from scalebook.train.tools.sampler import Sampler


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    for name in ("SLURM_JOB_ID", "SCALEBOOK_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "7")
    return helpers.study(tmp_path)


def sampled_study(root, period=0.05, **changes):
    """A study whose resolved experiment asks for samples."""
    helpers.study(root, **changes)
    document = helpers.resolved(**changes)
    document["training"]["sample_s"] = period
    (root / "resolved.json").write_text(json.dumps(document))


def alone(device="cpu"):
    return Ranks(0, 1, 0, 0, torch.device(device), 1, None, 5.0)


def files(root):
    return RunFiles(root / "results", "tiny_7_1cpu_7")


def sample(root, seconds=0.3, device="cpu", period=0.05):
    said = []
    with Sampler(period, alone(device), files(root), said.append) as one:
        thread = one._thread
        time.sleep(seconds)
    assert not thread.is_alive()
    return said


# --------------------------------------------------------------------------- with a training


@pytest.mark.slow
def test_a_profiled_run_is_watched(root):
    helpers.study(root, profile=True)
    assert helpers.train(root) == 0
    table = results.utilisation("7")
    assert set(table["device"]) == {"host"} and set(table["node"]) == {0}
    assert (table["process_memory_mib"] > 50).all()
    assert (table["process_cpu_percent"] > 1).any()
    assert table["memory_used_mib"].iloc[0] < table["memory_total_mib"].iloc[0]
    assert (root / "results/local/profiling/gpu_util_7.log").is_file()


def test_ranks_are_watched_before_they_meet_for_the_sampler(root, monkeypatch):
    begun = []

    class Watchdog(run.Watchdog):
        def __enter__(self):
            begun.append("watchdog")
            return super().__enter__()

    class Watched(Sampler):
        def __init__(self, *arguments):
            begun.append("sampler")
            super().__init__(*arguments)

    monkeypatch.setattr(run, "Watchdog", Watchdog)
    monkeypatch.setattr(run, "Sampler", Watched)
    helpers.study(root)
    assert helpers.train(root) == 0
    assert begun == ["watchdog", "sampler"]


def test_others_are_not_unless_they_ask(root):
    helpers.study(root)
    assert helpers.train(root) == 0
    assert not list(root.glob("results/**/gpu_util*"))
    for profile, asked, period in ((False, None, 0), (True, None, 1), (True, 0, 0), (False, 2, 2)):
        document = helpers.resolved(profile=profile)
        document["training"]["sample_s"] = asked
        (root / "resolved.json").write_text(json.dumps(document))
        read = settings.read(root / "resolved.json")
        assert read.training.sample_period_s == period


def test_a_run_from_before_the_setting_goes_on_with_it(root, monkeypatch):
    helpers.study(root)
    monkeypatch.setattr(contract, "close_attempt", lambda *_: False)  # as if it had been killed
    assert helpers.train(root) == 0
    monkeypatch.undo()
    monkeypatch.setenv("SCALEBOOK_ROOT", str(root))
    assert "sample_s" not in helpers.manifest(root)["resolved"]["training"]
    sampled_study(root)
    read = settings.read(root / "resolved.json")
    found = contract.locate(root, "tiny_7_1cpu_7")
    manifest.refuse_changes(
        found, read, SimpleNamespace(sha256=helpers.manifest(root)["dataset"]["sha256"]), root
    )


def test_the_setting_changes_no_run(study_root):
    """A finished run from before it is still the one that a campaign plans."""
    loaded = study.load(study_root)
    now = study.resolve(loaded, "baseline", "local", overrides={"sample_s": 2}, device="cpu")
    assert now["training"]["sample_s"] == 2.0
    before = study.resolve(loaded, "baseline", "local", device="cpu")
    assert "sample_s" not in before["training"]
    assert registry.identity(now, study_root) == registry.identity(before, study_root)
    with pytest.raises(contract.UsageError, match="sample_s"):
        study.resolve(loaded, "baseline", "local", overrides={"sample_s": -1})


@pytest.mark.slow
def test_nodes_are_put_into_one_file(root):
    """Two nodes of one rank each, as the launcher tells them apart."""
    sampled_study(root, world_size=2, epochs=2)
    ranks = helpers.start_ranks(root, 2, LOCAL_WORLD_SIZE="1", LOCAL_RANK="0",
                                of_rank={n: {"LOCAL_RANK": "0"} for n in (0, 1)})  # fmt: skip
    done = helpers.finish(ranks)
    assert [status for status, _, _ in done] == [0, 0], done
    assert [path.name for path in root.glob("results/local/profiling/*")] == ["gpu_util_7.log"]
    table = results.utilisation("7")
    assert set(table["node"]) == {0, 1} and set(table["device"]) == {"host"}
    assert results.problems().empty


@pytest.mark.slow
def test_two_ranks_of_one_node_have_one_writer(root):
    sampled_study(root, world_size=2, epochs=2)
    done = helpers.finish(helpers.start_ranks(root, 2))
    assert [status for status, _, _ in done] == [0, 0], done
    table = results.utilisation("7")
    assert set(table["node"]) == {0} and not table.duplicated("time_s").any()


# --------------------------------------------------------------------------- alone


def test_it_goes_on_in_the_same_file_after_a_torn_line(root):
    assert sample(root) == []
    path = files(root).utilisation
    first = len(results.utilisation("7"))
    with open(path, "ab") as file:
        file.write(b"2026-11-23T09:00:")
    sample(root)
    text = path.read_text()
    assert text.count("time,") == 1 and text.endswith("\n")
    assert len(results.utilisation("7")) > first
    assert ["1 line" in problem for problem in results.problems()["problem"]] == [True]


def test_a_fault_is_said_once_and_harms_nothing(root, monkeypatch):
    def fails(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(utilisation.Host, "read", fails)
    said = sample(root)
    assert said == ["utilisation: lines are missing (No space left on device)"]
    monkeypatch.undo()
    monkeypatch.setattr(sampler, "_opened", lambda path: 1 / 0)
    assert len(sample(root)) == 1


def test_a_log_that_fails_harms_nothing_either(root, monkeypatch):
    monkeypatch.setattr(utilisation.Host, "read", lambda self: 1 / 0)

    def say(text):
        raise RuntimeError("no log")

    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with Sampler(0.05, alone(), files(root), say):
        time.sleep(0.2)
    assert not failed


def test_it_costs_little(root):
    before = time.thread_time()
    host = utilisation.Host([os.getpid()])
    for _ in range(10):
        host.read()
    assert (time.thread_time() - before) / 11 < 0.05  # of a second, once a second


def test_without_proc_psutil_counts_the_same(monkeypatch):
    psutil = pytest.importorskip("psutil")
    ours, theirs = (
        count([os.getpid()]) for count in (utilisation._from_proc, utilisation._from_psutil)
    )
    assert ours.total == theirs.total == psutil.virtual_memory().total
    assert theirs.all_s == pytest.approx(ours.all_s, rel=0.01)
    assert theirs.busy_s == pytest.approx(ours.busy_s, rel=0.05)
    assert theirs.resident == pytest.approx(ours.resident, rel=0.2)
    assert theirs.own_s[os.getpid()] == pytest.approx(ours.own_s[os.getpid()], rel=0.2, abs=0.2)
    monkeypatch.setattr(utilisation, "_PROC", utilisation.Path("/nowhere"))
    assert utilisation.Host([os.getpid()]).read()[0][1]["process_memory_mib"] > 1
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ImportError):
        utilisation.Host([])


# --------------------------------------------------------------------------- GPUs


class Nvml:
    """nvidia-ml-py of a node with two GPUs, of which the second tells little."""

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM, NVML_CLOCK_MEM = 0, 1, 2
    NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 0, 1

    class NVMLError(Exception):
        pass

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetUUID(self, handle):
        return f"GPU-{handle}"

    def nvmlDeviceGetUtilizationRates(self, handle):
        self._only(handle)
        return SimpleNamespace(gpu=91, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=455 * 2**20, total=15360 * 2**20, free=0)

    def nvmlDeviceGetPowerUsage(self, handle):
        self._only(handle)
        return 61_250

    def nvmlDeviceGetTemperature(self, handle, sensor):
        return 39

    def nvmlDeviceGetClockInfo(self, handle, clock):
        return {1: 1590, 2: 5000}[clock]

    def nvmlDeviceGetPcieThroughput(self, handle, counter):
        return {0: 30_000, 1: 120_000}[counter]

    def _only(self, handle):
        if handle:
            raise self.NVMLError("Not Supported")


def test_gpus(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    monkeypatch.setattr(sampler, "_uuid", lambda device: "unknown")
    assert sample(root, device="cuda") == []
    table = results.utilisation("7")
    assert sorted(set(table["device"])) == ["gpu0", "gpu1", "host"]
    first = table[table["device"] == "gpu0"].iloc[0]
    assert first[["utilisation_percent", "memory_utilisation_percent", "memory_used_mib",
                  "memory_total_mib", "temperature_c", "power_w", "clock_mhz", "memory_clock_mhz",
                  "pcie_rx_mb_s", "pcie_tx_mb_s"]].tolist() == [
        91, 40, 455, 15360, 39, 61.2, 1590, 5000, 120, 30]  # fmt: skip
    other = table[table["device"] == "gpu1"].iloc[0]
    assert other[["utilisation_percent", "power_w"]].isna().all() and other["clock_mhz"] == 1590


def test_the_library_has_what_is_asked_of_it():
    """The real one: a name it does not have would only be an empty column."""
    import pynvml

    asked = {name for name in vars(Nvml) if name.lower().startswith("nvml")}
    used = set(re.findall(r"\b(?:nvml[A-Z]|NVML_)\w+", inspect.getsource(utilisation)))
    assert used | {"NVMLError"} == asked
    assert all(hasattr(pynvml, name) for name in asked)


def test_only_the_gpus_of_the_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert [name for name, _ in utilisation.Gpus(["1"]).read()] == ["gpu1"]
    assert len(utilisation.Gpus([""]).read()) == 2


def test_without_the_library_the_host_is_still_watched(root, monkeypatch):
    monkeypatch.setattr(sampler, "_uuid", lambda device: "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    said = sample(root, device="cuda")
    assert said == ["utilisation: without GPUs: nvidia-ml-py is not installed"]
    assert set(results.utilisation("7")["device"]) == {"host"}
    broken = Nvml()
    broken.nvmlInit = lambda: broken._only(1)
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert sample(root, device="cuda") == ["utilisation: without GPUs (NVMLError: Not Supported)"]
