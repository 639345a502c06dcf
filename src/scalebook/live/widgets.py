"""What moves as widgets: a table of jobs and a figure, drawn by the scripts beside this module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets
from plotly.offline import get_plotlyjs

from scalebook.launch.table import HEADERS, JobRow

#: Columns that hold numbers, and those that the style sheet names.
_KINDS = {
    "job": "sb-job", "state": "sb-state", "progress": "sb-progress", "images/s": "sb-number",
    "accuracy (%)": "sb-number", "left": "sb-number",
}  # fmt: skip


def answering(widget: Any) -> None:  # ipywidgets brings no types
    """Let a widget answer while a cell runs, too.

    ipykernel 7 hands a click to the shell that has sent something last. That is the main one, which
    a long cell keeps busy; where it is forgotten the notebook's choice holds, a subshell.
    """
    send = widget._send

    def forget() -> None:
        getattr(widget.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def send_and_forget(msg: Any, buffers: Any = None) -> None:
        send(msg, buffers)
        forget()

    widget._send = send_and_forget
    forget()


class JobsWidget(anywidget.AnyWidget):
    """Rows of jobs with buttons; each asks `act` with what to do and the job's id.

    Parameters
    ----------
    act : callable
        Takes ``"cancel"``, ``"logs"`` or ``"open"``, and the job's id.
    opens : bool
        Whether a job can be opened; else the view it stands in can be kept in sight.
    """

    _esm = Path(__file__).with_name("jobs.js")
    _css = Path(__file__).with_name("jobs.css")
    headers: traitlets.List[list[str]] = traitlets.List().tag(sync=True)
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    log = traitlets.Unicode("").tag(sync=True)
    opens = traitlets.Bool(True).tag(sync=True)

    def __init__(self, act: Callable[[str, str], None], opens: bool) -> None:
        headers = [[name, _KINDS.get(name, "")] for name in HEADERS]
        super().__init__(headers=headers, opens=opens)

        def receive(_: object, content: Any, __: object) -> None:
            act(str(content.get("action")), str(content.get("job")))

        self.on_msg(receive)
        answering(self)

    def show(self, rows: Sequence[JobRow]) -> bool:
        """Show these rows; returns whether anything has changed."""
        shown = [
            {
                "job": row.job,
                "cells": list(row.cells().values()),
                "fraction": row.fraction,
                "finished": row.finished,
            }
            for row in rows
        ]
        changed = shown != self.rows
        self.rows = shown
        return changed


class CurvesWidget(anywidget.AnyWidget):
    """A figure that `show` replaces by another one; what was zoomed into stays."""

    _esm = Path(__file__).with_name("curves.js")
    figure = traitlets.Unicode().tag(sync=True)
    # It comes with the widget: a page asks no other host for it, nor a kernel that is busy. It is
    # no part of the script, which anywidget gives two seconds to load.
    plotly = traitlets.Unicode().tag(sync=True)

    def __init__(self, figure: go.Figure) -> None:
        super().__init__(figure=_as_json(figure), plotly=get_plotlyjs())

    def show(self, figure: go.Figure) -> None:
        """Draw this figure instead."""
        self.figure = _as_json(figure)


def _as_json(figure: go.Figure) -> str:
    """What plotly reads; a person's zoom outlasts the next drawing."""
    return str(go.Figure(figure).update_layout(uirevision="live").to_json())
