"""Jobs of Slurm against a made-up Slurm: submitting, gentle polling, and telling the truth."""

import datetime as dt
import errno
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from scalebook import contract, launch, live, study
from scalebook.cli import main
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import JobState
from scalebook.launch.slurm import commands, poller
from scalebook.launch.slurm.job import SlurmJob
from scalebook.launch.slurm.poller import Poller
from scalebook.launch.slurm.submit import Submission
from scalebook.launch.waiting import Backoff
from scalebook.launch.watch import watch

HOSTILE = "a b'; touch pwned; $(touch pwned) `touch pwned` \"\n#SBATCH --wrap=x"


class FakeSlurm:
    """Answers as Slurm does; `queue` and `accounting` hold lines, `down` what does not answer."""

    def __init__(self):
        self.cluster = "fake"
        self.queue, self.accounting, self.shown = {}, {}, {}
        self.down = set()
        self.gone = False
        self.no_accounting = False
        self.asked = []

    def __call__(self, argv):
        self.asked.append(argv[0])
        if self.gone:
            raise commands.NoSlurm("SLURM_CONF names no file")
        if argv[0] in self.down:
            raise commands.ControllerAway("Unable to contact slurm controller")
        if argv[:3] == ["scontrol", "show", "config"]:
            return f"ClusterName             = {self.cluster}\n"
        if argv[0] == "squeue":
            return "".join(self.queue.get(job, "") for job in argv[-1].split(","))
        if argv[0] == "sacct":
            if self.no_accounting:
                raise commands.NoAccounting("Slurm accounting storage is disabled")
            return "".join(self.accounting.get(job, "") for job in argv[-1].split(","))
        if argv[0] == "scontrol":
            if argv[-1] not in self.shown:
                raise commands.UnknownJob("Invalid job id specified")
            return self.shown[argv[-1]]
        assert argv[0] == "scancel"
        return ""

    def queued(self, job, state, reason="None", start="N/A", end="NONE"):
        number = job.partition("_")[0]
        self.queue[number] = f"{job}|{number}|{state}|{reason}|{start}|{end}|10:00\n"

    def ended(self, job, state, code="0:0", derived="0:0"):
        moment = "2026-01-01T10:00:00"
        self.accounting[job] = f"{job}|{job}|{state}|{code}|{derived}|{moment}|{moment}|{moment}|\n"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def slurm():
    return FakeSlurm()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def polls(slurm, clock):
    return Poller(slurm, clock, pause_s=2.0, longest_s=30.0)


def resolved(**overrides):
    settings = {"dataset": "synthetic", "epochs": 2, **overrides}
    return study.resolve(study.load(), "quick", "mini-open", overrides=settings)


def noted(root, number, submitted="2026-01-01T09:00:00Z", run_id=None):
    run_id = run_id or number.replace("_", "-")
    output = f"slurm/logs/quick-{number}.log"
    submission = Submission(run_id, number, "fake", ["sbatch"], output)
    SlurmJob.note(root, submission, resolved(), submitted)
    return run_id


@pytest.fixture
def job(study_root, slurm, polls):
    return SlurmJob(noted(study_root, "17"), study_root, polls)


def manifest(job, ended, reason="", number="17"):
    stem = job.stem
    path = contract.RunFiles(job.root / "results" / "local", str(stem)).manifest
    attempt = {"number": 1, "end": None, "ended": ended, "reason": reason,
               "scheduler": {"job_id": number}}  # fmt: skip
    contract.write_json(path, {"stem": str(stem), "attempts": [attempt]})
    return path


# --------------------------------------------------------------------------- a cluster that is gone


@pytest.mark.parametrize("now", ["none", "another"])
def test_a_job_whose_cluster_is_gone_names_what_closes_it(job, slurm, clock, now):
    slurm.queued("17", "RUNNING")
    assert job.state() is JobState.RUNNING
    with pytest.raises(UsageError, match="its cluster answers: scalebook cancel 17"):
        job.close()
    path = manifest(job, ended=None)
    clock.now += 100
    if now == "none":
        slurm.gone = True
    else:
        slurm.cluster = "later"
    assert job.state() is JobState.RUNNING
    assert "cluster fake does not answer here" in job.reason()
    assert job.reason().endswith(
        "last known state; if it is gone for good: scalebook cancel --gone 17"
    )
    # Job 17 is somebody else's there.
    asked = len(slurm.asked)
    with pytest.raises(ScalebookError, match="cannot be cancelled: .*scalebook cancel --gone 17$"):
        job.cancel()
    assert "scancel" not in slurm.asked[asked:]
    # From another terminal; who watches it hears of it.
    SlurmJob(job.id, job.root, job.poller).close()
    assert (job.state(), job.reason()) == (JobState.CANCELLED, "its cluster is gone")
    assert contract.read_json(path)["attempts"][-1]["ended"] == "cancelled"
    job.cancel()
    job.close()


def test_a_job_given_up_too_early_is_asked_about_again(job, slurm, clock):
    slurm.queued("17", "RUNNING")
    assert job.state() is JobState.RUNNING
    clock.now += 100
    slurm.gone = True
    contract.write_json(job.folder / "progress.json", {"phase": "train"})
    with pytest.raises(UsageError, match="reported progress 0 s ago"):
        job.close()
    (job.folder / "progress.json").unlink()
    job.output.parent.mkdir(parents=True)
    job.output.write_text("scalebook.train: lost contact\n")
    job.close()
    assert job.state() is JobState.CANCELLED
    slurm.gone = False
    clock.now += 100
    assert job.state() is JobState.RUNNING


def test_a_run_that_went_on_out_of_sight_is_completed(job, slurm, clock):
    path = manifest(job, None)
    slurm.ended("17", "FAILED", "1:0")
    assert job.state() is JobState.FAILED
    assert contract.read_json(path)["attempts"][-1]["ended"] == "failed"
    assert contract.close_attempt(path, "completed")
    assert job.state() is JobState.COMPLETED
    assert SlurmJob(job.id, job.root, job.poller).state() is JobState.COMPLETED


def test_a_job_resumed_by_another_process_is_seen_as_resumed(job, slurm, clock):
    slurm.ended("17", "FAILED", "1:0")
    assert job.state() is JobState.FAILED
    job.forget_end()
    submission = Submission("17", "18", "fake", ["sbatch"], None)
    SlurmJob.note(job.root, submission, job.resolved, None, ["17"])
    slurm.queued("18", "RUNNING")
    clock.now += 100
    assert job.state() is JobState.RUNNING


# --------------------------------------------------------------------------- polling


def test_many_jobs_are_one_question_and_pauses_grow_while_nothing_changes(
    study_root, slurm, polls, clock
):
    jobs = []
    for number in range(1, 41):
        slurm.queued(str(number), "PENDING", "Priority")
        jobs.append(SlurmJob(noted(study_root, str(number)), study_root, polls))
    for _ in range(3):
        assert {job.state() for job in jobs} == {JobState.PENDING}
    assert slurm.asked.count("squeue") == 1
    assert "sacct" not in slurm.asked
    for _ in range(600):
        clock.now += 1
        jobs[0].state()
    # Ten minutes at two seconds would be 300.
    assert 15 <= slurm.asked.count("squeue") <= 35


def test_a_change_shortens_the_pause():
    clock = Clock()
    pause = Backoff(clock, 2.0, 30.0)
    for _ in range(20):
        pause.asked(changed=False)
    clock.now = 29
    assert not pause.due()
    pause.soon()
    assert pause.due()
    pause.asked(changed=True)
    clock.now = 31
    assert pause.due()


def test_a_jobs_end_is_noticed_soon_though_the_pause_was_long(job, slurm, clock):
    slurm.queued("17", "RUNNING")
    for _ in range(100):
        clock.now += 2
        assert job.state() is JobState.RUNNING
    asked = slurm.asked.count("squeue")
    manifest(job, "completed")
    slurm.queued("17", "COMPLETED", end="2026-01-01T10:00:00")
    slurm.ended("17", "COMPLETED")
    clock.now += 2.5
    assert job.state() is JobState.COMPLETED
    assert slurm.asked.count("squeue") == asked + 1


def test_the_controller_may_be_away_for_a_while(job, slurm, clock):
    slurm.queued("17", "RUNNING")
    assert job.state() is JobState.RUNNING
    slurm.down = {"squeue", "scontrol"}
    for _ in range(50):
        clock.now += 30
        assert job.state() is JobState.RUNNING
    assert "has not answered since" in job.reason()
    slurm.down = set()
    slurm.queued("17", "PENDING", "JobHeldUser")
    clock.now += 30
    assert job.state() is JobState.PENDING
    assert "held by its owner" in job.reason()


def test_a_new_process_knows_the_last_state_while_the_controller_is_away(
    job, slurm, clock, study_root
):
    slurm.queued("17", "RUNNING")
    job.state()
    slurm.down = {"squeue", "scontrol"}
    again = SlurmJob("17", study_root, Poller(slurm, clock))
    assert again.state() is JobState.RUNNING
    assert "has not answered" in again.reason()


def test_an_end_is_kept_when_slurm_has_forgotten_the_job(job, slurm, clock, study_root):
    slurm.queued("17", "TIMEOUT", "TimeLimit", end="2026-01-01T10:00:00")
    slurm.ended("17", "TIMEOUT")
    manifest(job, None)
    assert job.state() is JobState.TIMEOUT
    attempt = contract.read_json(job.files().manifest)["attempts"][-1]
    assert attempt["ended"] == "timeout"
    assert "time limit" in attempt["reason"]
    slurm.queue, slurm.accounting = {}, {}
    asked = len(slurm.asked)
    again = SlurmJob("17", study_root, Poller(slurm, clock))
    assert again.state() is JobState.TIMEOUT
    assert len(slurm.asked) == asked


def test_accounting_that_lags_reports_no_end(job, slurm, clock):
    slurm.queued("17", "RUNNING")
    job.state()
    just_now = dt.datetime.now().strftime("%Y-%m-%dT%H:%M:%S")
    slurm.queued("17", "FAILED", "NonZeroExitCode", end=just_now)
    clock.now += 3
    assert job.state() is JobState.RUNNING
    slurm.accounting["17"] = (
        f"17|17|FAILED|1:0|0:125|{just_now}|{just_now}|{just_now}|\n"
        f"17.0|17.0|OUT_OF_MEMORY|0:125||{just_now}|{just_now}|{just_now}|\n"
    )
    clock.now += 3
    assert job.state() is JobState.OUT_OF_MEMORY


def test_without_accounting_the_controller_is_asked(job, slurm):
    slurm.no_accounting = True
    slurm.queued("17", "FAILED", "NonZeroExitCode", end="2026-01-01T10:00:00")
    slurm.shown["17"] = (
        "JobId=17 JobName=quick\n   JobState=FAILED Reason=NonZeroExitCode Dependency=(null)\n"
        "   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=9:0\n   DerivedExitCode=0:0\n"
    )
    assert job.state() is JobState.FAILED
    assert "exit status 9" in job.reason()


def test_the_same_number_on_another_cluster_is_another_job(job, slurm):
    slurm.cluster = "other"
    slurm.queued("17", "RUNNING")
    assert job.state() is JobState.PENDING
    assert "cluster fake does not answer here, other does" in job.reason()
    manifest(job, "completed")
    assert job.state() is JobState.COMPLETED


def test_another_jobs_attempt_in_the_manifest_is_not_taken_for_this_one(job, slurm):
    slurm.queued("17", "COMPLETED", end="2026-01-01T10:00:00")
    slurm.ended("17", "COMPLETED")
    manifest(job, "completed", number="16")
    assert job.state() is JobState.FAILED
    assert "its run did not finish" in job.reason()


def test_a_requeued_job_that_fails_before_training_does_not_tell_its_earlier_attempt(job, slurm):
    manifest(job, "timeout", "stopped before the time limit")
    slurm.ended("17", "REQUEUED")
    first = slurm.accounting["17"]
    slurm.ended("17", "FAILED", "3:0")
    slurm.accounting["17"] = first + slurm.accounting["17"]
    assert job.state() is JobState.FAILED
    assert job.reason() == "its script ended with exit status 3"


def test_a_failed_job_says_what_to_do(job, slurm, study_root):
    slurm.queued("17", "FAILED", "NonZeroExitCode", end="2026-01-01T10:00:00")
    slurm.ended("17", "FAILED", "1:0")
    contract.write_whole(
        study_root / "slurm/logs/quick-17.log", "no space\nNo space left on device\n"
    )
    assert job.logs(1) == "No space left on device"
    assert "free space" in job.reason()
    assert "scalebook run --resume 17" in job.reason()


def test_cancel_asks_slurm_once_and_never_for_a_finished_job(job, slurm):
    slurm.queued("17", "RUNNING")
    job.cancel()
    assert slurm.asked.count("scancel") == 1
    slurm.queued("17", "CANCELLED", end="2026-01-01T10:00:00")
    slurm.ended("17", "CANCELLED by 0")
    assert job.state() is JobState.CANCELLED
    job.cancel()
    assert slurm.asked.count("scancel") == 1


# --------------------------------------------------------------------------- telling


def test_a_manifest_that_could_not_be_closed_is_closed_at_the_next_look(
    job, slurm, clock, monkeypatch
):
    path = manifest(job, None)
    slurm.ended("17", "FAILED", "1:0")
    with monkeypatch.context() as full:
        full.setattr(contract, "write_json", disk_full(contract.write_json, path))
        assert job.state() is JobState.FAILED
    assert contract.read_json(path)["attempts"][-1]["ended"] is None
    clock.now += 60
    assert SlurmJob(job.id, job.root, job.poller).state() is JobState.FAILED
    assert contract.read_json(path)["attempts"][-1]["ended"] == "failed"


def disk_full(write, path):
    """Writing JSON while the disk of one file is full."""

    def write_json(target, value):
        if target == path:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(target, value)

    return write_json


def test_notes_that_name_no_job_are_one_line_about_that_job(study_root, slurm, capsys):
    noted(study_root, "17")
    noted(study_root, "18")
    noted(study_root, "19")
    path = study_root / ".scalebook/jobs/19/job.json"
    contract.write_json(path, {"launcher": "slurm", "slurm_id": "--all"})
    for number, name in (("17", "job.json"), ("18", "resolved.json")):
        path = study_root / f".scalebook/jobs/{number}/{name}"
        contract.write_json(path, {"launcher": "slurm"})
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert "job 17: its job.json holds no slurm_id" in done.output
    assert "job 18: its resolved.json holds no 'layout'" in done.output
    assert "job 19: its job.json holds slurm_id '--all', no number" in done.output


def test_a_watch_writes_a_line_a_change_and_none_for_a_new_guess(job, slurm, clock, capsys):
    starts = iter(["2026-01-01T10:00:00", "2026-01-01T11:00:00"])

    def change(_):
        clock.now += 40
        start = next(starts, None)
        if start:
            slurm.queued("17", "PENDING", "Resources", start=start)
        else:
            slurm.queued("17", "CANCELLED", end="2026-01-01T10:00:00")
            slurm.ended("17", "CANCELLED by 0")

    slurm.queued("17", "PENDING", "Resources")
    assert watch(job, poll_s=0, on_poll=change) is JobState.CANCELLED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "quick: pending (waiting for nodes to become free (Resources))"
    assert lines[1].startswith("quick: cancelled (by root")
    assert len(lines) == 2


def test_interrupting_a_watch_leaves_the_job_alone(job, slurm, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    slurm.queued("17", "RUNNING")
    assert watch(job, on_poll=interrupt) is JobState.RUNNING
    assert "scancel" not in slurm.asked
    assert "scalebook watch 17" in capsys.readouterr().err


# --------------------------------------------------------------------------- finding


def test_a_job_is_found_by_slurms_number_where_only_one_has_it(study_root):
    noted(study_root, "17", run_id="t261123-081500-7f-17")
    noted(study_root, "18_3")
    assert launch.find("17").id == "t261123-081500-7f-17"
    assert launch.find("18_3").id == "18-3"
    assert launch.find("18-3").slurm_id == "18_3"
    noted(study_root, "17", run_id="t261124-081500-7f-17")
    with pytest.raises(UsageError, match="2 runs have that number"):
        launch.find("17")
    with pytest.raises(ScalebookError, match="no job '4'"):
        launch.find("4")


def test_a_look_is_remembered_where_nothing_can_be_written(job, slurm, clock, monkeypatch):
    def full(path, value):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    slurm.queued("17", "PENDING")
    assert job.state() is JobState.PENDING
    with monkeypatch.context() as patched:
        patched.setattr(contract, "write_json", full)
        slurm.queued("17", "RUNNING")
        clock.now += 100
        assert job.state() is JobState.RUNNING
        slurm.down = {"squeue", "scontrol", "sacct"}
        clock.now += 100
        assert job.state() is JobState.RUNNING and "last known state" in job.reason()
    assert job.state() is JobState.RUNNING  # and there is room again
    assert contract.read_json(job.folder / "state.json")["state"] == "RUNNING"


@pytest.mark.parametrize("submitted", ["yesterday", "2026-01-01", 7, None])
def test_a_time_of_submission_that_nobody_can_read_is_long_ago(study_root, polls, submitted):
    job = SlurmJob(noted(study_root, "17", submitted), study_root, polls)
    assert job.submitted.year == 1970 and job.state() is JobState.FAILED


# --------------------------------------------------------------------------- submitting


@pytest.fixture
def sbatch(tmp_path, study_root, monkeypatch):
    """Commands of Slurm that note how they were called; returns the calls, oldest first."""
    bin_dir = tmp_path / "fake bin"
    bin_dir.mkdir()
    calls = tmp_path / "calls.jsonl"
    program = f"""#!{sys.executable}
import json, os, sys
name = os.path.basename(sys.argv[0])
with open({str(calls)!r}, "a") as file:
    file.write(json.dumps([[name, *sys.argv[1:]], dict(os.environ), os.getcwd()]) + "\\n")
if name == "sbatch" and os.path.exists({str(tmp_path / "refuse")!r}):
    sys.exit("sbatch: error: invalid partition specified: x\\nsbatch: error: Batch job "
             "submission failed: Invalid partition name specified")
print({{"sbatch": "42", "scontrol": "ClusterName = fake"}}.get(name, ""))
"""
    for name in ("sbatch", "scontrol", "squeue", "sacct", "scancel"):
        (bin_dir / name).write_text(program)
        (bin_dir / name).chmod(0o755)
    conf = tmp_path / "slurm.conf"
    conf.write_text("")
    monkeypatch.setenv("PATH", str(bin_dir), prepend=":")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    (study_root / "slurm").mkdir()
    for name in ("train.sbatch", "ddp_2gpu.sbatch"):
        (study_root / "slurm" / name).write_text("#!/bin/bash\n")

    def read():
        found = [json.loads(line) for line in calls.read_text().splitlines()]
        return [call for call in found if call[0][0] == "sbatch"]

    monkeypatch.setattr(poller, "_POLLERS", {})
    return read


def test_submit_calls_sbatch_with_checked_options_and_takes_notes(study_root, sbatch, monkeypatch):
    for name, value in {
        "SLURM_JOB_ID": "7", "SBATCH_PARTITION": "leaked", "SLURM_NTASKS": "9",
        "MPLBACKEND": "module://x", "SCALEBOOK_JOB_ID": "7", "SCALEBOOK_NO_SUBMIT": "0",
        "SCALEBOOK_RESUME": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    job = launch.submit(resolved())
    [(argv, environment, folder)] = sbatch()
    assert folder == str(study_root)
    assert argv[:3] == ["sbatch", "--parsable", "--chdir=."]
    assert {"--job-name=quick", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0"} < set(argv)
    assert argv[argv.index("slurm/train.sbatch") + 1] == "quick"
    leaked = [name for name in environment if name.startswith(("SLURM_", "SBATCH_"))]
    assert leaked == ["SLURM_CONF"]
    assert not {"MPLBACKEND", "SCALEBOOK_JOB_ID", "SCALEBOOK_RESUME"} & set(environment)
    path = study_root / environment["SCALEBOOK_RESOLVED"]
    assert contract.read_json(path) == resolved()
    assert json.loads(environment["SCALEBOOK_SUBMIT_COMMAND"]) == argv
    assert (job.id, job.slurm_id, job.cluster) == ("42", "42", "fake")
    assert job.notes["output"] == "slurm/logs/quick-42.log"
    assert launch.find("42").resolved == resolved()


def test_what_a_waiting_job_reads_is_never_written_again(study_root, sbatch, monkeypatch):
    monkeypatch.setattr(contract, "new_job_id", lambda: "t260101-090000-0000")  # of one second
    for seed in (1, 2):
        launch.submit({**resolved(), "seed": seed})
    files = [study_root / environment["SCALEBOOK_RESOLVED"] for _, environment, _ in sbatch()]
    assert [contract.read_json(path)["seed"] for path in files] == [1, 2]


def test_hostile_words_reach_sbatch_as_single_arguments_only(study_root, sbatch):
    launch.submit(resolved(data_dir=HOSTILE))
    [(argv, environment, _)] = sbatch()
    assert [word for word in argv if "pwned" in word] == [f"data_dir={json.dumps(HOSTILE)}"]
    # After the script: no option of sbatch.
    assert argv.index("slurm/train.sbatch") < argv.index(f"data_dir={json.dumps(HOSTILE)}")
    assert (
        contract.read_json(study_root / environment["SCALEBOOK_RESOLVED"])["dataset"]["dir"]
        == HOSTILE
    )
    assert not list(study_root.rglob("pwned"))


def test_a_systems_options_are_passed_on(study_root, sbatch):
    text = (study_root / "study.yaml").read_text()
    text = text.replace("systems:", "systems:\n  site: {launcher: slurm, slurm: {partition: gpu, "
                        'account: acc, time: "30", memory: 8G, cpus_per_rank: 4, gpus: true, '
                        "container: project.sif}}", 1)  # fmt: skip
    (study_root / "study.yaml").write_text(text)
    one = study.resolve(study.load(), "ddp_2gpu", "site", overrides={"nodes": 1})
    launch.submit(one)
    [(argv, environment, _)] = sbatch()
    assert {"--partition=gpu", "--account=acc", "--time=30", "--mem=8G", "--cpus-per-task=4",
            "--ntasks-per-node=2", "--gpus-per-node=2"} < set(argv)  # fmt: skip
    assert "slurm/ddp_2gpu.sbatch" in argv
    assert environment["CONTAINER"] == "project.sif"


def test_a_refusal_is_one_line_in_slurms_words_and_leaves_nothing(study_root, sbatch, tmp_path):
    (tmp_path / "refuse").touch()
    with pytest.raises(ScalebookError, match="Invalid partition name specified") as caught:
        launch.submit(resolved())
    assert "\n" not in str(caught.value)
    assert launch.jobs() == []
    assert not list((study_root / ".scalebook").rglob("*.json"))


def test_a_refusal_leaves_the_files_of_an_equal_run_alone(study_root, sbatch, tmp_path):
    launch.submit(resolved())
    (tmp_path / "refuse").touch()
    with pytest.raises(ScalebookError):
        launch.submit(resolved())
    assert len(list((study_root / ".scalebook" / "resolved").iterdir())) == 1


def test_an_array_has_one_task_a_run(study_root, sbatch):
    runs = [resolved(epochs=epochs) for epochs in (1, 2, 3)]
    before = [launch.find(noted(study_root, number)) for number in ("40", "41_2")]
    jobs = launch.submit_array(runs, study_root, after=before)
    [(argv, environment, _)] = sbatch()
    assert {"--array=0-2%1", "--dependency=afterany:40:41_2"} < set(argv)
    assert "--output=slurm/logs/%x-%A_%a.log" in argv
    folder = study_root / environment["SCALEBOOK_RESOLVED"]
    assert [contract.read_json(folder / f"{task}.json") for task in range(3)] == runs
    assert [job.id for job in jobs] == ["42-0", "42-1", "42-2"]
    assert jobs[2].slurm_id == "42_2"
    assert jobs[2].notes["output"] == "slurm/logs/quick-42_2.log"
    with pytest.raises(UsageError, match="cannot be one array"):
        launch.submit_array([runs[0], resolved(world_size=1)], study_root)


def test_resuming_submits_the_same_run_under_a_new_number(study_root, sbatch):
    run_id = noted(study_root, "17")
    job = launch.find(run_id)
    contract.write_json(
        job.folder / "state.json",
        {"slurm_id": "17", "state": "TIMEOUT", "reason": "late", "settled": True},
    )
    again = launch.resume("17")
    [(_, environment, _)] = sbatch()
    assert environment["SCALEBOOK_JOB_ID"] == "17"
    assert environment["SCALEBOOK_RESUME"] == "1"
    assert (again.id, again.slurm_id, again.scheduler_ids) == ("17", "42", ["17", "42"])
    assert launch.find("42").id == "17"
    assert not (again.folder / "state.json").exists()


def test_without_slurm_a_submission_says_what_to_do(study_root, monkeypatch):
    (study_root / "slurm").mkdir()
    (study_root / "slurm" / "train.sbatch").write_text("#!/bin/bash\n")
    monkeypatch.setenv("SLURM_CONF", str(study_root / "gone.conf"))
    monkeypatch.setattr(poller, "_POLLERS", {})
    with pytest.raises(UsageError, match="--system local"):
        launch.submit(resolved())
    monkeypatch.delenv("SLURM_CONF")
    monkeypatch.setenv("PATH", str(study_root))
    choice = launch.pick_system(study.load())
    assert str(choice) == "system local (no Slurm on this machine)"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("Unable to contact slurm controller (connect failure)", "does not answer (Unable to"),
        (
            "fetch_config: Unable to contact slurm controller (connect failure)\n"
            "scontrol: fatal: Could not establish a configuration source",
            "does not answer (Slurm finds no configuration",
        ),
        ("SLURM_CONF", "does not answer (SLURM_CONF names no file)"),
        ("", "cluster fake answers here, and no system"),
    ],
)
def test_where_slurm_is_set_up_nothing_trains_here_unasked(
    study_root, sbatch, monkeypatch, answer, message
):
    text = (study_root / "study.yaml").read_text()
    none = text.replace(
        "magic-castle: {launcher: slurm}", "magic-castle: {launcher: slurm, cluster: x}"
    )
    assert none != text
    (study_root / "study.yaml").write_text(none)
    if answer == "SLURM_CONF":
        monkeypatch.setenv("SLURM_CONF", str(study_root / "gone.conf"))
    elif answer:
        scontrol = study_root / "away" / "scontrol"
        scontrol.parent.mkdir()
        line = shlex.quote(f"scontrol: error: {answer}")
        scontrol.write_text(f"#!/bin/sh\necho {line} >&2; exit 1\n")
        scontrol.chmod(0o755)
        monkeypatch.setenv("PATH", f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ScalebookError, match=re.escape(message)) as caught:
        launch.pick_system(study.load())
    assert "--system local trains right here" in str(caught.value)
    for command in (["submit", "quick"], ["run", "quick"], ["run", "--all", "--dry-run"]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1 and message in done.output
    with pytest.raises(ScalebookError, match=re.escape(message)):
        live.run_or_attach("quick", submit=True)
    assert not launch.jobs(study_root)
    assert launch.pick_system(study.load(), "local").system == "local"


def test_auto_is_the_system_of_the_cluster_that_answers(study_root, sbatch):
    choice = launch.pick_system(study.load())
    assert str(choice) == "system magic-castle (Slurm's cluster fake answers)"
    assert launch.pick_system(study.load(), "local").system == "local"
    text = (study_root / "study.yaml").read_text().replace("mini-open-*", "fa*e")
    (study_root / "study.yaml").write_text(text)
    assert launch.pick_system(study.load()).system == "mini-open"


def test_the_command_line_tells_a_refusal_in_one_line(study_root, sbatch, tmp_path):
    (tmp_path / "refuse").touch()
    done = subprocess.run(
        [sys.executable, "-m", "scalebook.cli", "submit", "quick", "--system", "mini-open",
         "--set", "dataset=synthetic"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Slurm refuses it: invalid partition specified: x" in done.stderr
