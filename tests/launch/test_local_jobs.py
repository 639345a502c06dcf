"""Jobs on this machine: they outlive their submitter, are found again, and end whole."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from click.testing import CliRunner
from tqdm import tqdm
from waiting import PATIENCE_S, wait_until

from scalebook import contract, launch, live, results, study
from scalebook.cli.command import main
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import JobState, Progress
from scalebook.launch.local import LocalJob
from scalebook.launch.watch import bar_format, describe, describe_briefly

SMALL = {
    "dataset": "synthetic",
    "train_images": 64,
    "val_images": 32,
    "global_batch": 16,
    "epochs": 1,
    "untimed_steps": 1,
    "threads_per_rank": 1,
}


def resolved(world_size=1, **overrides):
    settings = {**SMALL, "world_size": world_size, **overrides}
    return study.resolve(study.load(), "quick", "local", overrides=settings, device="cpu")


def ended(job):
    return contract.read_json(job.files().manifest)["attempts"][-1]["ended"]


def training(job):
    return job.progress().phase in ("train", "validate") and job.progress().step > 0


@pytest.mark.slow
def test_a_job_outlives_its_submitter_and_is_found_again(study_root):
    document = study_root / "r.json"
    contract.write_json(document, resolved())
    code = (
        "import json, pathlib, scalebook.launch as l;"
        f"print(l.submit(json.loads(pathlib.Path({str(document)!r}).read_text())).id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    job = launch.find(done.stdout.strip())
    assert job.wait(PATIENCE_S) is JobState.COMPLETED, job.logs()
    assert launch.collect(job).files.stem == str(job.stem)
    assert job.files().csv.is_file()
    assert job.progress().fraction == 1.0
    assert [one.id for one in launch.jobs()] == [job.id]

    damaged = job.folder.parent / "t1-damaged"
    damaged.mkdir()
    (damaged / "job.json").write_text("{", encoding="utf-8")
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 1 and job.id in done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "t1-damaged" in done.stderr
    with pytest.raises(ScalebookError, match=f"the newest are {job.id}"):
        launch.find("t2-unknown")


@pytest.mark.slow
def test_a_path_that_cannot_be_written_is_one_line(study_root):
    (study_root / "taken").write_text("", encoding="utf-8")
    done = CliRunner().invoke(main, ["figures", "--out", str(study_root / "taken" / "deeper")])
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "taken" in done.stderr


@pytest.mark.slow
def test_cancel_ends_every_rank_and_resume_goes_on(study_root):
    job = launch.submit(resolved(world_size=2, epochs=400))
    wait_until(lambda: training(job) and job.progress().epoch >= 2, "training")
    ranks = job.ranks()
    assert len(ranks) >= 2
    job.cancel()
    assert job.state() is JobState.CANCELLED
    assert not job.ranks()
    assert not any(rank.is_running() for rank in ranks)
    assert ended(job) in ("cancelled", "interrupted")
    with pytest.raises(ScalebookError, match="cancelled"):
        launch.collect(job)
    again = launch.resume(job.id)
    wait_until(lambda: training(again), "resumed training")
    assert again.progress().epoch >= 2
    again.cancel()
    attempts = contract.read_json(job.files().manifest)["attempts"]
    assert [attempt["number"] for attempt in attempts] == [1, 2]


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_at_once_with_one_line(study_root):
    job = launch.submit(resolved(world_size=2, epochs=400))
    wait_until(lambda: training(job), "training")
    ranks = [rank for rank in job.ranks() if "RANK" in rank.environ()]
    next(rank for rank in ranks if rank.environ()["RANK"] == "1").kill()
    assert job.wait(PATIENCE_S) is JobState.FAILED
    assert not job.ranks()
    assert job.reason()
    assert "\n" not in job.reason()
    assert ended(job) in ("failed", "killed")


@pytest.mark.slow
def test_a_job_whose_supervisor_was_killed_can_still_be_cancelled(study_root):
    job = launch.submit(resolved(epochs=400))
    wait_until(lambda: training(job), "training")
    os.kill(contract.read_json(job.folder / "job.json")["pid"], signal.SIGKILL)
    wait_until(lambda: job._supervisor() is None)
    assert job.state() is JobState.RUNNING
    job.cancel()
    assert job.state() is JobState.CANCELLED
    assert not job.ranks()


@pytest.mark.slow
def test_a_run_that_outlived_its_supervisor_has_the_end_it_wrote_itself(study_root):
    job = launch.submit(resolved())
    supervisor = psutil.Process(contract.read_json(job.folder / "job.json")["pid"])
    assert job.wait(PATIENCE_S) is JobState.COMPLETED, job.logs()
    psutil.wait_procs([supervisor], timeout=PATIENCE_S)
    last = contract.read_json(job.folder / "progress.json")
    assert last["images_per_s"] == pytest.approx(
        results.epochs(str(job.stem))["throughput"].iloc[-1], abs=0.1
    )
    # As if it had been killed before its last word.
    (job.folder / "state.json").unlink()
    assert job.state() is JobState.COMPLETED and job.reason() == ""
    assert launch.collect(job).files.stem == str(job.stem)
    document = contract.read_json(job.files().manifest)
    document["attempts"][-1].update(ended=None, end=None, reason=None)
    contract.write_json(job.files().manifest, document)
    assert job.state() is JobState.FAILED and "--resume" in job.reason()
    # Its manifest no longer says that it runs.
    job.cancel()
    assert ended(job) == "failed"
    assert job.state() is JobState.FAILED and "--resume" in job.reason()


@pytest.mark.slow
def test_a_job_of_a_study_that_was_moved_is_found_and_cancelled(study_root):
    job = launch.submit(resolved(epochs=400))
    wait_until(lambda: training(job), "training")
    os.kill(contract.read_json(job.folder / "job.json")["pid"], signal.SIGKILL)
    moved = study_root.with_name(f"{study_root.name}-moved")
    study_root.rename(moved)
    again = launch.find(job.id, moved)
    try:
        wait_until(lambda: again._supervisor() is None)
        assert again.state() is JobState.RUNNING
    finally:
        again.cancel()
    assert again.state() is JobState.CANCELLED
    assert not again.ranks()


#: A supervisor whose signal arrives after its handler is there and before its child is. It ends all
#: its children, so it has a process of its own here too.
TOLD_EARLY = """
import os, signal, subprocess, sys, types
from scalebook.launch import supervise

def popen(*arguments, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6000)"])
    print(child.pid, flush=True)
    return child

supervise.subprocess = types.SimpleNamespace(Popen=popen)
sys.exit(supervise.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_supervisor_told_to_end_before_it_began_starts_no_training(study_root):
    job = launch.submit(resolved(epochs=400))
    job.cancel()
    (job.folder / "state.json").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", TOLD_EARLY, str(job.folder)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0
    assert not psutil.pid_exists(int(done.stdout))  # ended, and not waited for
    assert job.state() is JobState.CANCELLED


@pytest.mark.slow
def test_a_failing_job_says_why_in_the_training_process_words(study_root):
    job = launch.submit(resolved(model="alexnet", image_size=8))
    assert job.wait(PATIENCE_S) is JobState.FAILED
    assert "model alexnet" in job.reason()
    with pytest.raises(ScalebookError, match=f"scalebook logs {job.id}"):
        launch.collect(job)


@pytest.mark.parametrize(
    ("notebook", "advice"),
    [(False, "--set dataset=synthetic"), (True, 'overrides = {"dataset": "synthetic"}')],
)
def test_images_asked_for_by_name_are_there_before_anything_starts(
    study_root, monkeypatch, notebook, advice
):
    monkeypatch.setattr("scalebook.launch.registry.in_notebook", lambda: notebook)
    with pytest.raises(ScalebookError, match="no CIFAR-10 there: .*scalebook data get") as caught:
        launch.submit(resolved(dataset="cifar10"))
    assert str(caught.value).endswith(advice)
    assert not (study_root / ".scalebook/jobs").exists()


@pytest.mark.slow
def test_without_images_or_network_a_run_takes_generated_ones_and_says_so(study_root):
    settings = [f"--set={key}={value}" for key, value in SMALL.items() if key != "dataset"]
    done = subprocess.run(
        [sys.executable, "-m", "scalebook.cli", "run", "quick", "--system", "local", *settings],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("asking for CIFAR-10") == 1
    assert "quick: generated images, whose accuracies mean nothing: no images in" in done.stderr
    stem = results.newest("quick")
    assert results.runs(stem=stem)["dataset"].tolist() == ["synthetic"]
    assert "cannot download" in results.manifest(stem)["resolved"]["dataset"]["generated"]
    about = live.run.RunView(stem, "").about.set_index("property")["value"]
    assert re.search("cannot download|no network to", about["generated because"])
    assert "asking for" not in launch.jobs()[0].logs()


@pytest.mark.slow
def test_a_reused_process_number_is_not_taken_for_the_job(study_root):
    job = launch.submit(resolved())
    supervisor = psutil.Process(contract.read_json(job.folder / "job.json")["pid"])
    job.wait(PATIENCE_S)
    noted = contract.read_json(job.folder / "job.json")
    # The supervisor writes its last word a moment before it is gone.
    psutil.wait_procs([supervisor], timeout=PATIENCE_S)
    contract.write_json(job.folder / "job.json", {**noted, "pid": os.getpid()})
    (job.folder / "state.json").unlink()
    job.files().manifest.unlink()
    assert job.state() is JobState.FAILED
    assert "scalebook run --resume" in job.reason()
    job.cancel()
    assert psutil.pid_exists(os.getpid())


def test_a_book_build_cannot_submit(study_root, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_NO_SUBMIT", "1")
    with pytest.raises(UsageError, match="never trains"):
        launch.submit(resolved())
    assert not launch.jobs()


@pytest.mark.parametrize("job", ["nope", "../../etc/passwd", "a;b"])
def test_an_unknown_job_is_one_line(study_root, job):
    with pytest.raises(ScalebookError) as caught:
        launch.find(job)
    assert "\n" not in str(caught.value)


def test_progress_counts_steps_within_epochs():
    progress = Progress("train", epoch=2, epochs=4, step=5, steps=10)
    assert progress.fraction == pytest.approx(0.375)
    assert Progress().fraction == 0.0
    assert Progress(phase="done").fraction == 1.0
    text = describe(
        Progress("train", 2, 4, 5, 10, images_per_s=1234.5, val_acc=61.24, remaining_s=3671)
    )
    assert text == "epoch 2/4, 1,234 images/s, accuracy 61.2 %, 1:01:11 left"
    ended = Progress("done", 4, 4, 10, 10, images_per_s=900.0, val_acc=70.0, remaining_s=0.0)
    assert describe(ended, JobState.COMPLETED) == "completed, 900 images/s, accuracy 70.0 %"
    stopped = Progress("train", 2, 4, 5, 10, remaining_s=60.0)
    assert describe(stopped, JobState.CANCELLED) == "cancelled, epoch 2/4"
    assert describe(stopped, JobState.CANCELLED, "cancelled") == "cancelled, epoch 2/4"


def test_a_run_that_reports_nothing_is_not_said_to_go_on(study_root):
    job = LocalJob(LocalJob.new_folder(resolved(epochs=4), study_root).name, study_root)
    state = {"phase": "train", "epoch": 2, "epochs": 4, "step": 5, "steps": 10, "images_per_s": 9}
    contract.write_json(job.folder / "progress.json", state)
    assert describe(job.progress()).endswith("9 images/s, 0:44 left")
    before = time.time() - 125
    os.utime(job.folder / "progress.json", (before, before))
    assert describe(job.progress()) == "epoch 2/4, no progress reported for 2:05"
    assert "silent 2:05" in describe_briefly(job.progress())
    assert describe(job.progress(), JobState.FAILED) == "failed, epoch 2/4, 9 images/s"
    # An attempt that waits to begin anew has come nowhere.
    assert describe(job.progress(), JobState.PENDING, "requeued") == "pending (requeued)"


def test_what_ends_a_job_after_its_run_completed_changes_nothing(study_root):
    job = LocalJob(LocalJob.new_folder(resolved(), study_root).name, study_root)
    path = contract.RunFiles(study_root / "results/local", str(job.stem)).manifest
    contract.write_json(path, {"attempts": [{"ended": "completed"}]})
    job.finish(JobState.FAILED, "killed by signal 10 (SIGUSR1)", -10)
    assert job.state() is JobState.COMPLETED
    assert job.reason() == "killed by signal 10 (SIGUSR1), after its training had completed"


def test_a_manifest_that_could_not_be_closed_is_closed_at_the_next_look(study_root, monkeypatch):
    job = LocalJob(LocalJob.new_folder(resolved(), study_root).name, study_root)
    path = contract.RunFiles(study_root / "results/local", str(job.stem)).manifest
    contract.write_json(path, {"attempts": [{"ended": None}]})
    with monkeypatch.context() as full:
        full.setattr(contract, "close_attempt", no_space)
        job.finish(JobState.FAILED, "No space left on device", 1)
    assert ended(job) is None
    assert job.state() is JobState.FAILED
    assert ended(job) == "failed" and job.reason() == "No space left on device"


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_what_two_start_at_once_is_started_once(study_root):
    wanted = resolved(epochs=400)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: launch.submit_once(wanted, study_root), range(2)))
    (job,) = launch.jobs()
    assert {one.id for one, _ in found} == {job.id}
    assert sorted(new for _, new in found) == [False, True]
    job.cancel()
    with ThreadPoolExecutor() as pool:
        tries = [pool.submit(launch.resume, job.id) for _ in range(2)]
    refused = [one.exception() for one in tries if one.exception()]
    assert len(refused) == 1 and "nothing to resume" in str(refused[0])
    job.cancel()


@pytest.mark.slow
def test_a_notebook_that_lost_its_kernel_finds_its_job_again(study_root, monkeypatch):
    settings = {**SMALL, "world_size": 1, "epochs": 400}
    monkeypatch.setattr(launch, "watch", lambda job, on_poll: job.state())
    first = live.run_or_attach("quick", submit=True, overrides=settings)
    (job,) = launch.jobs()
    again = live.run_or_attach("quick", submit=True, overrides=settings)
    named = live.run_or_attach("quick", job=job.id)
    assert [one.id for one in launch.jobs()] == [job.id]
    for view in (first, again, named):
        assert f"scalebook watch {job.id}" in view.message
    job.cancel()
    with pytest.raises(ScalebookError, match="cancelled"):
        live.run_or_attach("quick", job=job.id)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (120, "quick  38% |####1      | epoch 2/4, 1,234 images/s, accuracy 61.2 %, 1:01:11 left"),
        (70, "quick  38% epoch 2/4, 1,234 images/s, accuracy 61.2 %, 1:01:11 left"),
        (40, "quick  38% 2/4, 1,234/s, 61.2 %, 1:01:11"),
    ],
)
def test_a_narrow_terminal_shows_less_and_cuts_nothing(columns, expected):
    progress = Progress("train", 2, 4, 5, 10, images_per_s=1234.5, val_acc=61.24, remaining_s=3671)
    form = bar_format("quick", progress, JobState.RUNNING, "", columns + 1)
    shown = tqdm.format_meter(
        37.5, 100, 1, ncols=columns + 1, prefix="quick", bar_format=form, ascii=True
    )
    assert len(shown) <= columns + 1
    assert "#" not in expected or "|" in shown
    assert shown.replace(": ", "  ").endswith(expected.split("%", 1)[1].split("| ")[-1])


def test_a_reason_with_braces_is_shown_as_it_is():
    form = bar_format("quick", Progress(), JobState.FAILED, "KeyError: {'a': {}}", 100)
    shown = tqdm.format_meter(0, 100, 1, ncols=100, bar_format=form, prefix="quick")
    assert shown.endswith("failed (KeyError: {'a': {}})")


@pytest.mark.slow
def test_run_from_the_command_line_shows_each_epoch_and_names_the_csv(study_root):
    command = [sys.executable, "-m", "scalebook.cli", "run", "quick", "--json"]
    settings = {**SMALL, "world_size": 1}
    done = subprocess.run(
        [*command, *(f"--set={key}={value}" for key, value in settings.items())],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (study_root / answer["csv"]).is_file()
    assert "epoch 1/1" in done.stderr
