"""The live table in a real JupyterLab and a real browser."""

import json
import os
import subprocess
import sys

import nbformat
import psutil
import pytest
from waiting import wait_until

from scalebook import contract, study
from scalebook.launch import JobState
from scalebook.launch.local import LocalJob

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: the extra lab brings it")


@pytest.fixture
def job(study_root):
    """A job that runs until somebody ends it; its training is another program."""
    resolved = study.resolve(study.load(), "quick", "local", device="cpu")
    folder = LocalJob.new_folder(resolved, study_root)
    with subprocess.Popen(["sleep", "3600"]) as process:
        created = psutil.Process(process.pid).create_time()
        now = contract.utc_now()
        LocalJob.write_notes(folder, now, pid=process.pid, pid_created=created)
        at_epoch(folder, 1)
        yield LocalJob(folder.name, study_root)
        process.kill()


def at_epoch(folder, number: int) -> None:
    at = {"phase": "train", "epoch": number, "epochs": 9, "step": 1, "steps": 10}
    contract.write_json(folder / "progress.json", at)


@pytest.fixture
def lab(study_root, tmp_path_factory):
    """Address of a JupyterLab on the study, and the folder it runs in."""
    runtime = tmp_path_factory.mktemp("jupyter")
    kinds = ("CONFIG", "DATA", "RUNTIME")
    environment = {**os.environ, **{f"JUPYTER_{kind}_DIR": str(runtime) for kind in kinds}}
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
               f"--ServerApp.root_dir={study_root}"]  # fmt: skip
    log = runtime / "log"
    with open(log, "wb") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        wait_until(lambda: list(runtime.glob("jpserver-*.json")), "JupyterLab is up")
        facts = json.loads(next(runtime.glob("jpserver-*.json")).read_text())
        yield f"{facts['url']}lab/tree/live.ipynb?token={facts['token']}"
    finally:
        children = psutil.Process(server.pid).children(recursive=True)
        for one in (server, *children):
            one.kill()
        server.wait()


@pytest.mark.browser
@pytest.mark.slow
def test_the_table_ticks_and_cancels_while_a_later_cell_runs(job, lab, study_root, browser):
    cells = ["import scalebook\nscalebook.jobs()", "import time\ntime.sleep(3600)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, study_root / "live.ipynb")
    page = browser.new_page()
    elsewhere = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(lab)
    editors = page.locator(".jp-CodeCell .jp-InputArea-editor")
    editors.first.click()
    for _ in cells:
        page.keyboard.press("Shift+Enter")
    row = page.locator(".scalebook-jobs tr", has_text=job.id)
    row.get_by_text("epoch 1/9").wait_for()
    page.locator(".jp-CodeCell .jp-InputPrompt", has_text="*").last.wait_for()
    at_epoch(job.folder, 2)
    row.get_by_text("epoch 2/9").wait_for()
    row.get_by_role("button", name="cancel").click()
    row.get_by_role("button", name="sure?").click()
    row.get_by_text("cancelled").wait_for()
    assert job.state() is JobState.CANCELLED
    row.get_by_role("button", name="open").click()
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    assert "*" in page.locator(".jp-CodeCell .jp-InputPrompt").last.inner_text()
    host = lab.partition("/lab/")[0].partition("://")[2]
    assert [url for url in elsewhere if host not in url and url.startswith("http")] == []
    page.close()
