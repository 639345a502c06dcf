"""The views that move, in JupyterLab and a browser, as a person sees and presses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import nbformat
import pytest
from lab_pages import SHOWN, TINY, appears, printed, run_all
from waiting import PATIENCE_S, wait_until

from scalebook import launch

pytestmark = pytest.mark.browser

CELLS = [
    "import scalebook\nscalebook.jobs()",
    f"""\
from scalebook import contract, launch, study

def submit(**more):
    resolved = study.resolve(study.load(), "baseline", "local", None, {{**{TINY}, **more}})
    return launch.submit_once(resolved, contract.find_root())[0]

short, long = submit(), submit(train_images=50_000, epochs=1000)
scalebook.watch(long)""",
    'print("jobs", short.id, long.id, long.state().finished)',
    'scalebook.pick("baseline")',
    'print("it ended as", long.wait().value)',
]


@pytest.fixture
def lab(study_root, tmp_path) -> Iterator[str]:
    """Address of a notebook of these cells in a JupyterLab that nobody has set up."""
    home, runtime = tmp_path / "home", tmp_path / "runtime"
    home.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, study_root / "live.ipynb")
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser"]
    command += ["--ServerApp.port=0", f"--ServerApp.root_dir={study_root}"]
    own = {"HOME": str(home), "JUPYTER_RUNTIME_DIR": str(runtime)}
    with open(tmp_path / "lab.log", "w") as log:
        server = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log)
    try:
        written = f"jpserver-{server.pid}"
        wait_until((runtime / f"{written}-open.html").exists, "JupyterLab is up")
        server_info = json.loads((runtime / f"{written}.json").read_text())
        yield f"{server_info['url']}lab/tree/live.ipynb?token={server_info['token']}"
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
        for job in launch.jobs(study_root):
            if not job.state().finished:
                job.cancel()


def test_views_follow_jobs_and_steer_them_while_a_cell_runs(lab, browser):
    with browser.new_context(viewport={"width": 1280, "height": 2600}) as context:
        page = context.new_page()
        page.goto(lab)
        run_all(page)
        # Cells after the view have run while its job does; the last one waits for it.
        short, long = printed(page, r"jobs (\S+) (\S+) False").groups()
        table = page.locator(f"{SHOWN} .scalebook-jobs").first

        def row(job, state):
            return table.locator("tr").filter(has_text=job).filter(has_text=state)

        appears(page, row(short, "completed"))
        line = page.locator(f"{SHOWN} .js-plotly-plot .js-line").first
        appears(page, line)
        drawn = line.get_attribute("d")
        wait_until(lambda: line.get_attribute("d") != drawn, "the curve grows")
        appears(page, row(long, "running"))

        def command(line):
            return page.locator(f"{SHOWN} code:text-is('scalebook run baseline{line}')")

        field = f"{SHOWN} .jupyter-widgets:has(> .widget-label:text-is('%s'))"
        appears(page, command(""))
        page.locator(field % "system").locator("select").select_option("local")
        appears(page, command(" --system local"))
        settings = page.locator(field % "settings").locator("input")
        settings.fill("epochs=3")
        settings.press("Enter")
        appears(page, command(" --system local --set epochs=3"))

        # It asks once whether that is meant.
        row(long, "running").get_by_role("button", name="cancel").dblclick()
        appears(page, row(long, "cancelled"))
        printed(page, "it ended as cancelled")
