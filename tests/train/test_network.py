"""What is tried before a first training: all-reduce between ranks, and what every node has."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from waiting import PATIENCE_S

from scalebook import results
from scalebook.train.tools import environment

#: As ``scalebook system`` writes it down for a study that takes what lies in data/.
WHOLE = {"image_size": None, "train_images": None, "val_images": None}
IMAGES = [{"source": "folder", "dir": "data", **WHOLE}]


def ranks(module, root, count, *arguments, **changes):
    """Run a module as `count` ranks of one node; status, output and errors of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (root / "system.json").write_text(
        json.dumps(
            {
                "system": "mini-1gbit",
                "facts": {"network": "1 Gbit/s", "link_gbit_s": 1.0},
                "images": IMAGES,
            }
        )
    )
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "SCALEBOOK_ROOT": str(root),
        "SCALEBOOK_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, "--system", str(root / "system.json"), *arguments],
            env={
                **common, "RANK": str(rank), "LOCAL_RANK": str(rank), **changes.get(f"r{rank}", {}),
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=2 * PATIENCE_S) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(started, outputs)]


@pytest.mark.slow
def test_allreduce_leaves_a_curve_that_the_results_room_reads(study_root):
    done = ranks("scalebook.train.tools.allreduce", study_root, 2, "--max-bytes", "16384")
    assert [status for status, _, _ in done] == [0, 0], done
    curve = results.allreduce()
    assert results.problems().empty
    assert curve["bytes"].tolist() == [1024, 4096, 16384]
    assert (curve["repetitions"] >= 5).all()
    stem = "allreduce_17_2cpu_17"
    about = json.loads((study_root / f"results/allreduce/{stem}.json").read_text())
    assert (about["stem"], about["system"], about["link"]) == (stem, "mini-1gbit", "1 Gbit/s")
    assert (about["backend"], about["world_size"], about["device"]) == ("gloo", 2, "cpu")
    host = socket.gethostname()
    assert host not in json.dumps(about) and str(study_root) not in json.dumps(about)


@pytest.mark.slow
def test_allreduce_alone_says_how_to_start_it(study_root):
    ((status, _, said),) = ranks("scalebook.train.tools.allreduce", study_root, 1)
    assert status == 2 and said.count("\n") == 1 and "test_allreduce.sbatch" in said


@pytest.mark.slow
def test_every_node_is_in_the_table_and_each_fault_is_a_line(study_root):
    images = study_root / "data" / "set"
    for split in ("train", "test"):
        (images / split / "class").mkdir(parents=True)
        (images / split / "class" / "1.png").touch()
    module = "scalebook.train.tools.environment"
    done = ranks(module, study_root, 2, "--patience", str(PATIENCE_S))
    assert [status for status, _, _ in done] == [0, 0], done
    assert done[0][1].count("data/set: 2 files") == 2 and "all 2 nodes" in done[0][1]

    elsewhere = study_root / "elsewhere"
    (elsewhere / "torch").mkdir(parents=True)
    (elsewhere / "torch" / "__init__.py").write_text("raise OSError('libcudart.so: no such file')")
    images.rename(study_root / "images")
    done = ranks(
        module, study_root, 2, "--patience", str(PATIENCE_S), r1={"PYTHONPATH": str(elsewhere)}
    )
    assert done[0][0] == 1
    faults = done[0][2].splitlines()
    assert any(line.startswith("node 0: data: ") for line in faults)
    assert any(line.startswith("node 1: torch cannot be imported (OSError:") for line in faults)
    assert all(line.startswith("node ") for line in faults)


def test_generated_images_are_no_fault(study_root):
    auto = [{**IMAGES[0], "source": "auto", "dir": "nowhere"}]
    assert environment._data(study_root, auto) == "generated"


@pytest.mark.slow
def test_a_node_that_does_not_report_is_missed(study_root):
    lost = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = ranks("scalebook.train.tools.environment", study_root, 2, "--patience", "8", r1=lost)
    assert [status for status, _, _ in done] == [1, 1]
    assert "node 1: did not report to 127.0.0.1" in done[0][2]
    assert "cannot reach 127.0.0.1:1" in done[1][2]


@pytest.mark.slow
def test_nodes_that_differ_are_told_and_a_missing_gpu_is_a_fault(study_root):
    first = environment.look(0, study_root, gpus=1, images=IMAGES)
    assert any("torch sees no GPU and the system has 1 a node" in one for one in first["faults"])
    other = {**first, "node": 1, "packages": {**first["packages"], "torch": "1.0"}}
    faults = environment.compare([first, other], 3, "a")
    assert any(one.startswith("node 1: packages is") for one in faults)
    assert any(one.startswith("node 2: did not report to a") for one in faults)
