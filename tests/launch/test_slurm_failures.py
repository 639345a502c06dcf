"""Every way a job may end, provoked on the small cluster: what the monitor says of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import pytest
from slurm_study import (
    Watched,
    at_work,
    learnt,
    make,
    rank_process,
    scalebook,
    slurm,
    start_scalebook,
    step_of,
    submit,
)
from waiting import PATIENCE_S, wait_until

from minislurm import MiniCluster
from scalebook import contract, launch
from scalebook.launch import Job, JobState

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def root(cluster, tmp_path_factory):
    with at_work(make(tmp_path_factory.mktemp("failures")), cluster) as folder:
        yield folder


def watched(job: Job) -> tuple[int, str]:
    """Exit status of `scalebook watch` and what it prints."""
    done = scalebook("watch", job.id)
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def begun(job: Job) -> bool:
    """Whether a run trains."""
    return job.progress().phase == "train"


def second(job: Job) -> bool:
    """Whether a run is within its second epoch."""
    return step_of(job, 2) > 1


def attempts(job: Job) -> list[dict]:
    return contract.read_json(job.files().manifest)["attempts"]


# --------------------------------------------------------------------------- waiting


@pytest.fixture(scope="module")
def waiting(root):
    """What `scalebook status` says of jobs that wait for a full cluster; all are then cancelled."""
    jobs = {"fills": submit("fills")}
    wait_until(lambda: jobs["fills"].state() is JobState.RUNNING, "the cluster is full")
    for name in ("waits", "held", "never"):
        jobs[name] = submit("sleeps")
    slurm("scontrol", "uhold", jobs["held"].slurm_id)
    gone = submit("sleeps")
    wait_until(lambda: gone.state() is JobState.PENDING, "it waits")
    slurm("scontrol", "update", f"JobId={jobs['never'].slurm_id}",
          f"Dependency=afterok:{gone.slurm_id}")  # fmt: skip
    gone.cancel()
    known = {job.id: name for name, job in jobs.items()}

    def status() -> dict[str, dict]:
        rows = json.loads(scalebook("status", "--json").stdout)
        return {known[row["job"]]: row for row in rows if row["job"] in known}

    # Slurm's reason is empty until the scheduler has looked at a job, and now and then after that.
    rows: dict[str, dict] = {}
    looked_for = {"waits": "(", "held": "Held", "never": "Never"}

    def all_wait() -> bool:
        rows.update(status())
        return all(word in rows[name]["reason"] for name, word in looked_for.items())

    wait_until(all_wait, "each has its reason")
    watching = start_scalebook("watch", jobs["waits"].id)
    wait_until(lambda: "sleeps" in watching.stdout.readline(), "it is watched")
    assert scalebook("cancel", jobs["waits"].id).exit_code == 0
    text = watching.communicate(timeout=PATIENCE_S)[0]
    slurm("scancel", jobs["fills"].slurm_id)
    for name in ("held", "never"):
        jobs[name].cancel()
    Watched(jobs).to_the_end()
    return jobs, rows, (watching.returncode, text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("waits", ["("]),  # Resources, or Priority where another job waits too
        ("held", ["held by its owner", "scontrol release", "(JobHeldUser)"]),
        ("never", ["never starts", "cancel it", "(DependencyNeverSatisfied)"]),
    ],
)
def test_a_job_that_waits_says_why(waiting, name, words):
    _, rows, _ = waiting
    assert rows[name]["state"] == "pending"
    assert all(word in rows[name]["reason"] for word in words), rows[name]


def test_a_cancelled_job_ends_its_watch_with_1(waiting):
    jobs, _, (status, text) = waiting
    assert status == 1 and "cancelled" in text and "Traceback" not in text, text
    for name in ("waits", "fills", "held", "never"):
        assert jobs[name].state() is JobState.CANCELLED, name
        assert jobs[name].reason().startswith("by "), jobs[name].reason()
    assert "before it started" in jobs["held"].reason()
    assert "before it started" not in jobs["fills"].reason()
    status, text = watched(jobs["fills"])
    assert status == 1 and "cancelled" in text


# --------------------------------------------------------------------------- jobs that end badly


@pytest.fixture(scope="module")
def shot(root, tmp_path_factory):
    """Side by side: jobs that run into each limit; runs of one seed, one of them left alone."""
    absent = tmp_path_factory.mktemp("absent") / "python"
    absent.write_text(
        f'#!/bin/bash\n[ "${{RANK:-0}}" = 0 ] || exec sleep 300\nexec {sys.executable} "$@"\n'
    )
    absent.chmod(0o755)
    jobs = {"stubborn": submit("stubborn")}
    wait_until(lambda: jobs["stubborn"].state() is JobState.RUNNING, "it runs")
    slurm("scontrol", "update", f"JobId={jobs['stubborn'].slurm_id}", "EndTime=now+15")
    jobs["eats"] = submit("eats", "little-memory")
    jobs["hung"] = submit("long_two", timeout_s=30, epochs=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON", str(absent))
        jobs["absent"] = submit("two", timeout_s=4)
    jobs["hushed"] = submit("hushed")
    jobs["unsaved"] = submit("unsaved")
    jobs["unwritten"] = submit("unwritten")
    jobs |= {name: submit("long_two") for name in ("alone", "limit")}
    jobs["hand"] = submit("long_one")
    watched = Watched(jobs)
    watched.once("hung", begun, lambda job: os.kill(rank_process(job, 1), signal.SIGSTOP))
    watched.once("limit", second, lambda job: slurm("scancel", "--signal=USR1", job.slurm_id))
    watched.once("hand", second, lambda job: slurm("scontrol", "requeue", job.slurm_id))
    return watched.to_the_end()


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("stubborn", JobState.TIMEOUT, ["reached its time limit", "sbatch -t"]),
        ("eats", JobState.OUT_OF_MEMORY, ["more memory than the job was given", "--mem="]),
        ("hushed", JobState.FAILED, ["step 0 ended with exit status 9", "script ended with 0"]),
        ("hung", JobState.FAILED, ["for 30 s", "--resume"]),
        ("absent", JobState.FAILED, ["a rank or its node did not start", "sinfo -R"]),
        ("unsaved", JobState.FAILED, ["the disk is full", "--resume"]),
        ("unwritten", JobState.FAILED, ["the disk is full", "free space"]),
    ],
)
def test_a_job_that_ends_badly_says_how_why_and_what_to_do(shot, name, state, words):
    job = shot.jobs[name]
    assert job.state() is state, (job.reason(), job.logs())
    reason = job.reason()
    assert "\n" not in reason and all(word in reason for word in words), (reason, job.logs())
    assert shot.seen[name][-1] == (state, reason)
    status, text = watched(job)
    assert status == 1 and state.value in text and reason in text


def test_a_job_lost_to_its_limit_closes_its_manifest(shot):
    assert [one["ended"] for one in attempts(shot.jobs["hung"])] == ["failed"]
    assert [one["ended"] for one in attempts(shot.jobs["unsaved"])] == ["failed"]
    assert not [name for name in ("stubborn", "eats", "hushed") if shot.jobs[name].files()]


# --------------------------------------------------------------------------- jobs that go on


def test_a_run_that_its_time_limit_interrupts_goes_on_within_the_epoch(shot):
    job = shot.jobs["limit"]
    assert job.state() is JobState.COMPLETED, job.logs()
    assert learnt(job) == learnt(shot.jobs["alone"]) and len(learnt(job)) == 2
    first, second = attempts(job)
    assert (first["ended"], second["ended"]) == ("timeout", "completed")
    assert "checkpoint at epoch 2, step" in first["reason"]
    assert (second["first_epoch"], second["scheduler"]["restart_count"]) == (2, "1")
    assert any("requeued" in reason for reason in shot.reasons("limit", JobState.PENDING))
    assert watched(job)[0] == 0


def test_a_run_that_is_requeued_by_hand_goes_on(shot):
    job = shot.jobs["hand"]
    assert job.state() is JobState.COMPLETED, job.logs()
    assert any("requeued" in reason for reason in shot.reasons("hand", JobState.PENDING))
    assert [one["ended"] for one in attempts(job)][-1] == "completed"
    assert len(attempts(job)) == 2
    assert watched(job)[0] == 0


@pytest.fixture(scope="module")
def overtaken(shot):
    """An urgent job takes both nodes from a run and from a job that may not be requeued."""
    jobs = {"run": submit("long_one"), "stays": submit("stays")}

    def overtake(_: Job) -> None:
        slurm("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null",
              "--wrap=sleep 1")  # fmt: skip

    watched = Watched(jobs)
    watched.once("run", second, overtake)
    return watched.to_the_end()


def test_a_preempted_run_is_requeued_and_goes_on(overtaken, shot):
    job = overtaken.jobs["run"]
    assert job.state() is JobState.COMPLETED, job.logs()
    waited = overtaken.reasons("run", JobState.PENDING)
    assert any("after a job of higher priority took its nodes" in reason for reason in waited)
    assert learnt(job) == learnt(shot.jobs["hand"]) and len(attempts(job)) == 2
    assert watched(job)[0] == 0


def test_a_preempted_job_that_may_not_be_requeued_has_ended(overtaken):
    job = overtaken.jobs["stays"]
    assert job.state() is JobState.PREEMPTED, overtaken.seen["stays"]
    assert "higher priority" in job.reason()
    status, text = watched(job)
    assert status == 1 and "preempted" in text


@pytest.fixture(scope="module")
def bereft(cluster, shot):
    """The node of a run and of a job that may not be requeued dies."""
    jobs = {"run": submit("long_one"), "stays": submit("stays")}
    lost: list[int] = []

    def node(job: Job) -> str:
        return slurm("squeue", "-h", "-o", "%N", "-j", job.slurm_id)

    def lose(_: Job) -> None:
        for number in sorted({int(node(job).removeprefix("node")) for job in jobs.values()}):
            cluster.stop_node(number)
            lost.append(number)

    watched = Watched(jobs)

    def both(job: Job) -> bool:
        return second(job) and jobs["stays"].state() is JobState.RUNNING

    watched.once("run", both, lose)
    try:
        watched.once("stays", lambda job: job.state().finished, lambda _: back(cluster, lost))
        yield watched.to_the_end()
    finally:
        back(cluster, lost)


def back(cluster: MiniCluster, lost: list[int]) -> None:
    while lost:
        cluster.start_node(lost.pop())


def test_a_run_that_loses_its_node_is_requeued_and_goes_on(bereft, shot):
    job = bereft.jobs["run"]
    assert job.state() is JobState.COMPLETED, job.logs()
    waited = bereft.reasons("run", JobState.PENDING)
    assert any("requeued after a node was lost" in reason for reason in waited), waited
    assert learnt(job) == learnt(shot.jobs["hand"])
    assert [one["ended"] for one in attempts(job)] == ["killed", "completed"]
    assert watched(job)[0] == 0


def test_a_job_that_loses_its_node_and_may_not_be_requeued_has_ended(bereft):
    job = bereft.jobs["stays"]
    assert job.state() is JobState.NODE_FAIL, bereft.seen["stays"]
    assert "a node was lost" in job.reason() and "sinfo -R" in job.reason()
    status, text = watched(job)
    assert status == 1 and "node lost" in text


# --------------------------------------------------------------------------- Slurm itself


def test_a_watch_outlives_a_controller_that_is_away_for_a_while(cluster, root):
    job = submit("long_one", epochs=5)
    wait_until(lambda: job.state() is JobState.RUNNING and begun(job), "it trains")
    missed = []

    def away() -> None:
        cluster.stop_controller()
        try:
            wait_until(lambda: "has not answered since" in job.reason(), "it is missed")
            missed.append((job.state(), job.reason()))
        finally:
            cluster.start_controller()

    thread = threading.Thread(target=away)
    thread.start()
    status, text = watched(job)
    thread.join()
    [(state, reason)] = missed
    assert state is JobState.RUNNING and "last known state" in reason
    assert status == 0 and "has not answered since" in text and "completed" in text, text
    assert len(learnt(job)) == 5


def test_a_job_whose_cluster_was_taken_down_is_closed_by_hand(tmp_path):
    with (
        MiniCluster(name=f"gone-{os.getpid()}", nodes=1, accounting=False, owned=True) as gone,
        at_work(make(tmp_path / "study"), gone),
    ):
        job = submit("sleeps")
        wait_until(lambda: job.state() is JobState.RUNNING, "it runs")
        gone.down()
        wait_until(lambda: "does not answer here" in job.reason(), "it is missed")
        closing = f"scalebook cancel --gone {job.id}"
        [row] = json.loads(scalebook("status", "--json").stdout)
        assert row["state"] == "running" and closing in row["reason"], row
        done = scalebook("cancel", job.id)
        assert done.exit_code == 1 and closing in done.output
        assert scalebook("cancel", "--gone", job.id).exit_code == 0
        status, text = watched(job)
        assert status == 1 and "cancelled (its cluster is gone)" in text, text


def test_without_accounting_a_job_is_followed_all_the_same(tmp_path):
    name = f"noacct-{os.getpid()}"
    with (
        MiniCluster(name=name, nodes=1, accounting=False, owned=True) as bare,
        at_work(make(tmp_path / "study"), bare),
    ):
        jobs = {"one": submit("one", epochs=1), "hushed": submit("hushed")}
        eats = submit("eats", "little-memory")
        Watched({**jobs, "eats": eats}).to_the_end()
        assert jobs["one"].state() is JobState.COMPLETED, jobs["one"].logs()
        status, text = watched(jobs["one"])
        assert status == 0 and str(jobs["one"].stem) in text
        assert jobs["hushed"].state() is JobState.FAILED
        assert "exit status 9" in jobs["hushed"].reason()
        assert eats.state() is JobState.OUT_OF_MEMORY, eats.reason()
        assert watched(jobs["hushed"])[0] == watched(eats)[0] == 1
        # Its controller remembers that there is no accounting: text, not kept silent.
        collected = launch.collect(jobs["one"])
        assert "accounting" in collected.note and not collected.files.sacct.is_file()
