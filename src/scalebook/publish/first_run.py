"""The main job's own run: notebook ``01_run`` with ``submit=True``, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from scalebook import launch, results, study
from scalebook.contract import ScalebookError
from scalebook.train.images import download, finding
from scalebook.train.settings import DatasetSettings

#: Longest the notebook's cell may follow its run.
CELL_TIMEOUT_S = 24 * 3600


def chosen(loaded: study.Study) -> str:
    """Experiment of the first run: that of notebook ``01_run``, else ``quick``, else the first."""
    named = loaded.notebooks.get("01_run", {}).get("experiment")
    if named:
        return str(named)
    return "quick" if "quick" in loaded.experiments else next(iter(loaded.experiments))


def ensure(root: Path, experiment: str, system: str) -> str:
    """Run `experiment` through notebook ``01_run`` unless a finished run of it exists.

    Where no data set is on disk, the official one is asked for once; without a
    network the run goes on with synthetic images, and its files say so.

    Returns
    -------
    str
        Stem of the run.

    Raises
    ------
    ScalebookError
        If the run failed.
    """
    if stem := results.newest(experiment=experiment, finished=True):
        _say(f"{experiment}: {stem} is there")
        return stem
    if not (root / "notebooks" / "01_run.py").is_file():
        raise ScalebookError(
            "notebooks/01_run.py: not there, so nothing can run through it: copy it from "
            f"Scalebook, or start the run with: scalebook run {experiment}"
        )
    overrides = _overrides(root, study.load(root), experiment)
    known = {job.id for job in launch.jobs(root)}
    parameters = {
        "submit": True,
        "experiment": experiment,
        "system": system,
        "overrides": overrides,
    }
    notebook = _start(root, parameters)
    job = _submitted(root, known, notebook)
    if job is not None:
        launch.watch(job)
    said, _ = notebook.communicate()
    if job is not None and job.state() is not launch.JobState.COMPLETED:
        launch.collect(job)
    failure = json.loads(said or "{}").get("failure") if notebook.returncode == 0 else "it died"
    if failure:
        raise ScalebookError(f"notebook 01_run: {failure}")
    stem = results.newest(experiment=experiment, finished=True)
    if stem is None:
        raise ScalebookError(
            f"notebook 01_run ran {experiment}, but left no finished run; see: scalebook runs --all"
        )
    return stem


def _overrides(root: Path, loaded: study.Study, experiment: str) -> dict:
    """Choose the data set: what is on disk, else the official one, else synthetic, saying so."""
    declared = loaded.experiment(experiment)
    if declared.dataset not in ("auto", "cifar10"):
        return {}
    settings = DatasetSettings(declared.dataset, declared.data_dir, None, None, None)
    try:
        finding.find(settings, root)
        return {}
    except ScalebookError:
        pass
    try:
        _say("no data set is here; asking for CIFAR-10 (scalebook data get)")
        download.get(root / declared.data_dir)
        return {}
    except ScalebookError as error:
        _say(f"{error}")
        _say("going on with synthetic images; every caption will say so")
        return {"dataset": "synthetic"}


def _start(root: Path, parameters: dict) -> subprocess.Popen[str]:
    """Execute ``01_run`` in a process of its own, as the book does."""
    folder = root / "_build" / "scalebook" / "first_run"
    folder.mkdir(parents=True, exist_ok=True)
    source = root / "notebooks" / "01_run.py"
    with open(folder / "01_run.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scalebook.publish.execute",
             str(source), str(folder / "01_run.ipynb"), str(CELL_TIMEOUT_S)],
            env={**os.environ, "SCALEBOOK_ROOT": str(root)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(parameters))
    process.stdin.close()
    process.stdin = None  # so that communicate() does not close it again
    return process


def _submitted(root: Path, known: set[str], notebook: subprocess.Popen) -> launch.Job | None:
    """Job the notebook has submitted, as soon as it is there."""
    while notebook.poll() is None:
        for job in launch.jobs(root):
            if job.id not in known:
                return job
        time.sleep(0.2)
    return None


def _say(text: str) -> None:
    print(f"scalebook: {text}", file=sys.stderr, flush=True)
