"""Follow a job to its end with a progress bar, in a terminal or a notebook."""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from scalebook.launch.job import Job, JobState, Progress


def watch(job: Job, poll_s: float = 0.5, on_poll: Callable[[Job], None] | None = None) -> JobState:
    """Show progress until the job has finished. Interrupting detaches; the job goes on.

    Parameters
    ----------
    job : Job
        The job to follow.
    poll_s : float
        Seconds between two looks.
    on_poll : callable, optional
        Called with the job after each look, such as to redraw a live curve.

    Returns
    -------
    JobState
        How it ended, or its state when detached.
    """
    bar = _NotebookBar(job) if _in_notebook() else _TerminalBar(job)
    try:
        while True:
            state = job.state()
            bar.show(job.progress(), state, job.reason())
            if on_poll is not None:
                on_poll(job)
            if state.finished:
                return state
            time.sleep(poll_s)
    except KeyboardInterrupt:
        bar.detach()
        return job.state()
    finally:
        bar.close()


def describe(progress: Progress, state: JobState = JobState.RUNNING, reason: str = "") -> str:
    """One line: state and why, phase, epoch, images/s, accuracy, time left.

    What is not known is left out; so is what a running job does not need to have said.
    """
    waits = state in (JobState.PENDING, JobState.SUSPENDED)
    said = f"{state.value} ({reason})" if reason and reason != state.value else state.value
    parts = [said] if state is not JobState.RUNNING else [reason] if reason else []
    if state is JobState.COMPLETED:
        pass
    elif progress.epoch:
        parts.append(f"epoch {progress.epoch}/{progress.epochs}")
    elif state is JobState.RUNNING:
        parts.append("preparing data" if progress.phase == "data" else "starting")
    if waits:
        return ", ".join(parts)
    if progress.phase == "validate" and not state.finished:
        parts.append("validating")
    if progress.images_per_s:
        parts.append(f"{progress.images_per_s:,.0f} images/s")
    if progress.val_acc is not None:
        parts.append(f"accuracy {progress.val_acc:.1f} %")
    if progress.remaining_s is not None and not state.finished:
        parts.append(f"{_clock(progress.remaining_s)} left")
    return ", ".join(parts)


def describe_briefly(progress: Progress, state: JobState = JobState.RUNNING) -> str:
    """The same for a narrow terminal: ``2/40, 177/s, 12.9 %, 7:28``; words where no epoch runs."""
    if state is not JobState.RUNNING or not progress.epoch:
        return describe(Progress(phase=progress.phase), state)
    parts = [f"{progress.epoch}/{progress.epochs}"]
    if progress.images_per_s:
        parts.append(f"{progress.images_per_s:,.0f}/s")
    if progress.val_acc is not None:
        parts.append(f"{progress.val_acc:.1f} %")
    if progress.remaining_s is not None:
        parts.append(_clock(progress.remaining_s))
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_BAR = "{desc} {percentage:3.0f}% |{bar:12}| "
_NO_BAR = "{desc} {percentage:3.0f}% "
#: Columns of a terminal that does not tell its width.
_COLUMNS = 80


def bar_format(name: str, progress: Progress, state: JobState, reason: str, columns: int) -> str:
    """Format for tqdm: with a bar where the line is wide enough, else without, else in brief."""
    text = describe(progress, state, reason)
    # A line as long as the terminal is wide would begin a second one.
    if len(name) + len(" 100% |") + 12 + len("| ") + len(text) < columns:
        form = _BAR
    else:
        form = _NO_BAR
        if len(name) + len(" 100% ") + len(text) >= columns:
            text = describe_briefly(progress, state)
    # A reason may hold braces, which tqdm would take for its own.
    return form + text.replace("{", "{{").replace("}", "}}")


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


class _TerminalBar:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._alive = sys.stderr.isatty()
        self._said = ""
        if self._alive:
            self._bar = tqdm(
                total=100,
                desc=str(job.resolved["experiment"]),
                bar_format=_BAR,
            )

    def show(self, progress: Progress, state: JobState, reason: str = "") -> None:
        if not self._alive:
            # A file or a pipe gets a line an epoch and a line a change, not a bar. The expected
            # start, after the semicolon, is reckoned anew all the time: that is no change.
            said = f"{state.value} {reason.partition(';')[0]}"
            line = said if state.finished else f"{said} epoch {progress.epoch}"
            if line != self._said:
                experiment = self._job.resolved["experiment"]
                text = describe(progress, state, reason)
                print(f"{experiment}: {text}", file=sys.stderr, flush=True)
                self._said = line
            return
        done = 100.0 if state is JobState.COMPLETED else 100.0 * progress.fraction
        self._bar.n = round(done, 1)
        experiment = str(self._job.resolved["experiment"])
        self._bar.ncols = _columns()
        # tqdm would put a comma before a postfix.
        self._bar.bar_format = bar_format(experiment, progress, state, reason, self._bar.ncols)
        self._bar.refresh()

    def detach(self) -> None:
        self.close()
        print(
            f"\ndetached; job {self._job.id} goes on\n"
            f"  back:   scalebook watch {self._job.id}\n"
            f"  end it: scalebook cancel {self._job.id}",
            file=sys.stderr,
        )

    def close(self) -> None:
        if self._alive:
            self._bar.close()


class _NotebookBar:
    """A plain HTML progress element: needs no widgets, and is kept in a saved notebook."""

    def __init__(self, job: Job) -> None:
        from IPython.display import display

        self._job = job
        self._handle = display({"text/plain": "starting"}, raw=True, display_id=True)

    def show(self, progress: Progress, state: JobState, reason: str = "") -> None:
        experiment = self._job.resolved["experiment"]
        done = 1.0 if state is JobState.COMPLETED else progress.fraction
        text = f"{experiment}: {describe(progress, state, reason)}"
        self._handle.update(
            {
                "text/html": f'<label>{html.escape(text)}<br><progress max="1" '
                f'value="{done:.3f}" style="width:100%"></progress></label>',
                "text/plain": f"{100 * done:.0f} % {text}",
            },
            raw=True,
        )

    def detach(self) -> None:
        print(
            f"Detached; job {self._job.id} goes on. End it with "
            f"scalebook.launch.find({self._job.id!r}).cancel()"
        )

    def close(self) -> None:
        """Nothing to put away."""


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
