"""The scripts of slurm/ by hand, on the small cluster."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import REPOSITORY
from waiting import PATIENCE_S, wait_until

from scalebook import results

pytestmark = pytest.mark.slurm

TINY = [
    f"--set={pair}"
    for pair in ("train_images=32", "val_images=16", "global_batch=16", "dataset=synthetic",
                 "untimed_steps=0", "threads_per_rank=1")
]  # fmt: skip

#: A training that asks to be queued again the first time, its ranks half a second apart.
ASKS = """
import os, sys, time
rank = int(os.environ["RANK"])
if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
    print(f"rank {rank} goes on", flush=True)
    sys.exit(0)
time.sleep(rank / 2)
sys.exit(75)
"""


#: A training that waits to be lost with its node, and the second time for leave to end.
LOST = """
import os, sys, time
from pathlib import Path
again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
Path(f"{'again' if again else 'begun'}-{os.environ['RANK']}").touch()
while not (again and Path("leave").exists()):
    time.sleep(0.1)
"""


@pytest.fixture
def by_hand(cluster, tmp_path, monkeypatch):
    """A study in a folder with a space; `by_hand(script, …)` submits it and waits for its end."""
    root = tmp_path / "my study"
    shutil.copytree(REPOSITORY / "slurm", root / "slurm", ignore=shutil.ignore_patterns("*.log"))
    shutil.copy(REPOSITORY / "study.yaml", root)
    for name in ("systems", "reported"):
        shutil.copytree(REPOSITORY / "data" / name, root / "data" / name)
    monkeypatch.setenv("SCALEBOOK_ROOT", str(root))

    def ask(*command: str, **environment: str) -> str:
        done = subprocess.run(
            command,
            cwd=root,
            env={**os.environ, **cluster.env, "PYTHON": sys.executable, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(script: str, *arguments: str, options: tuple[str, ...] = (), **environment: str):
        command = ["sbatch", "--parsable", *options, f"slurm/{script}", *arguments]
        return ended(ask(*command, **environment))

    def ended(job: str):
        # `sbatch --wait` looks ever less often.
        wait_until(lambda: not ask("squeue", "--noheader", f"--jobs={job}"), "its end")
        statuses = re.findall(r" ExitCode=(\d+):", ask("scontrol", "show", "job", job))
        log = "".join(path.read_text() for path in sorted((root / "slurm/logs").glob(f"*-{job}*")))
        return max(map(int, statuses)), log, job

    submit.root, submit.ask, submit.ended = root, ask, ended
    return submit


def script_of(root: Path, name: str, program: str) -> str:
    """A job script for two nodes whose ranks run a program."""
    (root / f"{name}.py").write_text(program)
    head = (root / "slurm" / "ddp_2gpu.sbatch").read_text().rpartition("run_experiment")[0]
    (root / "slurm" / f"{name}.sbatch").write_text(f"{head}step 2 2 {name}.py\n")
    return f"{name}.sbatch"


def only(root: Path, pattern: str) -> Path:
    found = list(root.glob(pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


def test_ddp_on_two_nodes_needs_no_argument_but_what_makes_it_small(by_hand):
    status, log, job = by_hand("ddp_2gpu.sbatch", *TINY, EPOCHS="1")
    assert status == 0, log
    manifest = json.loads(only(by_hand.root, "results/local/manifests/*.json").read_text())
    assert (manifest["experiment"], manifest["world_size"]) == ("ddp_2gpu", 2)
    assert [node["index"] for node in manifest["nodes"]] == [0, 1]
    assert manifest["attempts"][-1]["ended"] == "completed"
    noted = json.loads(only(by_hand.root, ".scalebook/jobs/*/job.json").read_text())
    assert noted["slurm_id"] == job and noted["id"] == manifest["job_id"]
    assert noted["output"] == f"slurm/logs/ddp_2gpu-{job}.log"
    assert noted["cluster"].startswith("mini-open-") and manifest["system"] == "mini-open"


def test_a_job_submitted_from_within_another_has_what_it_asked_for_itself(by_hand):
    inner = shlex.join(["sbatch", "--parsable", "slurm/ddp_2gpu.sbatch", *TINY])
    # As a Hub starts the server whose terminal this is.
    exported = "--export=PATH,SLURM_CONF,SCALEBOOK_ROOT,PYTHON,EPOCHS"
    outer = ("--mem=200", "--gpus=1", exported, "--output=outer.txt", f"--wrap={inner}")
    printed = by_hand.root / "outer.txt"
    by_hand.ask("sbatch", *outer, EPOCHS="1")
    wait_until(lambda: printed.exists() and printed.read_text().endswith("\n"), "it submits")
    status, log, job = by_hand.ended(printed.read_text().strip())
    assert status == 0, log
    noted = json.loads(only(by_hand.root, ".scalebook/jobs/*/job.json").read_text())
    assert noted["slurm_id"] == job


def test_ranks_that_ask_together_are_queued_again_though_one_ends_first(by_hand):
    status, log, _ = by_hand(script_of(by_hand.root, "asks", ASKS))
    assert status == 0, log
    assert "the job is queued again" in log
    assert "rank 0 goes on" in log and "rank 1 goes on" in log


def test_a_kill_that_a_lost_node_missed_does_not_end_the_next_attempt(cluster, by_hand):
    script = script_of(by_hand.root, "lost", LOST)
    job = by_hand.ask("sbatch", "--parsable", f"slurm/{script}")

    def both(what: str) -> bool:
        return all((by_hand.root / f"{what}-{rank}").exists() for rank in (0, 1))

    try:
        wait_until(lambda: both("begun"), "it trains")
        cluster.stop_node(2)
        cluster.start_node(2)  # at once: Slurm has not missed it
        wait_until(lambda: both("again"), "it trains again")
        # What Slurm sends a minute later, to the step of the attempt before.
        subprocess.run(["scancel", f"{job}.0"], env=cluster.env)
        steps = ("squeue", "--noheader", "--steps", f"--jobs={job}", "--format=%i")
        assert [one for one in by_hand.ask(*steps).split() if one[-1].isdigit()] == [f"{job}.1"]
    finally:
        (by_hand.root / "leave").touch()
    wait_until(lambda: not by_hand.ask("squeue", "--noheader", f"--jobs={job}"), "its end")
    assert "JobState=COMPLETED" in by_hand.ask("scontrol", "show", "job", job)


def test_a_ladder_takes_the_nodes_it_needs(by_hand):
    status, log, _ = by_hand("scaling_ladder.sbatch", *TINY, EPOCHS="1")
    assert status == 0, log
    found = [json.loads(path.read_text()) for path in by_hand.root.glob("results/*/manifests/*")]
    assert sorted((one["world_size"], len(one["nodes"])) for one in found) == [(1, 1), (2, 2)]


def test_one_task_a_node_starts_the_ranks_itself(by_hand):
    one = ("--nodes=1", "--ntasks-per-node=1")
    status, log, _ = by_hand(
        "train.sbatch", "ddp_1node", *TINY, options=one, EPOCHS="1", RANKS_PER_NODE="2"
    )
    assert status == 0, log
    manifest = json.loads(only(by_hand.root, "results/local/manifests/*.json").read_text())
    assert (manifest["world_size"], len(manifest["nodes"])) == (2, 1)


def test_environment_passes_and_names_what_a_node_lacks(by_hand):
    (by_hand.root / "data/set").mkdir()
    for split in ("train", "test"):
        (by_hand.root / f"data/set/{split}/class").mkdir(parents=True)
        (by_hand.root / f"data/set/{split}/class/1.png").touch()
    status, log, _ = by_hand("test_environment.sbatch")
    assert status == 0, log
    assert "node1" in log and "node2" in log and "data/set: 2 files" in log
    # The second node's Python finds no torchvision.
    site = by_hand.root / "elsewhere"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('SLURM_NODEID') == '1':\n"
        "    sys.modules['torchvision'] = None\n"
    )
    status, log, _ = by_hand("test_environment.sbatch", PYTHONPATH=str(site))
    assert status == 1
    faults = [line for line in log.splitlines() if line.startswith("node 1: ")]
    assert any("torchvision cannot be imported" in line for line in faults), log


def test_allreduce_writes_a_curve_that_is_read(by_hand):
    status, log, _ = by_hand("test_allreduce.sbatch", "--max-bytes", "4096")
    assert status == 0, log
    curve = results.allreduce()
    assert curve["bytes"].tolist() == [1024, 4096], results.problems()
    assert set(curve["system"]) == {"mini-open"} and set(curve["nodes"]) == {2}


def test_ranks_of_both_nodes_meet_at_the_interface_between_them(cluster):
    show = "echo $RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $GLOO_SOCKET_IFNAME"
    command = [str(REPOSITORY / "slurm/torch_env.sh"), "bash", "-c", show]
    wanted = [f"{rank} {rank % 2} 4 node1 eth0" for rank in range(4)]
    environment = {**os.environ, **cluster.env}
    tasks = subprocess.run(["srun", "-N2", "--ntasks-per-node=2", *command], text=True,
                           env=environment, capture_output=True, timeout=PATIENCE_S)  # fmt: skip
    nodes = subprocess.run(["srun", "-N2", "--ntasks-per-node=1", *command], text=True,
                           env={**environment, "RANKS_PER_NODE": "2"}, capture_output=True,
                           timeout=PATIENCE_S)  # fmt: skip
    assert sorted(tasks.stdout.splitlines()) == sorted(nodes.stdout.splitlines()) == wanted
