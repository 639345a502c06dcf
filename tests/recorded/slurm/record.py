"""Records what Slurm answers about jobs in every state, for the tests of the parser and the rules.

    python tests/recorded/slurm/record.py

Needs root and the packages of the small cluster; takes about three minutes. Each event is provoked
on a small cluster, and the answers to the very questions that the package asks are kept beside this
file in ``<event>.txt``; complaints in ``complaints.json``.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from minislurm import MiniCluster
from scalebook.launch.slurm import commands

HERE = Path(__file__).resolve().parent
OOM = "srun python3 -c 'print(len(bytearray(600 << 20)))'"
complaints: dict[str, str] = {}


class Recorder:
    """Submits scripts to one cluster and keeps answers."""

    def __init__(self, cluster: MiniCluster, suffix: str = "") -> None:
        self.cluster, self.suffix = cluster, suffix
        self.folder = Path(tempfile.mkdtemp(prefix="record-"))

    def call(self, *argv: str, said: str = "") -> str:
        environment = {**self.cluster.env, "SLURM_TIME_FORMAT": "standard"}
        done = subprocess.run(
            argv, env=environment, cwd=self.folder, capture_output=True, text=True
        )
        if done.stderr and said:
            complaints[said] = done.stderr
        return done.stdout

    def submit(self, body: str, *options: str, said: str = "") -> str:
        script = self.folder / "job.sh"
        script.write_text(f"#!/bin/sh\n{body}\n")
        out = self.call(
            "sbatch", "--parsable", "--output=/dev/null", *options, str(script), said=said
        )
        return out.strip()

    def keep(self, event: str, job: str) -> None:
        number = job.partition("_")[0]
        answers = []
        for kind, argv in (
            ("squeue", commands.squeue([number])),
            ("sacct", commands.sacct([number])),
            ("scontrol", commands.scontrol_job(job)),
        ):
            none = kind == "sacct" and self.suffix
            text = self.call(*argv, said="no accounting in sacct" if none else "")
            answers.append(f"$ {kind}\n{scrubbed(text).rstrip()}\n".replace("\n\n", "\n"))
        (HERE / f"{event}{self.suffix}.txt").write_text("".join(answers))

    def until(self, job: str, *words: str, seconds: float = 100) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            line = self.call(*commands.squeue([job.partition("_")[0]]))
            if any(word in line for word in words):
                return
            time.sleep(0.2)
        raise AssertionError(f"{job}: none of {words} in {line!r}")


def scrubbed(text: str) -> str:
    """Without users, folders and hosts."""
    text = re.sub(r"(UserId|GroupId)=\S+", r"\1=user(1000)", text)
    text = re.sub(r"(Account)=\S+", r"\1=project", text)
    text = re.sub(r"(Command|WorkDir|Std\w+)=.*", r"\1=/home/user/study", text)
    return re.sub(r"AllocNode:Sid=\S+", "AllocNode:Sid=login:1", text)


def busy(recorder: Recorder) -> str:
    job = recorder.submit("sleep 300", "-N2", "--exclusive", "-t", "10")
    recorder.until(job, "|RUNNING|")
    return job


def ends(recorder: Recorder) -> None:
    """Jobs that run into their ends by themselves."""
    r = recorder
    late = r.submit("srun sleep 300", "-t", "1")
    for event, body, options in (
        ("completed", "srun true", ()),
        ("failed", "exit 9", ()),
        ("step-failed", "srun sh -c 'exit 9'; exit 0", ()),
        ("killed", "kill -9 $$", ()),
        ("out-of-memory", OOM, ("--mem=60M",)),
        ("step-out-of-memory", OOM + "; exit 0", ("--mem=60M",)),
    ):
        job = r.submit(body, *options)
        r.until(job, "|COMPLETED|", "|FAILED|", "|OUT_OF_MEMORY|")
        time.sleep(2)
        r.keep(event, job)
    job = r.submit("srun sleep 300")
    r.until(job, "|RUNNING|")
    time.sleep(1)
    r.keep("running", job)
    r.call("scontrol", "suspend", job)
    r.keep("suspended", job)
    r.call("scontrol", "resume", job)
    r.call("scancel", job)
    r.until(job, "|CANCELLED|")
    time.sleep(2)
    r.keep("cancelled", job)
    r.until(late, "|TIMEOUT|", seconds=150)
    time.sleep(2)
    r.keep("time-limit", late)


def heterogeneous(recorder: Recorder) -> None:
    """Jobs of two parts, ``17+0`` and ``17+1``, of which one may fail."""
    r = recorder
    fails = "srun --het-group={} sh -c 'exit 7'; srun --het-group={} sleep 1; exit 0"
    for event, body in (
        ("heterogeneous", "srun --het-group=0,1 sleep 1"),
        ("heterogeneous-first-failed", fails.format(0, 1)),
        ("heterogeneous-second-failed", fails.format(1, 0)),
    ):
        job = r.submit(f"#SBATCH hetjob\n{body}")
        if event == "heterogeneous":
            r.until(job, "|RUNNING|")
            r.keep("heterogeneous-running", job)
        r.until(job, "|COMPLETED|", "|FAILED|")
        time.sleep(2)
        r.keep(event, job)


def waits(recorder: Recorder) -> None:
    """Jobs that wait, for every common reason."""
    r = recorder
    first = busy(r)
    jobs = {
        "waiting-resources": (r.submit("true", "-N2", "-t", "5"), "Resources"),
        "waiting-priority": (r.submit("true", "-t", "5"), "Priority"),
        "held-user": (r.submit("true", "--hold"), "JobHeldUser"),
        "dependency": (r.submit("true", f"--dependency=afterok:{first}"), "Dependency"),
        "begin-time": (r.submit("true", "--begin=now+1hour"), "BeginTime"),
        "array": (r.submit("sleep 60", "--array=0-3%1"), "|PENDING|"),
    }
    job = r.submit("true")
    r.call("scontrol", "hold", job)
    jobs["held-admin"] = (job, "JobHeldAdmin")
    time.sleep(3)
    for event, (job, word) in jobs.items():
        r.until(job, word)
        r.keep(event, job if event != "array" else f"{job}_2")
    r.call("scancel", first)
    never = r.submit("true", f"--dependency=afterok:{first}")
    time.sleep(3)
    job = jobs["dependency"][0]
    r.until(job, "DependencyNeverSatisfied", seconds=40)
    r.keep("dependency-never", job)
    r.call("scancel", job, never, jobs["waiting-resources"][0], jobs["waiting-priority"][0])
    array = jobs["array"][0]
    r.until(array, "|RUNNING|")
    r.keep("array-running", f"{array}_0")
    r.call("scancel", array)
    r.until(array, "|CANCELLED|")
    time.sleep(3)
    r.keep("array-cancelled", f"{array}_2")
    job = jobs["held-user"][0]
    r.call("scancel", job)
    time.sleep(2)
    r.keep("cancelled-before-start", job)


def interruptions(recorder: Recorder) -> None:
    """Jobs that Slurm takes from their nodes."""
    r = recorder
    job = r.submit("srun sleep 300", "--requeue")
    r.until(job, "|RUNNING|")
    time.sleep(1)
    r.call("scontrol", "requeue", job)
    r.until(job, "|PENDING|BeginTime")
    time.sleep(2)
    r.keep("requeued", job)
    r.until(job, "|RUNNING|", seconds=200)
    time.sleep(1)
    r.keep("requeued-running", job)
    r.call("scancel", job)

    job = r.submit("srun sleep 300", "--requeue", "-N2", "--exclusive")
    r.until(job, "|RUNNING|")
    time.sleep(1)
    urgent = r.submit("sleep 300", "-p", "urgent", "-N2", "--exclusive")
    r.until(urgent, "|RUNNING|")
    r.until(job, "|PENDING|BeginTime")
    time.sleep(2)
    r.keep("preempted", job)
    r.call("scancel", urgent, job)
    time.sleep(3)

    kept = r.submit("srun sleep 300", "--requeue", "-w", "node2")
    lost = r.submit("srun sleep 300", "--no-requeue", "-w", "node2")
    r.until(kept, "|RUNNING|")
    r.until(lost, "|RUNNING|")
    time.sleep(1)
    r.cluster.stop_node(2)
    r.until(lost, "|NODE_FAIL|", seconds=200)
    r.until(kept, "|PENDING|")
    time.sleep(2)
    r.keep("node-lost", lost)
    r.keep("node-lost-requeued", kept)
    need = r.submit("true", "-w", "node2")
    time.sleep(3)
    r.keep("node-not-available", need)
    r.call("scancel", kept, need)
    r.cluster.start_node(2)


def refusals(recorder: Recorder) -> None:
    """What Slurm says when it will not, or cannot, answer."""
    r = recorder
    r.submit("true", "-p", "nope", said="bad partition")
    r.submit("true", "-N", "50", said="too many nodes")
    r.submit("true", "-t", "garbage", said="bad time")
    r.submit("true", "--mem=9T", said="too much memory")
    r.call(*commands.squeue(["999999"]), said="unknown job in squeue")
    r.call(*commands.scontrol_job("999999"), said="unknown job in scontrol")
    r.cluster.stop_controller()
    r.call(*commands.squeue(["1"]), said="controller away in squeue")
    r.call(*commands.scontrol_config(), said="controller away in scontrol")
    r.call(*commands.scancel("1"), said="controller away in scancel")
    r.submit("true", said="controller away in sbatch")
    r.cluster.start_controller()


def main() -> None:
    """Record everything."""
    with MiniCluster(name="record", owned=True) as cluster:
        recorder = Recorder(cluster)
        ends(recorder)
        heterogeneous(recorder)
        waits(recorder)
        interruptions(recorder)
        refusals(recorder)
    with MiniCluster(name="record", owned=True, accounting=False) as cluster:
        recorder = Recorder(cluster, ".no-accounting")
        ends(recorder)
        heterogeneous(recorder)
    (HERE / "complaints.json").write_text(json.dumps(complaints, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
