"""The notebooks: thin, parameterised, and executable on their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbclient
import pytest
from fabricate import add_run, add_trace
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook import launch, results
from scalebook.contract import ScalebookError, UsageError
from scalebook.figures import notebook as in_notebook
from scalebook.launch import JobState
from scalebook.live import run as live_run

FOLDER = REPOSITORY / "notebooks"
NAMES = ["01_run", "02_throughput", "03_accuracy", "04_scaling", "05_profile"]


def read(name: str):
    return jupytext.read(FOLDER / f"{name}.py")


@pytest.fixture
def runs_there(study_root):
    add_run(study_root, seed=0, rate=400)
    add_run(study_root, seed=1, rate=410)
    add_run(study_root, "ddp_2gpu", 0, 600, world=2)
    add_run(study_root, "quick", 5, local=True, dataset={"name": "synthetic"})
    add_trace(study_root, "profile_1_1gpu_1_rank0", {"volta_sgemm_128": 60, "bn_fw": 40})
    return study_root


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_one_question_and_holds_no_logic(name):
    cells = read(name).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    question = cells[0].source.split("\n\n")[1]
    assert question.startswith("**") and question.endswith("?**") and question.count("?") == 1
    parameters = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1 and parameters[0] is next(c for c in cells if c.cell_type == "code")
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    for word in ("for ", "if ", "def ", "lambda", "plotly", "pandas", "path"):
        assert word not in code.lower(), f"{word!r} belongs into the package"


def execute(name: str, where: Path):
    notebook = read(name)
    nbclient.NotebookClient(
        notebook, timeout=PATIENCE_S, resources={"metadata": {"path": str(where)}}
    ).execute()
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_shows_figure_and_table(runs_there, name, monkeypatch):
    below = runs_there / "notebooks"
    below.mkdir()
    monkeypatch.delenv("SCALEBOOK_ROOT")
    outputs = execute(name, below)
    kinds = {kind for out in outputs for kind in out.get("data", {})}
    assert in_notebook.MIME in kinds and "text/html" in kinds
    text = json.dumps(outputs)
    assert "<table" in text and str(runs_there) not in text
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


@pytest.mark.slow
def test_a_notebook_runs_by_nbconvert(study_root, tmp_path):
    for file in (study_root / "data/reported").iterdir():
        file.unlink()
    shutil.copy(FOLDER / "04_scaling.py", study_root / "04_scaling.py")
    python = [sys.executable, "-m"]
    for command in (
        ["jupytext", "--to", "ipynb", "04_scaling.py"],
        ["nbconvert", "--execute", "--to", "notebook", "--inplace", "04_scaling.ipynb"],
    ):
        subprocess.run([*python, *command], cwd=study_root, check=True, capture_output=True)
    assert "No two comparable runs yet" in (study_root / "04_scaling.ipynb").read_text()


# --------------------------------------------------------------------------- 01_run


def test_the_newest_matching_run_is_shown_and_nothing_is_started(runs_there, monkeypatch):
    monkeypatch.setattr(launch, "submit_once", lambda *_: pytest.fail("started a run"))
    view = live_run.run_or_attach("quick")
    assert view.stem == results.newest("quick") and "newest finished run of quick" in view.message
    assert len(view.epochs) == 3 and list(view.headers) == list(view.epochs)
    about = dict(view.about.itertuples(index=False))
    assert "generated images" in about["data"] and about["seed"] == 5
    assert view.steps["quantity"].str.contains(r"\(ms\)").any()
    assert view.figure().data


def test_another_experiments_run_serves_where_there_is_none(runs_there):
    view = live_run.run_or_attach("profile")
    assert view.stem == results.newest()
    assert "profile has not been run yet" in view.message


def test_system_and_seed_choose_the_run(runs_there):
    assert "-0_" in live_run.run_or_attach("baseline", system="local", seed=0).stem
    view = live_run.run_or_attach("baseline", system="magic-castle", seed=1)
    assert view.stem == results.newest("baseline")
    assert "there is none of baseline on system magic-castle with seed 1" in view.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"system": "nowhere"}, "no system 'nowhere' in study.yaml; there are local"),
        ({"system": 3}, "no system 3 in study.yaml"),
        ({"seed": "one"}, "seed: 'one' is no whole number"),
        ({"seed": "one", "submit": True}, "seed: 'one' is no whole number"),
        ({"overrides": "epochs=3", "submit": True}, "overrides: 'epochs=3' is no mapping"),
        ({"study_root": 5}, "study: 5 is not a folder's name"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_starts(runs_there, monkeypatch, wrong, said):
    monkeypatch.setattr(launch, "submit_once", lambda *_: pytest.fail("started a run"))
    with pytest.raises(UsageError, match=said):
        live_run.run_or_attach("baseline", **wrong)


def test_a_notebook_shows_a_wrong_parameter_in_one_line():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shown = []
    shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
    shell.run_cell("from scalebook.contract import UsageError\nraise UsageError('no such thing')")
    assert shown == ["UsageError: no such thing"]


def test_no_run_at_all_is_said(study_root):
    view = live_run.run_or_attach("quick")
    assert view.stem is None and "scalebook run quick" in view.message
    assert view.about.empty and view.epochs.empty and view.steps.empty
    assert "scalebook run quick" in view.figure().layout.annotations[0].text


def test_an_imported_run_has_no_steps_and_no_record(study_root):
    path = study_root / "results/csv/baseline_2644_1gpu_2644.csv"
    path.parent.mkdir(parents=True)
    path.write_text("epoch,val_acc\n1,60\n")
    view = live_run.run_or_attach("baseline")
    assert view.steps.empty and list(view.epochs) == ["epoch", "val_acc"]


def test_an_unknown_experiment_is_named(study_root):
    with pytest.raises(UsageError, match="no experiment 'quik'"):
        live_run.run_or_attach("quik")


def test_another_study_can_be_named(runs_there, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("SCALEBOOK_ROOT", "nowhere")
    assert live_run.run_or_attach("quick", study_root=str(runs_there)).stem
    with pytest.raises(ScalebookError, match="holds no study.yaml"):
        in_notebook.use_study("/nonexistent")


class FakeJob:
    """A job that writes its run while it is watched, and ends as told."""

    def __init__(self, root: Path, ends: JobState):
        self.id, self.root, self.ends, self.polls = "t1", root, ends, 0
        self.stem = "quick_t1_1cpu_t1"

    def state(self):
        self.polls += 1
        if self.polls == 2:
            add_run(self.root, "quick", local=True, job_id="t1")
        return self.ends if self.polls > 3 else JobState.RUNNING


def fake_collect(job: FakeJob):
    if job.ends is not JobState.COMPLETED:
        raise ScalebookError("job t1 failed: out of luck")
    return SimpleNamespace(files=SimpleNamespace(stem=job.stem))


@pytest.fixture
def fake_launch(study_root, monkeypatch):
    submitted, drawn = [], []

    def start(ends):
        job = FakeJob(study_root, ends)

        def submit_once(resolved, root):
            submitted.append(resolved)
            return job, True

        monkeypatch.setattr(launch, "submit_once", submit_once)
        return submitted, drawn

    class Handle:
        def update(self, bundle, raw):
            drawn.append(bundle)

    def watch(job, on_poll):
        while not (state := job.state()).finished and job.polls < 9:
            on_poll(job)
        return state

    monkeypatch.setattr(launch, "watch", watch)
    monkeypatch.setattr(launch, "collect", fake_collect)
    monkeypatch.setattr(live_run, "display", lambda *_, **__: Handle())
    return start


def test_a_submitted_run_is_followed_with_a_live_curve(fake_launch):
    submitted, drawn = fake_launch(JobState.COMPLETED)
    view = live_run.run_or_attach("quick", seed=3, submit=True)
    assert view.stem == "quick_t1_1cpu_t1"
    assert submitted[0]["experiment"] == "quick" and submitted[0]["seed"] == 3
    # Drawn once: three epochs came at one time, and nothing new after. JupyterLab leaves a
    # drawing as it is unless something else took its place.
    away, curve = drawn
    assert in_notebook.MIME not in away and curve[in_notebook.MIME]["data"]


def test_a_failed_run_fails_the_notebook(fake_launch):
    fake_launch(JobState.FAILED)
    with pytest.raises(ScalebookError, match="job t1 failed"):
        live_run.run_or_attach("quick", submit=True)


def test_a_detached_run_goes_on(fake_launch):
    fake_launch(JobState.RUNNING)
    view = live_run.run_or_attach("quick", submit=True)
    assert view.stem is None and "scalebook watch t1" in view.message
