"""The scripts of slurm/, without Slurm: faked commands and variables stand for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from paths import REPOSITORY
from waiting import PATIENCE_S, wait_until

from scalebook.cli.command import main

SCRIPTS = sorted((REPOSITORY / "slurm").glob("*.sbatch"))
SHELL = [*SCRIPTS, *sorted((REPOSITORY / "slurm").glob("*.sh"))]
TRAINING = [path for path in SCRIPTS if not path.name.startswith("test_")]

#: Commands of a node: hosts come from the test, and eth7 leads to all of them.
FAKES = {
    "scontrol": '[ "$1" = show ] && [ "$2" = hostnames ] && { echo "$3" | tr , "\\n"; exit; }\n'
    'echo "scontrol $*" >> "$CALLS"; echo "   SubmitTime=2026-01-02T03:04:05 AccrueTime=x"',
    "getent": '[ "$2" = nowhere ] && exit 2; echo "10.0.0.9 STREAM $2"',
    "ip": 'echo "10.0.0.9 dev eth7 src 10.0.0.1 uid 0 \\\\    cache"',
    "srun": 'printf "%s\\n" srun "$@" >> "$CALLS"; eval "${SRUN:-:}"',
    "apptainer": 'printf "%s\\n" apptainer "$@"',
}


@pytest.fixture
def node(tmp_path):
    """Environment of a task on the first of two nodes."""
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    for name, body in FAKES.items():
        (fakes / name).write_text(f"#!/bin/bash\n{body}\n")
        (fakes / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    kept.pop("MASTER_PORT", None)
    return {
        **kept,
        "PATH": f"{fakes}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        **{
            "SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "a,b",
            "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "a,b",
            "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_NTASKS": "2", "SLURM_PROCID": "0",
            "SLURM_NODEID": "0", "SLURM_LOCALID": "0",
        },
    }  # fmt: skip


def torch_env(environment, *command, **changes):
    return subprocess.run(
        [str(REPOSITORY / "slurm" / "torch_env.sh"), *command],
        env={**environment, **changes},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def shown(environment, **changes):
    """What a rank sees, as a mapping."""
    done = torch_env(environment, "env", **changes)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_scripts_are_valid_bash(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert max(map(len, text.splitlines())) <= 110
    if shutil.which("shellcheck"):
        names = [str(path.relative_to(REPOSITORY))]
        done = subprocess.run(
            ["shellcheck", "-x", *names], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_job_scripts_are_short_and_ask_for_what_they_need(path):
    text = path.read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.M))
    assert len(text.splitlines()) <= 26
    assert options["job-name"] == path.stem
    assert options["output"].startswith("slurm/logs/%x-")
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time"} <= set(options)
    if path in TRAINING:
        assert options["signal"] == "USR1@120" and options["open-mode"] == "append"
        assert "requeue" in options
    assert f"slurm/{path.name}" in text, "the line to type is missing"


def test_one_task_for_each_rank(node):
    seen = shown(node, SLURM_STEP_TASKS_PER_NODE="2(x2),1", SLURM_NTASKS="5", SLURM_NODEID="2",
                 SLURM_PROCID="4", SLURM_LOCALID="0", SLURM_STEP_NODELIST="a,b,c",
                 SLURM_STEP_NUM_NODES="3")  # fmt: skip
    assert (seen["RANK"], seen["LOCAL_RANK"]) == ("4", "0")
    assert (seen["WORLD_SIZE"], seen["LOCAL_WORLD_SIZE"]) == ("5", "1")
    assert seen["MASTER_ADDR"] == "a"
    assert seen["GLOO_SOCKET_IFNAME"] == seen["NCCL_SOCKET_IFNAME"] == "eth7"
    seen = shown(node, SLURM_STEP_TASKS_PER_NODE="2(x2),1", SLURM_NTASKS="5", SLURM_NODEID="1",
                 SLURM_PROCID="3", SLURM_LOCALID="1")  # fmt: skip
    assert (seen["RANK"], seen["LOCAL_RANK"], seen["LOCAL_WORLD_SIZE"]) == ("3", "1", "2")


def test_one_task_for_each_node_starts_its_ranks(node):
    done = torch_env(node, "bash", "-c", 'echo "$RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE '
                     '$SLURM_CPUS_PER_TASK"',
                     RANKS_PER_NODE="3", SLURM_NODEID="1", SLURM_CPUS_PER_TASK="7")  # fmt: skip
    assert sorted(done.stdout.splitlines()) == ["3/6 0/3 2", "4/6 1/3 2", "5/6 2/3 2"]


def test_one_node_talks_to_itself_and_a_site_may_name_the_interface(node):
    alone = {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "a"}
    assert shown(node, **alone)["GLOO_SOCKET_IFNAME"] == "lo"
    assert shown(node, NCCL_SOCKET_IFNAME="hsn")["NCCL_SOCKET_IFNAME"] == "hsn"


def test_without_a_route_pytorch_picks_and_it_is_said(node):
    done = torch_env(node, "env", SLURM_STEP_NODELIST="nowhere,b", SLURM_NODEID="1")
    assert "SOCKET_IFNAME" not in done.stdout
    assert "finds no route to nowhere" in done.stderr and done.returncode == 0


@pytest.mark.slow
def test_ports_differ_between_jobs_and_steps_and_are_not_ephemeral(node):
    pairs = [("17", "0"), ("17", "1"), ("18", "0"), ("1266", "0"), ("4294901759", "0")]
    ports = [
        int(shown(node, SLURM_JOB_ID=job, SLURM_STEP_ID=step)["MASTER_PORT"]) for job, step in pairs
    ]
    assert len(set(ports)) == len(ports)
    assert all(10000 <= port < 30000 for port in ports)


def test_a_port_that_is_set_stays(node):
    assert shown(node, MASTER_PORT="29517")["MASTER_PORT"] == "29517"


@pytest.mark.parametrize("body", [None, "exit 1", "echo a"], ids=["none", "fails", "one of two"])
def test_a_scontrol_that_names_no_hosts_is_one_line(node, body):
    fake = Path(node["PATH"].partition(":")[0]) / "scontrol"
    fake.write_text(f"#!/bin/bash\n{body}\n")
    if body is None:
        fake.unlink()
        for name in ("bash", "dirname"):
            (fake.parent / name).symlink_to(shutil.which(name))
        node["PATH"] = str(fake.parent)
    done = torch_env(node, "true")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "node 0 has no scontrol that names the hosts of a,b" in line
    assert torch_env(node, "true", SLURM_LOCALID="1").stderr == ""


def test_arguments_reach_the_command_unchanged(node):
    odd = ["a b", "$(touch /tmp/no)", "'", '"', ";", "*", ""]
    done = torch_env(node, "printf", "[%s]\n", *odd)
    assert done.stdout == "".join(f"[{word}]\n" for word in odd)


def test_the_command_runs_in_the_image(node):
    done = torch_env(node, "python", "-m", "x", CONTAINER="my image.sif")
    words = done.stdout.splitlines()
    assert words[:2] == ["apptainer", "exec"]
    assert words[-4:] == ["my image.sif", "python", "-m", "x"]


@pytest.mark.parametrize("ranks", [None, "2"])
@pytest.mark.parametrize("status", [0, 3, 75])
def test_the_exit_status_is_that_of_the_ranks(node, ranks, status):
    changes = {"RANKS_PER_NODE": ranks} if ranks else {}
    assert torch_env(node, "bash", "-c", f"exit {status}", **changes).returncode == status


def test_a_wish_to_be_queued_again_is_noted_and_no_failure(node, tmp_path):
    note = tmp_path / "with space"
    done = torch_env(node, "bash", "-c", "exit 75", SCALEBOOK_REQUEUE=str(note))
    assert done.returncode == 0 and note.exists()
    note.unlink()
    # One rank asks, the other fails: that is a failure.
    done = torch_env(node, "bash", "-c", "exit $((75 - 70 * RANK))", RANKS_PER_NODE="2",
                     SCALEBOOK_REQUEUE=str(note))  # fmt: skip
    assert done.returncode == 5 and not note.exists()


def test_the_first_failure_ends_the_other_ranks(node):
    # They would outlast the patience of this test.
    done = torch_env(
        node, "bash", "-c", "if [ $RANK = 1 ]; then exit 9; fi; exec sleep 6000", RANKS_PER_NODE="3"
    )
    assert done.returncode == 9


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signals_reach_every_rank_and_their_end_is_waited_for(node, tmp_path, name):
    program = (
        "import os, pathlib, signal, sys, time\n"
        "here, rank = pathlib.Path(sys.argv[1]), os.environ['RANK']\n"
        "def stop(*_):\n"
        "    time.sleep(0.5)\n"
        "    (here / f'saved{rank}').touch()\n"
        "    sys.exit(75)\n"
        f"signal.signal(signal.{name}, stop)\n"
        "(here / f'ready{rank}').touch()\n"
        "time.sleep(6000)\n"
    )
    command = [str(REPOSITORY / "slurm" / "torch_env.sh"), sys.executable, "-c", program]
    process = subprocess.Popen([*command, str(tmp_path)], env={**node, "RANKS_PER_NODE": "2"})
    try:
        wait_until(lambda: len(list(tmp_path.glob("ready*"))) == 2)
        process.send_signal(signal.Signals[name])
        assert process.wait(PATIENCE_S) == 75
    finally:
        process.kill()
    assert len(list(tmp_path.glob("saved*"))) == 2


# --------------------------------------------------------------------------- a job by hand


@pytest.fixture
def job(node, tmp_path):
    """A study in a folder with a space, and the variables of a job submitted from it."""
    root = tmp_path / "my study"
    shutil.copytree(REPOSITORY / "slurm", root / "slurm", ignore=shutil.ignore_patterns("*.log"))
    shutil.copy(REPOSITORY / "study.yaml", root)
    shutil.copytree(REPOSITORY / "data" / "systems", root / "data" / "systems")
    environment = {key: value for key, value in node.items() if "SCALEBOOK" not in key}
    environment.update(SLURM_SUBMIT_DIR=str(root), SLURM_CLUSTER_NAME="mini-1gbit-260101-010101-aa",
                       SLURM_TASKS_PER_NODE="1(x2)", PYTHON=sys.executable,
                       https_proxy="http://127.0.0.1:9")  # fmt: skip
    return root, environment


def sbatch(job, script, *arguments, **changes):
    root, environment = job
    return subprocess.run(
        ["bash", str(root / "slurm" / script), *arguments],
        env={**environment, **changes},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def notes(root, task=""):
    folder = root / ".scalebook" / "jobs" / f"t260101-010101-aa-17{task}"
    return [json.loads((folder / name).read_text()) for name in ("resolved.json", "job.json")]


def calls(job):
    return Path(job[1]["CALLS"]).read_text().splitlines()


def test_a_job_by_hand_resolves_notes_itself_and_starts_its_ranks(job):
    done = sbatch(job, "ddp_2gpu.sbatch", "--seed", "4", EPOCHS="3", TZ="UTC")
    assert done.returncode == 0, done.stderr
    resolved, noted = notes(job[0])
    assert (resolved["experiment"], resolved["system"]) == ("ddp_2gpu", "mini-1gbit")
    assert (resolved["seed"], resolved["training"]["epochs"]) == (4, 3)
    assert resolved["layout"]["nodes"] == 2
    assert noted["submitted"] == "2026-01-02T03:04:05Z"
    assert (noted["launcher"], noted["slurm_id"], noted["command"]) == ("slurm", "17", None)
    said = calls(job)
    assert {"--kill-on-bad-exit=1", "--nodes=2", "--ntasks=2", "scalebook.train"} <= set(said)
    assert said[-1] == ".scalebook/jobs/t260101-010101-aa-17/resolved.json"
    assert not any(line.startswith("scontrol requeue") for line in said)


def test_a_job_by_hand_without_images_notes_that_they_are_generated_or_does_not_start(job):
    done = sbatch(job, "ddp_2gpu.sbatch")
    assert done.returncode == 0 and "asking for CIFAR-10" in done.stderr
    resolved, _ = notes(job[0])
    assert resolved["dataset"]["source"] == "auto"
    assert "cannot download" in resolved["dataset"]["generated"]
    Path(job[1]["CALLS"]).unlink()
    done = sbatch(job, "ddp_2gpu.sbatch", "--set", "dataset=cifar10", SLURM_JOB_ID="18")
    assert done.returncode == 1
    assert "no CIFAR-10 there" in done.stderr and "--set dataset=synthetic" in done.stderr
    assert not any("scalebook.train" in line for line in calls(job))


@pytest.mark.slow
def test_a_job_queued_again_keeps_what_it_resolved(job):
    root = job[0]
    assert sbatch(job, "ddp_2gpu.sbatch").returncode == 0
    before = notes(root)
    study = root / "study.yaml"
    study.write_text(study.read_text().replace("weight_decay: 5.0e-4", "weight_decay: 1.0e-4"))
    assert sbatch(job, "ddp_2gpu.sbatch", SLURM_RESTART_COUNT="1").returncode == 0
    assert notes(root) == before
    # Not queued again, but a number that another job of the study had.
    done = sbatch(job, "ddp_2gpu.sbatch")
    assert done.returncode == 1 and "holds another run of that id" in done.stderr
    assert notes(root) == before


@pytest.mark.slow
def test_ranks_that_ask_for_it_are_queued_again(job):
    done = sbatch(job, "ddp_2gpu.sbatch", SRUN='touch "$SCALEBOOK_REQUEUE"')
    assert done.returncode == 75
    assert calls(job)[-1] == "scontrol requeue 17"
    # The number of an array's last task is that of the array: one task alone is meant.
    array = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2"}
    sbatch(job, "scaling_ladder.sbatch", SRUN='touch "$SCALEBOOK_REQUEUE"', **array)
    assert calls(job)[-1] == "scontrol requeue 17_2"
    assert sbatch(job, "ddp_2gpu.sbatch", SRUN="exit 143").returncode == 143


@pytest.mark.slow
def test_the_number_in_an_array_is_the_seed_and_of_the_ladder_the_ranks(job):
    array = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_JOB_ID": "19", "SLURM_ARRAY_TASK_ID": "2"}
    assert sbatch(job, "ddp_2gpu.sbatch", **array).returncode == 0
    resolved, noted = notes(job[0], "-2")
    assert (resolved["seed"], noted["slurm_id"]) == (2, "17_2")
    shutil.rmtree(job[0] / ".scalebook")
    done = sbatch(job, "scaling_ladder.sbatch", "ddp_weak", **{**array, "SLURM_ARRAY_TASK_ID": "1"})
    assert done.returncode == 0, done.stderr
    resolved, _ = notes(job[0], "-1")
    assert (resolved["experiment"], resolved["seed"]) == ("ddp_weak", 0)
    assert (resolved["layout"]["world_size"], resolved["layout"]["nodes"]) == (1, 1)
    assert {"--nodes=1", "--ntasks=1"} <= set(calls(job)[-20:])


def test_one_task_a_node_where_the_site_wants_that(job):
    done = sbatch(job, "train.sbatch", "ddp_1node", RANKS_PER_NODE="2", SRUN="echo $RANKS_PER_NODE",
                  SLURM_JOB_NUM_NODES="1", SLURM_NTASKS="1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"--nodes=1", "--ntasks=1"} <= set(calls(job))
    assert done.stdout.strip() == "2"


def test_a_submitted_job_takes_the_file_it_is_given(job):
    root = job[0]
    given = root / "re solved"
    given.mkdir()
    layout = {"nodes": 2, "world_size": 4, "ranks_per_node": 2}
    (given / "7.json").write_text(json.dumps({"layout": layout}))
    array = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "7"}
    done = sbatch(job, "train.sbatch", SCALEBOOK_RESOLVED="re solved", **array)
    assert done.returncode == 0, done.stderr
    assert calls(job)[-1] == "re solved/7.json" and "--ntasks=4" in calls(job)


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        (("--set", "epochs=none"), {}, "epochs"),
        ((), {"EPOCHS": "$(touch no)"}, "epochs"),
        ((), {"SYSTEM": "nowhere"}, "no system 'nowhere'"),
        ((), {"SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1"}, "sbatch --nodes=2 --ntasks-per-n"),
        ((), {"SLURM_SUBMIT_DIR": "/", "SCALEBOOK_ROOT": ""}, "common.sh"),
        ((), {"PYTHON": "false"}, "lacks packages"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(job, arguments, changes, said):
    done = sbatch(job, "ddp_2gpu.sbatch", *arguments, **changes)
    assert done.returncode not in (0, 75)
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not Path(job[1]["CALLS"]).exists() or "srun" not in calls(job)
    assert not (job[0] / "no").exists()


def test_resolve_for_a_job_outside_of_one_says_so(study_root, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    done = CliRunner().invoke(main, ["resolve", "baseline", "--job"])
    assert done.exit_code == 2 and "no Slurm job" in done.output


def test_system_says_what_the_study_knows(study_root, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "mini-200mbit-260101-010101-aa")
    known = json.loads(CliRunner().invoke(main, ["system"]).output)
    assert known["system"] == "mini-200mbit" and known["facts"]["link_gbit_s"] == 0.2
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "another")
    assert json.loads(CliRunner().invoke(main, ["system"]).output)["system"] == "magic-castle"
