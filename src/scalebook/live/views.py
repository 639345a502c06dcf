"""What `scalebook.jobs` and `scalebook.watch` show: views that look for themselves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

import ipywidgets
import pandas as pd
from IPython.display import display

from scalebook import launch
from scalebook.contract import ScalebookError
from scalebook.figures.notebook import show, show_table
from scalebook.launch import Job
from scalebook.launch.table import JobRow, JobTable, version
from scalebook.live.curves import draw
from scalebook.live.frontend import takes_widgets
from scalebook.live.ticking import Ticker
from scalebook.live.widgets import CurvesWidget, JobsWidget
from scalebook.train.records import POINTS_FILE

#: Lines of a job's output that are shown, and ended jobs that are.
LOG_LINES, ENDED = 40, 10
NONE = "no job was submitted from this study"


class View:
    """A table of jobs that is kept up to date in the background.

    Parameters
    ----------
    table : JobTable
        Where its rows come from.
    name : str
        A newer view of the same name takes its place.
    opens : bool
        Whether jobs can be opened; else the view can be kept in sight.
    """

    _shown: ClassVar[dict[str, View]] = {}

    def __init__(self, table: JobTable, name: str, opens: bool) -> None:
        self._table, self._name = table, name
        self._logs_of: Job | None = None
        # What looks have to say, and what the last button had: that stays until the next.
        self._seen, self._refused = "", ""
        self.widget = JobsWidget(self._act, opens)
        self.box = ipywidgets.VBox([self.widget])
        self.box.add_class("scalebook-live")
        self._ticker = Ticker(self._look, f"scalebook {name}")

    def start(self) -> None:
        """Take the place of an older view of the same, and begin to look."""
        if older := self._shown.get(self._name):
            older.close()
        self._shown[self._name] = self
        self._ticker.start()

    def close(self) -> None:
        """Look no more, and vanish."""
        self._ticker.stop()
        for widget in (*self.box.children, self.box):
            widget.close()

    # ----------------------------------------------------------------- looks

    def _look(self) -> bool | None:
        """Show what there is; None where nothing more will change."""
        try:
            rows = self._table.rows()
            changed = self.widget.show(self._choose(rows))
            changed = self._show_log() or changed
        except ScalebookError as error:  # such as files that vanish: they may come back
            self._seen, changed = str(error), False
        self._show_note()
        return changed

    def _choose(self, rows: Sequence[JobRow]) -> list[JobRow]:
        """Which rows to show; notes what there is to say of them."""
        raise NotImplementedError

    def _show_note(self) -> None:
        self.widget.note = "\n".join(filter(None, [self._refused, self._seen]))

    def _show_log(self) -> bool:
        text = self._logs_of.logs(LOG_LINES) if self._logs_of else ""
        changed = text != self.widget.log
        self.widget.log = text
        return changed

    # ----------------------------------------------------------------- buttons

    def _act(self, action: str, job_id: str) -> None:
        """Do what a button says; whatever is wrong with it stands below the table."""
        self._refused = ""
        try:
            job = launch.find(job_id, self._table.root)
            if action == "cancel":
                # It may take a while until every rank has ended.
                threading.Thread(target=self._cancel, args=[job], daemon=True).start()
            elif action == "logs":
                same = self._logs_of is not None and self._logs_of.id == job.id
                self._logs_of = None if same else job
                self._show_log()
            elif action == "open":
                self._open(job)
        except ScalebookError as error:
            self._refused = str(error)
        self._show_note()

    def _cancel(self, job: Job) -> None:
        try:
            job.cancel()
        except ScalebookError as error:
            self._refused = str(error)
        self._show_note()
        self._ticker.soon()

    def _open(self, job: Job) -> None:
        """Show more of a job."""


class JobsView(View):
    """Every job of the study, newest first, and below it the curves of the one that is open.

    Parameters
    ----------
    ended : int
        How many of the jobs that have ended are shown.
    """

    def __init__(self, ended: int = ENDED) -> None:
        super().__init__(JobTable(), "jobs", opens=True)
        self._ended = ended
        self._opened: WatchView | None = None

    def _choose(self, rows: Sequence[JobRow]) -> list[JobRow]:
        shown = newest(rows, self._ended)
        hidden = len(rows) - len(shown)
        notes = [
            *self._table.damaged,
            f"not shown, because they ended before: {hidden}" if hidden else "",
        ]
        notes.append("" if rows else NONE)
        self._seen = "\n".join(filter(None, notes))
        return shown

    def _open(self, job: Job) -> None:
        before, self._opened = self._opened, None
        if before:
            self.box.children = [self.widget]
            before.close()
            if before.job.id == job.id:
                return
        self._opened = WatchView(job)
        self.box.children = [self.widget, self._opened.box]
        self._opened.start()


class WatchView(View):
    """One job: how it is, and its curves by step."""

    def __init__(self, job: Job) -> None:
        super().__init__(JobTable(only=job), f"watch {job.id}", opens=False)
        self.job = job
        self._files = self._versions()
        self.curves = CurvesWidget(draw(job))
        self.box.children = [self.widget, self.curves]

    def _choose(self, rows: Sequence[JobRow]) -> list[JobRow]:
        self._seen = self.job.images_note
        return list(rows)

    def _look(self) -> bool | None:
        changed = super()._look()
        changed = self._redraw() or changed
        rows = self.widget.rows
        return None if rows and rows[0]["finished"] else changed

    def _redraw(self) -> bool:
        """Draw the curves where a file has changed."""
        files = self._versions()
        if files == self._files:
            return False
        self._files = files
        self.curves.show(draw(self.job))
        return True

    def _versions(self) -> list[tuple[int, int] | None]:
        """Those of the files that the curves are made of."""
        files = self.job.files()
        paths = [self.job.folder / POINTS_FILE]
        paths += [files.csv, files.utilisation] if files else []
        return [version(path) for path in paths]


def newest(rows: Sequence[JobRow], ended: int) -> list[JobRow]:
    """Newest first: all that have not ended, and some of those that have."""
    shown = []
    for row in reversed(rows):
        ended -= row.finished
        if not row.finished or ended >= 0:
            shown.append(row)
    return shown


def jobs(ended: int = ENDED) -> None:
    """Show this study's jobs, which stay up to date, with buttons to cancel and to look closer.

    The kernel goes on meanwhile. Where no notebook is open to show it, as under papermill and in
    the book, it is a plain table of this moment.

    Parameters
    ----------
    ended : int
        How many of the jobs that have ended are shown.
    """
    if takes_widgets():
        view = JobsView(ended=ended)
        view.start()
        display(view.box)
        return
    _show_rows(newest(JobTable().rows(), ended))


def watch(job: Job | str) -> None:
    """Show how a job goes and its curves by step, which stay up to date until it has ended.

    The kernel goes on meanwhile. Where no notebook is open to show it, as under papermill and in
    the book, it is a figure of this moment.

    Parameters
    ----------
    job : Job or str
        A job or its id.
    """
    found = launch.find(job) if isinstance(job, str) else job
    if takes_widgets():
        view = WatchView(found)
        view.start()
        display(view.box)
        return
    _show_rows(JobTable(only=found).rows())
    show(draw(found))


def _show_rows(rows: Sequence[JobRow]) -> None:
    """A plain table, without columns that say nothing of any job."""
    table = pd.DataFrame([row.cells() for row in rows])
    show_table(table.loc[:, (table != "").any()], empty=f"{NONE.capitalize()}.")
