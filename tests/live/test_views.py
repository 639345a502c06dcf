"""What `scalebook.jobs`, `watch` and `pick` show, and what their buttons do."""

import json
import sys
from types import SimpleNamespace

import nbclient
import nbformat
import pandas as pd
import pytest
from waiting import PATIENCE_S, wait_until

import scalebook
from scalebook import contract, launch, study
from scalebook.contract import ScalebookError
from scalebook.figures import runs, theme
from scalebook.launch import JobState
from scalebook.launch.local import LocalJob
from scalebook.live import frontend, run, views
from scalebook.live.curves import draw, points
from scalebook.live.picker import Picker
from scalebook.live.settings import command
from scalebook.train.records import POINTS_FILE

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def job(study_root, monkeypatch):
    """A job that runs until it is cancelled, with the points of two epochs of ten steps."""
    resolved = study.resolve(study.load(), "quick", "local", device="cpu")
    folder = LocalJob.new_folder(resolved, study_root)
    LocalJob.write_notes(folder, "2026-01-02T03:04:05Z", pid=1, pid_created=1.0)
    rows = ["1,1,5,50.0,1348.0", "2,1,10,60.0,2.5", "3,2,5,55.0,2.0", "4,2,8,55.0,1.9"]
    header = "time,epoch,step,images_per_s,train_loss"
    contract.write_whole(folder / POINTS_FILE, "\n".join([header, *rows, ""]))
    at = {"phase": "train", "epoch": 2, "epochs": 2, "step": 8, "steps": 10, "images_per_s": 55}
    contract.write_json(folder / "progress.json", at)
    contract.write_whole(folder / "output.log", "first line\nlast line\n")
    cancelled = []

    def cancel(self):
        if cancelled:
            raise ScalebookError(f"job {self.id} is no more")
        cancelled.append(self.id)

    monkeypatch.setattr(LocalJob, "cancel", cancel)
    ended = property(lambda self: JobState.CANCELLED if cancelled else JobState.RUNNING)
    monkeypatch.setattr(LocalJob, "state", lambda self: ended.fget(self))
    monkeypatch.setattr(LocalJob, "reason", lambda self: "")
    yield LocalJob(folder.name, study_root)
    for view in list(views.View._shown.values()):
        view.close()


def press(view, action, job) -> None:
    """What the notebook sends when a button is pressed."""
    view.widget._handle_custom_msg({"action": action, "job": job.id}, [])


def shown(view) -> dict[str, str]:
    names = [name for name, _ in view.widget.headers]
    return dict(zip(names, view.widget.rows[0]["cells"]))


def test_the_table_ticks_and_its_buttons_reach_the_job(job):
    view = views.JobsView()
    view.start()
    wait_until(lambda: view.widget.rows, "the first look")
    assert shown(view)["progress"] == "epoch 2/2" and shown(view)["left"]
    at = {"phase": "validate", "epoch": 2, "epochs": 2, "step": 10, "steps": 10}
    contract.write_json(job.folder / "progress.json", at)
    wait_until(lambda: "validating" in shown(view)["progress"], "the next look")
    press(view, "logs", job)
    assert view.widget.log == "first line\nlast line"
    press(view, "logs", job)
    assert view.widget.log == ""
    press(view, "cancel", job)
    wait_until(lambda: shown(view)["state"] == "cancelled", "the job is cancelled")
    press(view, "cancel", job)
    wait_until(lambda: "is no more" in view.widget.note, "what went wrong is shown")
    view._look()
    assert "is no more" in view.widget.note, "a look takes it away"
    press(view, "cancel", SimpleNamespace(id="../../etc/passwd"))
    assert "passwd" in view.widget.note and "\n" not in view.widget.note


def test_a_job_is_opened_below_and_closed_again(job):
    view = views.JobsView()
    view.start()
    press(view, "open", job)
    _, below = view.box.children
    assert json.loads(below.children[1].figure)["data"][0]["x"] == [5, 10, 15, 18]
    press(view, "open", job)
    assert view.box.children == (view.widget,)


def test_a_newer_view_takes_the_place_of_an_older_one(job):
    older, newer = views.JobsView(), views.JobsView()
    older.start()
    newer.start()
    assert not older._ticker.is_alive and newer._ticker.is_alive


def test_curves_grow_until_the_job_has_ended(job):
    view = views.WatchView(job)
    view.start()
    with open(job.folder / POINTS_FILE, "a") as file:
        file.write("5,2,10,56.0,1.8\n")
    wait_until(lambda: '"x":[5,10,15,18,20]' in view.curves.figure, "the curve has grown")
    press(view, "cancel", job)
    wait_until(lambda: not view._ticker.is_alive, "nobody looks any more")
    assert shown(view)["state"] == "cancelled"


def test_images_that_are_read_are_no_steps(job):
    at = {"phase": "data", "step": 100, "steps": 60_000, "epochs": 2}
    contract.write_json(job.folder / "progress.json", at)
    assert max(draw(job).data[0].x) <= 10


def test_points_of_a_resumed_run_take_the_place_of_those_before(job):
    (job.folder / POINTS_FILE).unlink()
    assert points(job).empty
    header = "time,epoch,step,images_per_s,train_loss"
    contract.write_whole(job.folder / POINTS_FILE, header)
    assert points(job).empty
    rows = ["1,1,10,50.0,2.5", "2,1,20,60.0,", "3,2,5,55.0,2.0", "9,1,15,40.0,2.4", "10,1,17",
            "11,1,18,40.0,12,1,20,40.0,2.2", "13,1,21,41.0,", "14,1,25,4"]  # fmt: skip
    contract.write_whole(job.folder / POINTS_FILE, "\n".join([header, *rows]))
    table = points(job)
    assert list(zip(table["epoch"], table["step"])) == [(1, 10), (1, 15), (1, 21)]
    assert table["train_loss"].tolist() == [2.5, 2.4, pytest.approx(float("nan"), nan_ok=True)]


@pytest.mark.parametrize("damage", ["1,1,2,3,4,5,6", '1,"1,2,50.0,2.5', "\0,\0", '"'])
def test_a_damaged_line_of_points_leaves_the_others_as_they_are(job, damage):
    lines = ["time,epoch,step,images_per_s,train_loss", damage, "2,1,10,50.0,2.5", damage, ""]
    contract.write_whole(job.folder / POINTS_FILE, "\n".join(lines))
    assert points(job).to_numpy().tolist() == [[2, 1, 10, 50.0, 2.5]]


def test_only_a_notebook_that_somebody_looks_at_takes_widgets(monkeypatch):
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _: {"metadata": sent}))
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    sent: dict[str, str] = {}
    assert not frontend.takes_widgets()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not frontend.takes_widgets()  # papermill, nbconvert, the book
    sent["cellId"] = "1"
    assert frontend.takes_widgets()
    shell.kernel = None
    assert not frontend.takes_widgets()


@pytest.mark.slow
def test_a_saved_notebook_holds_text_and_pictures_and_no_widget(job):
    source = f"import scalebook\nscalebook.jobs()\nscalebook.watch({job.id!r})\nscalebook.pick()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3").execute()
    outputs = [output["data"] for output in notebook.cells[0].outputs if "data" in output]
    assert outputs and not any(WIDGET in data for data in outputs)
    assert "widgets" not in notebook.metadata
    assert job.id in outputs[0]["text/html"] and "| job |" in outputs[0]["text/markdown"]
    assert any("application/vnd.plotly.v1+json" in data for data in outputs)
    assert any("scalebook run" in data.get("text/markdown", "") for data in outputs)


def test_the_picker_shows_what_it_would_run_and_refuses_the_rest(study_root, monkeypatch):
    picker = Picker("quick")
    picker.system.value = "local"
    picker.overrides.value = "epochs=3 lr=0.2"
    assert "scalebook run quick --system local --set epochs=3 --set lr=0.2" in picker.command.value
    assert "training.epochs" in picker.settings.value and not picker.submit.disabled
    picker.overrides.value = "epocs=<b>"
    assert picker.submit.disabled and not picker.command.value
    assert "epocs" in picker.message.value and "<b>" not in picker.message.value

    submitted = []

    def refuse(resolved, root):
        submitted.append(resolved["training"]["epochs"])
        raise ScalebookError("the disk is full")

    monkeypatch.setattr(launch, "submit_once", refuse)
    picker.overrides.value = "epochs=3"
    picker.submit.click()
    assert submitted == [3] and "the disk is full" in picker.message.value


def test_a_command_is_quoted_for_a_shell():
    line = command("quick", "auto", 2, {"data_dir": "my data", "compile": True})
    assert line == "scalebook run quick --seed 2 --set 'data_dir=my data' --set compile=true"


@pytest.mark.parametrize(
    ("losses", "kind"),
    [
        ([2.3, 1.9, 1.2], "linear"),
        ([1348.0, 2.3], "log"),
        ([1348.0, 2.3, 2.2, 2.1], "log"),
        ([2.3, 0.9, 0.1, 0.05], "log"),
        ([1348.0, 2.3, 0.0], "linear"),  # no logarithm of nothing
        ([float("nan"), 2.0], "linear"),
        ([], "linear"),
    ],
)
def test_a_loss_axis_is_logarithmic_where_one_value_flattens_the_rest(losses, kind):
    assert theme.loss_axis(pd.Series(losses, dtype=float))["type"] == kind


def test_the_book_and_the_live_curve_ask_the_same_rule(job, monkeypatch):
    view = views.WatchView(job)
    assert json.loads(view.curves.figure)["layout"]["yaxis"]["type"] == "log"
    view.close()
    epochs = pd.DataFrame({"epoch": [1, 2], "train_loss": [1348.0, 2.0], "val_loss": [3.0, 2.0],
                           "val_acc": [10.0, 20.0]})  # fmt: skip
    monkeypatch.setattr(runs.results, "epochs", lambda _: epochs)
    assert runs.live_curve("quick_1_1cpu_1").layout.yaxis.type == "log"


def test_the_package_names_what_a_notebook_calls():
    assert scalebook.jobs is views.jobs and scalebook.watch is views.watch
    with pytest.raises(AttributeError):
        _ = scalebook.nothing


def test_a_host_that_is_not_known_is_no_network():
    why = "no images in data, and cannot download https://a.b/c.tar.gz ([Errno -2] Name unknown)"
    said = run._UNRESOLVED.sub(run._NO_NETWORK, why)
    assert said == "no images in data, and no network to download CIFAR-10"
