"""One run as a notebook shows it: started here and followed, or found in the results."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from IPython.display import display

from scalebook import contract, launch, results, study
from scalebook.analysis.headers import EPOCH_HEADERS, RECORD_HEADERS, epoch_headers
from scalebook.analysis.statistics import step_rows, step_summary
from scalebook.contract import SYNTHETIC, ScalebookError
from scalebook.figures import theme
from scalebook.figures.notebook import bundle, use_study
from scalebook.figures.runs import live_curve
from scalebook.launch import Job, JobState
from scalebook.live.frontend import takes_widgets
from scalebook.live.ticking import PAUSE_S
from scalebook.live.views import watch


@dataclass(frozen=True)
class RunView:
    """A run and what there is to show of it.

    Attributes
    ----------
    stem : str or None
        The run; None where there is none.
    message : str
        What the reader should know first: which run this is and why it was taken.
    """

    stem: str | None
    message: str

    @property
    def about(self) -> pd.DataFrame:
        """The run's own record as pairs of ``property`` and ``value``."""
        if self.stem is None:
            return pd.DataFrame(columns=["property", "value"])
        rows = [("run", self.stem), ("shown because", self.message), *_recorded(self.stem)]
        return pd.DataFrame(rows, columns=["property", "value"])

    @property
    def epochs(self) -> pd.DataFrame:
        """One row an epoch; empty where there is none."""
        if self.stem is None:
            return pd.DataFrame(columns=list(EPOCH_HEADERS))
        table = results.epochs(self.stem)
        return table[[name for name in EPOCH_HEADERS if name in table]]

    @property
    def headers(self) -> dict[str, str]:
        """Headers with units of the columns in `epochs`."""
        return epoch_headers(self.epochs)

    @property
    def digits(self) -> dict[str, int]:
        """Decimal places of the columns in `epochs`."""
        return {name: EPOCH_HEADERS[name][1] for name in self.epochs}

    @property
    def steps(self) -> pd.DataFrame:
        """Percentiles of the step time as ``quantity`` and ``value``; empty where not recorded."""
        columns = ["quantity", "value"]
        if self.stem is None:
            return pd.DataFrame(columns=columns)
        try:
            summary = step_summary(results.steps(self.stem))
        except ScalebookError:
            # An imported run has no step file; the table then says that there are none.
            return pd.DataFrame(columns=columns)
        rows = [(title, value) for _, title, value in step_rows(summary)]
        return pd.DataFrame(rows, columns=columns)

    def figure(self) -> go.Figure:
        """Curves of the run, or the reason why there are none."""
        if self.stem is None:
            return theme.empty(self.message, "No run yet")
        return live_curve(self.stem)


def run_or_attach(
    experiment: str,
    system: str = "auto",
    seed: int | None = None,
    submit: bool = False,
    overrides: dict[str, Any] | None = None,
    study_root: str | None = None,
    job: str | None = None,
) -> RunView:
    """Start a run and follow it, or take the newest finished one.

    A run that a lost kernel has started is followed again, never started a second time.

    Parameters
    ----------
    experiment, system : str
        Their names in ``study.yaml``; system ``auto`` starts on Slurm where it is
        set up, else locally, and is any system where nothing is started.
    seed : int, optional
        The study's first seed where left out; any where nothing is started.
    submit : bool
        Start a run, unless a job of the very same settings is under way: that one is followed.
        Otherwise nothing is started: the newest finished run of
        `experiment`, `system` and `seed` is shown, else that of `experiment`, else
        the newest of any, and the message says so.
    overrides : dict, optional
        Settings of the experiment to change for the run that is started.
    study_root : str, optional
        Folder of the study, for this process from now on; that around the
        working directory where left out.
    job : str, optional
        Id of a job to follow, or to show where it has ended; nothing is started then.

    Raises
    ------
    ScalebookError
        If the run that was started did not complete.
    """
    use_study(study_root)
    root = contract.find_root()
    study.check_seed(seed)
    if job is not None:
        return _follow(launch.find(job, root), f"job {job}, as asked for")
    loaded = study.load(root)
    if submit:
        choice = launch.pick_system(loaded, system)
        resolved = study.resolve(loaded, experiment, choice.system, seed, overrides)
        found, is_new = launch.submit_once(resolved, root)
        if not is_new:
            return _follow(found, f"job {found.id} of the same settings was under way")
        return _follow(found, f"submitted by this notebook as job {found.id} on {choice}")
    loaded.experiment(experiment)
    if system != "auto":
        loaded.system(system)
    return _attach(experiment, None if system == "auto" else system, seed)


def _attach(experiment: str, system: str | None, seed: int | None) -> RunView:
    """Newest finished run that is as asked, else the nearest there is, and how it differs."""
    asked = experiment
    asked += f" on system {system}" if system is not None else ""
    asked += f" with seed {seed}" if seed is not None else ""
    stem = results.newest(experiment, system=system, seed=seed)
    if stem is not None:
        return RunView(stem, f"newest finished run of {asked}")
    stem = results.newest(experiment)
    if stem is not None:
        return RunView(stem, f"newest finished run of {experiment}; there is none of {asked}")
    stem = results.newest()
    if stem is not None:
        return RunView(stem, f"newest finished run; {experiment} has not been run yet")
    return RunView(None, f"No finished run yet. Start one with: scalebook run {experiment}")


def _follow(job: Job, message: str) -> RunView:
    """Show progress and curves until the job has ended; interrupting lets it go on."""
    print(message)
    state = _wait_in_view(job) if takes_widgets() else _wait_drawing(job)
    if not state.finished:
        return RunView(None, f"Job {job.id} goes on; watch it with: scalebook watch {job.id}")
    return RunView(launch.collect(job).files.stem, message)


def _wait_in_view(job: Job) -> JobState:
    """Wait while a view shows how it goes, which goes on where this is interrupted."""
    watch(job)
    try:
        return job.wait(poll_s=PAUSE_S)
    except KeyboardInterrupt:
        return job.state()


def _wait_drawing(job: Job) -> JobState:
    """Wait with a bar and a figure by epoch, which the saved notebook keeps."""
    stem = str(job.stem)
    handle = display(
        bundle(theme.empty("Waiting for the first epoch.", f"Run {stem}")),
        raw=True,
        display_id=True,
    )
    drawn = 0

    def redraw(_: Job) -> None:
        nonlocal drawn
        try:
            done = len(results.epochs(stem))
        except ScalebookError:
            # No epoch has ended yet.
            return
        if done > drawn and handle is not None:
            drawn = done
            # JupyterLab's plotly never redraws an output it has drawn: something else has to
            # take its place first.
            handle.update({"text/plain": f"epoch {done}"}, raw=True)
            handle.update(bundle(live_curve(stem)), raw=True)

    return launch.watch(job, on_poll=redraw)


#: That a host's name is not known, as Python says it; and as a reader understands it.
_UNRESOLVED = re.compile(r"cannot download \S+ \(\[Errno -\d+\][^)]*\)")
_NO_NETWORK = "no network to download CIFAR-10"


def _recorded(stem: str) -> list[tuple[str, Any]]:
    """Rows of `RunView.about`; what the record does not hold is left out."""
    run = results.runs(stem=stem)
    run = run[run["kind"] != "reported"].iloc[0].to_dict()
    rows = [("status", run["status"]), ("stands behind documents", run["evidence"])]
    data = str(run["dataset"])
    if data == SYNTHETIC:
        data += " (generated images: the accuracies mean nothing)"
    rows.append(("data", data))
    if data.startswith(SYNTHETIC):
        settings = results.manifest(stem).get("resolved", {}).get("dataset", {})
        why = _UNRESOLVED.sub(_NO_NETWORK, settings.get("generated") or "asked for")
        rows.append(("generated because", why))
    named = RECORD_HEADERS.items()
    return rows + [(title, run[name]) for name, title in named if run[name] not in (None, "")]
