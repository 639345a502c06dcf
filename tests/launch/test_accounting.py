"""Slurm's accounting is kept without names, waited for, and never lost; `collect` checks files.

``recorded/accounting`` holds what ``sacct`` printed on the small cluster, ``|`` for the separator.
"""

import csv
import datetime as dt
import os
import time

import pytest
from fabricate import add_run
from paths import REPOSITORY

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem
from scalebook.launch import JobState, collect
from scalebook.launch.checking import check_file
from scalebook.launch.slurm import accounting, commands
from scalebook.launch.slurm.commands import ControllerAway, NoAccounting

RECORDED = REPOSITORY / "tests" / "recorded" / "accounting"
CLUSTER = "mini-open-261123-083053-89"


class FakeJob:
    """A job of Slurm that has ended."""

    def __init__(self, root, slurm_ids=("1",), cluster=CLUSTER, submitted="2026-11-23T08:30:56Z"):
        self.root, self.slurm_ids, self.cluster = root, list(slurm_ids), cluster
        self.submitted = dt.datetime.fromisoformat(submitted)
        self.id = f"t261123-083053-89-{slurm_ids[-1].replace('_', '-')}"
        self.stem = Stem("baseline", self.id, 1, "cpu")
        self.resolved = {"training": {"profile": False, "untimed_steps": 1}}
        self.now = JobState.COMPLETED

    def leave(self, **changes):
        add_run(self.root, job_id=self.id, **changes)
        return self

    def keep_accounting(self):
        return record(self)

    def files(self):
        files = RunFiles(self.root / "results", str(self.stem))
        return files if files.manifest.is_file() else None

    def state(self):
        return self.now

    def reason(self):
        return "the disk is full"


def record(job, **more):
    """Why there is no accounting; empty where there is."""
    return accounting.record(job.files(), job.slurm_ids, job.cluster, job.submitted, **more)


def kept_of(job, **more):
    """Where the accounting lies; there is some."""
    assert record(job, **more) == ""
    return job.files().sacct


def recorded(name):
    text = (RECORDED / f"{name}.txt").read_text()
    return text.replace("|", accounting._SEPARATOR) if name != "odd-name" else text


def answers(*texts):
    """Stands in for sacct: one answer after the other, then the last one for ever."""
    left = list(texts)

    def asked(argv):
        assert argv[0] == "sacct" and {"-D", "-P"} <= set(argv)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asked


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_all_attempts_and_steps_are_kept_without_names(study_root):
    job = FakeJob(study_root, ["6"]).leave()
    path = kept_of(job, asked=answers(recorded("requeued")))
    kept = rows(path)
    assert [row["State"] for row in kept if row["JobID"] == "6"] == ["REQUEUED", "COMPLETED"]
    assert len(kept) == 6
    assert tuple(kept[0]) == accounting.COLUMNS
    assert kept[0]["Start"] == "2026-11-23T08:31:03Z"
    assert path == RunFiles(study_root / "results", str(job.stem)).sacct
    text = path.read_text()
    assert CLUSTER not in text and "root" not in text
    check_file(path, "x")


@pytest.mark.parametrize(
    ("name", "number", "states"),
    [
        ("cancelled", "3", ["CANCELLED", "CANCELLED", "CANCELLED"]),
        ("derived", "4", ["COMPLETED", "COMPLETED", "FAILED"]),
        ("array", "5_3", ["COMPLETED"] * 3),
        ("heterogeneous", "1", ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]),
    ],
)
def test_states_are_slurms_without_the_one_who_cancelled(study_root, name, number, states):
    job = FakeJob(study_root, [number]).leave()
    kept = rows(kept_of(job, asked=answers(recorded(name))))
    assert [row["State"] for row in kept] == states
    check_file(job.files().sacct, "x")


def test_a_job_name_that_could_be_a_path_or_break_the_line_is_left_out(study_root):
    job = FakeJob(study_root, ["2"]).leave()
    kept = rows(kept_of(job, asked=answers(recorded("odd-name"))))
    assert [row["JobName"] for row in kept] == ["(name)", "batch", "(name)"]


def test_accounting_that_lags_is_waited_for(study_root):
    job = FakeJob(study_root, ["6"]).leave()
    late = answers("", ControllerAway("gone"), recorded("requeued-waiting"), recorded("requeued"))
    assert len(rows(kept_of(job, asked=late))) == 6


def test_what_is_not_final_in_time_is_said_and_not_written(study_root):
    job = FakeJob(study_root, ["6"]).leave()
    assert "later" in record(job, timeout_s=0.3, asked=answers(recorded("requeued-waiting")))
    assert not job.files().sacct.exists()


@pytest.mark.parametrize("job", [{"cluster": "another"}, {"submitted": "2026-12-24T00:00:00Z"}])
def test_another_job_of_the_same_number_is_not_taken(study_root, job):
    one = FakeJob(study_root, **job).leave()
    assert record(one, timeout_s=0.3, asked=answers(recorded("completed")))
    assert not one.files().sacct.exists()


def test_the_jobs_that_a_resumed_run_had_before_belong_to_it(study_root):
    job = FakeJob(study_root, ["3", "6"], submitted="2026-11-23T08:31:00Z").leave()
    text = recorded("cancelled") + recorded("requeued")
    assert len(rows(kept_of(job, asked=answers(text)))) == 9


def test_without_accounting_that_is_said_at_once_and_a_record_is_never_lost(
    study_root, monkeypatch
):
    job = FakeJob(study_root).leave()
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
        none = record(job, asked=answers(NoAccounting("storage is disabled")))
    assert "storage is disabled" in none
    path = kept_of(job, asked=answers(recorded("completed")))
    before = path.stat().st_mtime_ns
    kept_of(job, timeout_s=0.1, asked=answers(""))
    kept_of(job, asked=answers(recorded("completed")))
    assert path.stat().st_mtime_ns == before
    old = job.files().manifest
    os.utime(old, (1, 1))
    path.unlink()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    assert record(job, asked=answers(""))


# --------------------------------------------------------------------------- collect


@pytest.fixture
def sacct(monkeypatch):
    monkeypatch.setattr(accounting, "_ask_in_utc", answers(recorded("completed")))


def test_collecting_twice_changes_nothing(study_root, sacct):
    job = FakeJob(study_root).leave()
    first = collect(job)
    assert first.files.sacct.is_file() and not first.note
    seen = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (study_root / "results").rglob("*")
        if path.is_file()
    }
    assert collect(job) == first
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in seen} == seen


def test_a_failed_job_says_why_in_one_line_and_keeps_its_accounting(study_root, sacct):
    job = FakeJob(study_root).leave()
    job.now = JobState.FAILED
    with pytest.raises(ScalebookError, match="failed: the disk is full") as caught:
        collect(job)
    assert "\n" not in str(caught.value)
    assert job.files().sacct.is_file()
    job.now = JobState.RUNNING
    with pytest.raises(ScalebookError, match="still running"):
        collect(job)


def spoil(files, what):
    document = contract.read_json(files.manifest)
    if what == "no csv":
        files.csv.unlink()
    elif what == "short":
        files.csv.write_text("\n".join(files.csv.read_text().splitlines()[:-1]) + "\n")
    elif what == "wrong":
        files.csv.write_text(files.csv.read_text().replace("40.0", "400.0"))
    elif what == "steps":
        files.steps.write_bytes(b"\x1f\x8bnothing")
    elif what == "profile":
        document["resolved"]["training"] = {"profile": True}
    else:
        document["attempts"][-1]["ended"] = "failed"
    contract.write_json(files.manifest, document)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no csv", "no such file"),
        ("short", "holds 2 epochs"),
        ("wrong", "percentage"),
        ("steps", "gzip"),
        ("profile", "was profiled"),
        ("failed", "is failed"),
    ],
)
def test_damaged_files_are_one_line(study_root, sacct, what, message):
    job = FakeJob(study_root).leave()
    spoil(job.files(), what)
    with pytest.raises(ScalebookError, match=message) as caught:
        collect(job)
    assert "\n" not in str(caught.value)


def test_a_rank_without_steps_is_noticed(study_root, sacct):
    job = FakeJob(study_root).leave()
    files = job.files()
    document = contract.read_json(files.manifest)
    two = Stem("baseline", job.id, 2, "cpu")
    job.stem = two
    moved = RunFiles(files.results, str(two))
    contract.write_json(moved.manifest, {**document, "stem": str(two), "world_size": 2})
    files.csv.rename(moved.csv)
    files.steps.rename(moved.steps)
    with pytest.raises(ScalebookError, match="no step of epoch 1, rank 1"):
        collect(job)


@pytest.mark.slurm
def test_a_real_job_is_accounted_for(cluster, study_root, monkeypatch):
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    submitted = contract.utc_now()
    number = commands.ask(
        ["sbatch", "--parsable", "--output=/dev/null", "--job-name=baseline", "--mem=200",
         "--wrap=srun true"]
    ).strip()  # fmt: skip
    name = commands.ask(commands.scontrol_config()).partition("ClusterName")[2].split()[1]
    job = FakeJob(study_root, [number], name, submitted).leave()
    while commands.ask(["squeue", "-h", "-j", number, "-t", "PD,R,CG"]).strip():
        time.sleep(0.3)
    kept = rows(kept_of(job, timeout_s=30))
    assert {row["State"] for row in kept} == {"COMPLETED"}
    assert {row["JobID"] for row in kept} == {number, f"{number}.batch", f"{number}.0"}
