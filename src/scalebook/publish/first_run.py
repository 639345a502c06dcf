"""The main job's own run: notebook ``01_run`` with ``submit=True``, once."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from scalebook import launch, results, study
from scalebook.contract import ScalebookError
from scalebook.train import download, sources
from scalebook.train.settings import DatasetSettings


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
    overrides = _overrides(root, study.load(root), experiment)
    known = {job.id for job in launch.jobs(root)}
    failure: list[BaseException] = []
    notebook = threading.Thread(
        target=_execute, args=(root, experiment, system, overrides, failure), daemon=True
    )
    notebook.start()
    job = _submitted(root, known, notebook)
    if job is not None:
        launch.watch(job)
    notebook.join()
    if job is not None and job.state() is not launch.JobState.COMPLETED:
        job.collect()
    if failure:
        raise ScalebookError(f"notebook 01_run: {_last_line(failure[0])}")
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
        sources.find(settings, root)
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


def _execute(
    root: Path, experiment: str, system: str, overrides: dict, failure: list[BaseException]
) -> None:
    import jupytext
    import papermill

    out = root / "_build" / "scalebook" / "first_run"
    out.mkdir(parents=True, exist_ok=True)
    source = out / "01_run.source.ipynb"
    try:
        notebook = jupytext.read(root / "notebooks" / "01_run.py")
        jupytext.write(notebook, source)
        papermill.execute_notebook(
            source,
            out / "01_run.ipynb",
            parameters={
                "submit": True,
                "experiment": experiment,
                "system": system,
                "overrides": overrides,
            },
            kernel_name="python3",
            progress_bar=False,
            cwd=str(root / "notebooks"),
        )
    except BaseException as error:
        failure.append(error)
    finally:
        source.unlink(missing_ok=True)


def _submitted(root: Path, known: set[str], notebook: threading.Thread) -> launch.Job | None:
    """Job the notebook has submitted, as soon as it is there."""
    while notebook.is_alive():
        for job in launch.jobs(root):
            if job.id not in known:
                return job
        time.sleep(0.2)
    return None


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _say(text: str) -> None:
    print(f"scalebook: {text}", file=sys.stderr, flush=True)
