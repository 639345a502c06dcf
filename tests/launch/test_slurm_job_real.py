"""Runs submitted to Slurm on the small cluster: followed, cancelled, resumed, collected."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from paths import REPOSITORY
from waiting import PATIENCE_S, wait_until

from scalebook import contract, launch, study
from scalebook.contract import ScalebookError
from scalebook.launch import JobState
from scalebook.project import doctor

pytestmark = pytest.mark.slurm

TINY = {
    "dataset": "synthetic",
    "train_images": 64,
    "val_images": 32,
    "global_batch": 16,
    "epochs": 1,
    "untimed_steps": 1,
    "threads_per_rank": 1,
}


@pytest.fixture
def root(cluster, study_root, monkeypatch):
    """An empty study with the scripts of this project."""
    shutil.copytree(REPOSITORY / "slurm", study_root / "slurm")
    monkeypatch.setenv("PYTHON", sys.executable)
    yield study_root
    for job in launch.jobs(study_root):
        job.cancel()


def resolved(experiment="quick", **overrides):
    return study.resolve(study.load(), experiment, "mini-open", overrides={**TINY, **overrides})


def test_a_run_on_two_nodes_is_followed_and_collected(root):
    job = launch.submit(resolved())
    assert launch.find(job.slurm_id).id == job.id
    assert job.wait(PATIENCE_S) is JobState.COMPLETED, job.logs()
    collected = launch.collect(job)
    assert collected.files.csv.is_file()
    assert collected.files.sacct.is_file()
    assert "node1" not in collected.files.sacct.read_text()
    manifest = contract.read_json(collected.files.manifest)
    assert manifest["submitted"] == job.notes["command"]
    assert manifest["attempts"][-1]["scheduler"]["job_id"] == job.slurm_id
    assert launch.collect(job).files == collected.files


def test_a_cancelled_run_is_resumed_in_the_same_csv(root):
    job = launch.submit(resolved(epochs=400))
    wait_until(lambda: job.progress().epoch >= 2)
    assert job.state() is JobState.RUNNING
    job.cancel()
    assert job.wait(PATIENCE_S) is JobState.CANCELLED
    assert job.reason().startswith("by ")
    with pytest.raises(ScalebookError, match="cancelled"):
        launch.collect(job)
    again = launch.resume(job.id)
    assert (again.id, again.scheduler_ids[0]) == (job.id, job.scheduler_ids[0])
    assert again.slurm_id != again.scheduler_ids[0]
    wait_until(lambda: again.progress().phase == "train" and again.progress().step > 0)
    assert again.progress().epoch >= 2
    again.cancel()
    assert again.wait(PATIENCE_S) is JobState.CANCELLED
    assert len(contract.read_json(again.files().manifest)["attempts"]) == 2


def test_the_doctor_shows_how_long_a_cancelled_job_has(root):
    [slurm] = [check for check in doctor.examine() if check.name == "Slurm"]
    assert slurm.here and "has 5 sec (KillWait) to write its checkpoint" in slurm.found, slurm


def test_an_array_runs_one_task_after_the_other(root):
    runs = [resolved(world_size=1, epochs=epochs) for epochs in (1, 2)]
    jobs = launch.submit_array(runs, root)
    wait_until(lambda: jobs[1].state() is JobState.PENDING and jobs[1].reason())
    assert "JobArrayTaskLimit" in jobs[1].reason() or "free" in jobs[1].reason()
    assert [job.wait(PATIENCE_S) for job in jobs] == [JobState.COMPLETED] * 2, jobs[1].logs()
    assert [launch.collect(job).files.stem.partition("_")[0] for job in jobs] == ["quick", "quick"]
    assert len(jobs[1].files().csv.read_text().splitlines()) == 3


def test_a_missing_data_set_is_named_with_what_mends_it(root):
    with pytest.raises(ScalebookError, match="data/NAME/train/CLASS/.*--set dataset=synthetic"):
        launch.submit(resolved(dataset="folder", world_size=1))
    assert launch.jobs() == []


def test_a_refused_job_is_one_line_with_nothing_left(root):
    text = (root / "study.yaml").read_text()
    nowhere = "systems:\n  nowhere: {launcher: slurm, slurm: {partition: nowhere}}"
    (root / "study.yaml").write_text(text.replace("systems:", nowhere, 1))
    one = study.resolve(study.load(), "quick", "nowhere", overrides=TINY)
    with pytest.raises(ScalebookError, match="Invalid partition name specified"):
        launch.submit(one)
    assert launch.jobs() == []


def test_the_command_line_runs_on_the_cluster_that_answers(root):
    settings = [f"--set={key}={value}" for key, value in {**TINY, "world_size": 1}.items()]
    done = subprocess.run(
        [sys.executable, "-m", "scalebook.cli", "run", "quick", "--json", *settings],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert (root / json.loads(done.stdout)["csv"]).is_file()
    [job] = launch.jobs()
    assert job.resolved["system"] == "mini-open"
