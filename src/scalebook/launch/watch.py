"""Follow a job to its end with a progress bar, in a terminal or a notebook."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from tqdm import tqdm

from scalebook.launch.job import Job, JobState, Progress
from scalebook.train.privacy import printable


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
    bar = _NotebookBar(job) if in_notebook() else _TerminalBar(job)

    def show(state: JobState) -> None:
        bar.show(job.progress(), state, job.reason())
        if on_poll is not None:
            on_poll(job)

    try:
        return job.wait(poll_s=poll_s, on_look=show)
    except KeyboardInterrupt:
        bar.detach()
        return job.state()
    finally:
        bar.close()


#: A run that writes nothing for longer is no longer believed to go on at its rate.
SILENCE_S = 30.0


def _silence(progress: Progress, state: JobState) -> str:
    """How long a running job has reported nothing, where that is long; else empty."""
    if state.finished or (progress.silent_s or 0.0) < SILENCE_S:
        return ""
    return f"no progress reported for {clock(progress.silent_s or 0.0)}"


#: What a run does before its first epoch, by phase.
_BEFORE_TRAINING = {"data": "preparing data", "all-reduce": "measuring the all-reduce"}


def glance(progress: Progress, state: JobState) -> tuple[str, Progress]:
    """Where a job is, such as ``epoch 3/40``, and its progress without what holds no more."""
    nothing = replace(progress, images_per_s=None, val_acc=None, remaining_s=None)
    if state is JobState.PENDING:  # what there is of progress is of an attempt before
        return "", nothing
    where = []
    if progress.epoch and state is not JobState.COMPLETED:
        where.append(f"epoch {progress.epoch}/{progress.epochs}")
    elif state is JobState.RUNNING:
        where.append(_BEFORE_TRAINING.get(progress.phase, "starting"))
    if state is JobState.SUSPENDED:
        return ", ".join(where), nothing
    if progress.phase == "validate" and not state.finished:
        where.append("validating")
    if silence := _silence(progress, state):
        where.append(silence)
        progress = replace(progress, images_per_s=None, remaining_s=None)
    if state.finished:
        progress = replace(progress, remaining_s=None)
    return ", ".join(where), progress


def describe(progress: Progress, state: JobState = JobState.RUNNING, reason: str = "") -> str:
    """One line: state and why, phase, epoch, images/s, accuracy, time left.

    What is not known is left out; so is that a job runs, which its epoch says.
    """
    reason = printable(reason)
    parts = [state.value if reason in ("", state.value) else f"{state.value} ({reason})"]
    if state is JobState.RUNNING:
        parts = [reason] if reason else []
    where, seen = glance(progress, state)
    if where:
        parts.append(where)
    if seen.images_per_s:
        parts.append(f"{seen.images_per_s:,.0f} images/s")
    if seen.val_acc is not None:
        parts.append(f"accuracy {seen.val_acc:.1f} %")
    if seen.remaining_s is not None:
        parts.append(f"{clock(seen.remaining_s)} left")
    return ", ".join(parts)


def describe_briefly(progress: Progress, state: JobState = JobState.RUNNING) -> str:
    """The same for a narrow terminal: ``2/40, 177/s, 12.9 %, 7:28``; longer where no epoch runs."""
    if state is not JobState.RUNNING or not progress.epoch:
        return describe(Progress(phase=progress.phase), state)
    parts = [f"{progress.epoch}/{progress.epochs}"]
    if _silence(progress, state):
        return f"{parts[0]}, silent {clock(progress.silent_s or 0.0)}"
    if progress.images_per_s:
        parts.append(f"{progress.images_per_s:,.0f}/s")
    if progress.val_acc is not None:
        parts.append(f"{progress.val_acc:.1f} %")
    if progress.remaining_s is not None:
        parts.append(clock(progress.remaining_s))
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: ``7:28``, ``1:01:11``."""
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


def _fraction(progress: Progress, state: JobState) -> float:
    """Share of the training that this attempt has behind it."""
    if state is JobState.PENDING:
        return 0.0
    return 1.0 if state is JobState.COMPLETED else progress.fraction


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


class _TerminalBar:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._experiment = str(job.resolved["experiment"])
        self._line = ""
        self._bar: tqdm[NoReturn] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=100, desc=self._experiment, bar_format=_BAR)
        if job.images_note:
            print(f"{self._experiment}: {printable(job.images_note)}", file=sys.stderr, flush=True)

    def show(self, progress: Progress, state: JobState, reason: str) -> None:
        if self._bar is None:
            self._print_change(progress, state, reason)
            return
        self._bar.n = round(100 * _fraction(progress, state), 1)
        self._bar.ncols = _columns()
        # tqdm would put a comma before a postfix.
        self._bar.bar_format = bar_format(
            self._experiment, progress, state, reason, self._bar.ncols
        )
        self._bar.refresh()

    def _print_change(self, progress: Progress, state: JobState, reason: str) -> None:
        """A file or a pipe gets a line an epoch and a line a change, not a bar."""
        # The expected start, after the semicolon, is estimated anew all the time: no change.
        line = f"{state.value} {reason.partition(';')[0]}"
        if not state.finished:
            line += f" epoch {progress.epoch} {bool(_silence(progress, state))}"
        if line != self._line:
            text = describe(progress, state, reason)
            print(f"{self._experiment}: {text}", file=sys.stderr, flush=True)
            self._line = line

    def detach(self) -> None:
        self.close()
        print(
            f"\ndetached; job {self._job.id} goes on\n"
            f"  back:   scalebook watch {self._job.id}\n"
            f"  end it: scalebook cancel {self._job.id}",
            file=sys.stderr,
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _NotebookBar:
    """A plain HTML progress element: needs no widgets, and is kept in a saved notebook."""

    def __init__(self, job: Job) -> None:
        # Only a notebook has IPython.
        from IPython.display import display

        self._job = job
        self._handle = display({"text/plain": "starting"}, raw=True, display_id=True)

    def show(self, progress: Progress, state: JobState, reason: str) -> None:
        experiment = self._job.resolved["experiment"]
        done = _fraction(progress, state)
        text = f"{experiment}: {describe(progress, state, reason)}"
        text += f"; {self._job.images_note}" if self._job.images_note else ""
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


def in_notebook() -> bool:
    """Whether this is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
