"""The ways to a job on the small cluster: by hand, from a notebook, as a campaign, hostile."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys

import jupytext
import numpy as np
import papermill
import pytest
from paths import REPOSITORY
from slurm_study import (
    at_work,
    learnt,
    make,
    scalebook,
    slurm,
    start_scalebook,
    submit,
)
from waiting import PATIENCE_S, wait_until

from scalebook import launch, results
from scalebook.figures.notebook import MIME
from scalebook.launch import JobState

pytestmark = pytest.mark.slurm

#: Everything a shell or sbatch would do something with.
EVIL = "a b'c\"; $(touch canary) `touch canary`; touch canary #"


@pytest.fixture
def root(cluster, tmp_path):
    with at_work(make(tmp_path / "study"), cluster) as folder:
        yield folder


def test_sbatch_by_hand_needs_no_option(root):
    shutil.copy(REPOSITORY / "study.yaml", root)
    shutil.copytree(REPOSITORY / "data" / "reported", root / "data" / "reported")
    settings = ["dataset=synthetic", "image_size=8", "train_images=64", "val_images=16",
                "epochs=1", "global_batch=16", "untimed_steps=1", "threads_per_rank=1"]  # fmt: skip
    arguments = [word for pair in settings for word in ("--set", pair)]
    with pytest.MonkeyPatch.context() as patch:  # which ends before `root` does
        patch.delenv("SCALEBOOK_ROOT")
        patch.setenv("PYTHON", sys.executable)
        number = slurm("sbatch", "--parsable", "slurm/ddp_2gpu.sbatch", *arguments)
    given = slurm("scontrol", "-d", "show", "job", number)
    assert "NumNodes=2" in given and "gres/gpu=2" in given
    wait_until(lambda: launch.jobs(), "it is noted")
    [job] = launch.jobs()
    assert job.wait(PATIENCE_S) is JobState.COMPLETED, job.logs()
    [row] = json.loads(scalebook("status", "--json").stdout)
    assert (row["job"], row["state"]) == (job.id, "completed")
    assert (row["experiment"], row["system"]) == ("ddp_2gpu", "mini-open")
    assert scalebook("status", number).exit_code == 0

    files = job.files()
    kept = [files.csv, files.manifest, files.steps, files.log]
    assert all(path.stat().st_size for path in kept)
    records = []
    for again in (True, False, False):
        if again:
            files.sacct.unlink(missing_ok=True)
        done = scalebook("collect", number)
        assert done.exit_code == 0, done.output
        records.append(files.sacct.read_bytes())
    files.sacct.unlink()
    assert scalebook("collect").exit_code == 0
    records.append(files.sacct.read_bytes())
    assert len(set(records)) == 1
    assert b"node1" not in records[0] and b"root" not in records[0]
    assert results.problems().empty, results.problems().to_string()


def numbers(values: list | dict) -> list:
    """Numbers of a trace, which plotly stores as bytes."""
    if isinstance(values, list):
        return values
    return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()


def test_a_notebook_submits_to_slurm_and_ends_with_the_figure(root):
    (root / "notebooks").mkdir()
    source = root / "notebooks" / "01_run.ipynb"
    jupytext.write(jupytext.read(REPOSITORY / "notebooks" / "01_run.py"), source)
    parameters = {"submit": True, "system": "mini-open", "experiment": "two",
                  "overrides": {"epochs": 3}}  # fmt: skip
    papermill.execute_notebook(
        source, root / "done.ipynb", parameters, cwd=str(root), progress_bar=False
    )
    [job] = launch.jobs(root)
    assert job.state() is JobState.COMPLETED and job.resolved["training"]["epochs"] == 3
    done = json.loads((root / "done.ipynb").read_text())
    outputs = [out for cell in done["cells"] for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error"]
    [said] = [out["text"] for out in outputs if out["output_type"] == "stream"]
    assert "".join(said).endswith(f"as job {job.id} on system mini-open (as asked for)\n")
    drawn = [out["data"][MIME] for out in outputs if MIME in out.get("data", {})]
    titles = [json.dumps(figure["layout"]) for figure in drawn]
    assert any(str(job.stem) in title for title in titles), titles
    curves = [numbers(trace.get("x", [])) for figure in drawn for trace in figure["data"]]
    assert [1, 2, 3] in curves
    text = json.dumps(outputs)
    assert f"submitted by this notebook as job {job.id}" in text
    assert "two: completed" in text and str(root) not in text


# --------------------------------------------------------------------------- hostile


@pytest.fixture
def hostile(cluster, tmp_path, monkeypatch):
    """A study in a folder of the worst name."""
    with at_work(make(tmp_path / EVIL), cluster) as folder:
        yield folder
    assert not list(tmp_path.rglob("canary*"))
    assert not list(tmp_path.parent.glob("canary*"))


@pytest.mark.parametrize("name", ["%j", "back\\slash"])
def test_a_folder_that_slurm_cannot_write_to_is_refused(cluster, tmp_path, name):
    with at_work(make(tmp_path / name), cluster):
        done = scalebook("submit", "one", "--system", "mini-open")
        assert done.exit_code == 2 and "move the study" in done.output, done.output


def test_hostile_words_reach_no_shell_and_the_run_works(hostile, monkeypatch):
    works = submit("one", epochs=1)
    fails = submit("one", model=EVIL)
    monkeypatch.setenv("PYTHON", sys.executable)
    by_hand = []
    for environment, arguments in (
        ({"EPOCHS": EVIL}, ["one"]),
        ({"SYSTEM": EVIL}, ["one"]),
        ({}, [EVIL]),
        ({}, ["one", "--set", f"data_dir={EVIL}", "--set", f"model={EVIL}"]),
    ):
        command = ["sbatch", "--parsable", "--gpus-per-node=0", "--cpus-per-task=1",
                   "slurm/train.sbatch", *arguments]  # fmt: skip
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        by_hand.append(done.stdout.strip())
    assert works.wait(PATIENCE_S) is JobState.COMPLETED, (works.reason(), works.logs())
    assert scalebook("collect", works.id).exit_code == 0
    assert fails.wait(PATIENCE_S) is JobState.FAILED
    assert "model" in fails.reason() and "\n" not in fails.reason(), fails.reason()
    wait_until(lambda: not slurm("squeue", "-h", "-j", ",".join(by_hand)), "they end")
    for number in by_hand:
        assert "JobState=FAILED" in slurm("scontrol", "show", "job", number)
        log = hostile / "slurm" / "logs" / f"train-{number}.log"
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", EVIL],
        ["submit", "--", "--wrap=touch canary"],
        ["submit", "one", "--system", EVIL],
        ["submit", "one", "--system", "mini-open", "--set", f"dataset={EVIL}"],
        ["submit", "one", "--system", "mini-open", "--set", f"script={EVIL}"],
        ["watch", EVIL],
        ["cancel", "../../.."],
        ["run", "--resume", EVIL],
    ],
)
def test_hostile_arguments_are_refused_in_one_line(hostile, arguments):
    done = scalebook(*arguments)
    assert done.exit_code in (1, 2), done.output
    assert len(done.output.strip().splitlines()) <= 2 and "Traceback" not in done.output
    assert not launch.jobs()


# --------------------------------------------------------------------------- a campaign


def test_a_campaign_that_was_interrupted_goes_on_where_it_was(root):
    command = ["run", "--all", "--campaign", "pair", "--system", "mini-open"]
    first = start_scalebook(*command)
    lines = iter(first.stdout.readline, "")
    assert any("[2/4]" in line for line in lines) and "two" in next(lines)
    first.send_signal(signal.SIGINT)
    text = first.communicate(timeout=PATIENCE_S)[0]
    assert "call the same command again" in text and "Traceback" not in text, text
    jobs = launch.jobs()
    assert len(jobs) == 4
    cancelled = jobs[-1]
    cancelled.cancel()
    wait_until(lambda: cancelled.state() is JobState.CANCELLED, "it is cancelled")
    ready = [job for job in launch.jobs() if job.state() is JobState.COMPLETED]
    before = {job.id: job.files().csv.stat().st_mtime_ns for job in ready}

    again = scalebook(*command, "--json")
    assert again.exit_code == 0, again.output
    answer = json.loads(again.stdout)
    assert len(answer["finished"]) >= 1 and len(answer["finished"]) + len(answer["ran"]) == 4
    assert not answer["failed"]
    jobs = launch.jobs()
    assert len(jobs) == 5
    done = [job for job in jobs if job.id != cancelled.id]
    assert [job.state() for job in done] == [JobState.COMPLETED] * 4
    runs = {(job.resolved["experiment"], job.resolved["seed"]) for job in done}
    assert runs == {("one", 0), ("two", 0), ("one", 1), ("two", 1)}
    assert all(learnt(job) for job in done)
    for job in ready:
        assert job.files().csv.stat().st_mtime_ns == before[job.id]

    third = scalebook(*command)
    assert third.exit_code == 0 and "4 of 4 runs are finished" in third.output, third.output
    assert len(launch.jobs()) == 5
