"""The main job's own run: notebook ``01_run`` with ``submit=True``, once."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from scalebook import launch, results, study
from scalebook.contract import ScalebookError
from scalebook.publish.notebooks import update
from scalebook.train.images import finding
from scalebook.train.privacy import printable
from scalebook.train.settings import DatasetSettings

#: Longest the notebook's cell may follow its run.
CELL_TIMEOUT_S = 24 * 3600


def chosen(loaded: study.Study) -> str:
    """Experiment of the first run: that of notebook ``01_run``, else ``quick``, else the first."""
    named = loaded.notebooks.get("01_run", {}).get("experiment")
    if named:
        return str(named)
    return "quick" if "quick" in loaded.experiments else next(iter(loaded.experiments))


def ensure(root: Path, experiment: str) -> str:
    """Run `experiment` through notebook ``01_run`` unless a finished run of it exists.

    Returns
    -------
    str
        Stem of the run.

    Raises
    ------
    ScalebookError
        If the run failed.
    """
    if stem := results.newest(experiment=experiment):
        _say(f"{experiment}: {stem} is there")
        return stem
    source = root / update.FOLDER / "01_run.py"
    if not source.is_file():
        raise ScalebookError(
            "notebooks/01_run.py: not there, so nothing can run through it: copy it from "
            f"Scalebook, or start the run with: scalebook run {experiment}"
        )
    loaded = study.load(root)
    choice = launch.pick_system(loaded)
    _say(f"{experiment}: runs on {choice}")
    wanted = DatasetSettings(**study.resolve(loaded, experiment, choice.system)["dataset"])
    try:
        finding.find(wanted, root, "dataset: synthetic in study.yaml")
    except finding.NoImages:
        if wanted.source != "auto":
            raise
        _say(f"no images in {wanted.dir}: the notebook asks for CIFAR-10")
    parameters = {"submit": True, "experiment": experiment, "system": choice.system}
    output = root / "_build" / "scalebook" / "first_run" / "01_run.ipynb"
    notebook = update.Notebook(source, output, output.with_suffix(".json"), parameters)
    known = {job.id for job in launch.jobs(root, damaged=[])}
    with ThreadPoolExecutor(max_workers=1) as pool:
        executing = pool.submit(
            update.execute, notebook, root, timeout=CELL_TIMEOUT_S, may_submit=True
        )
        job = _submitted(root, known, executing)
        if job is not None:
            launch.watch(job)
        outcome = executing.result()
    if job is not None and job.state() is not launch.JobState.COMPLETED:
        launch.collect(job)
    if outcome.state == "failed":
        raise ScalebookError(outcome.message)
    stem = results.newest(experiment=experiment)
    if stem is None:
        raise ScalebookError(
            f"notebook 01_run ran {experiment}, but left no finished run; see: scalebook runs --all"
        )
    return stem


def _submitted(root: Path, known: set[str], executing: Future[update.Outcome]) -> launch.Job | None:
    """Job the notebook has submitted, as soon as it is there."""
    while not executing.done():
        for job in launch.jobs(root, damaged=[]):
            if job.id not in known:
                return job
        time.sleep(0.2)
    return None


def _say(text: str) -> None:
    print(f"scalebook: {printable(text)}", file=sys.stderr, flush=True)
