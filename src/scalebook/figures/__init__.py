"""Numbers drawn: one function a figure, one theme for all.

`FIGURES` are the plots of the study; the book shows them, and `static` writes
the same drawings to ``results/plots``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go

from scalebook.contract import UsageError
from scalebook.figures.accuracy import accuracy_curves
from scalebook.figures.architecture import ddp_architecture
from scalebook.figures.ladder import machine_ladder
from scalebook.figures.links import allreduce_bandwidth
from scalebook.figures.models import model_sizes
from scalebook.figures.notebook import show, show_table, show_table_html, use_study
from scalebook.figures.pitch import link_efficiency, reported_speedup
from scalebook.figures.plan import gantt, risk_matrix
from scalebook.figures.profile.breakdown import grouping_difference, profiling_breakdown
from scalebook.figures.profile.idle import idle_breakdown
from scalebook.figures.profile.ranks import COLLECTIVE_DIGITS, COLLECTIVE_HEADERS
from scalebook.figures.profile.shares import (
    BREAKDOWN_HEADERS,
    TRACE_HEADERS,
    breakdown_table,
    reported_use,
    trace_table,
)
from scalebook.figures.profile.view import STEP_HEADERS, show_traces, trace_view
from scalebook.figures.runs import explorer, explorer_table, live_curve
from scalebook.figures.scaling import scaling_efficiency
from scalebook.figures.steps import overheads
from scalebook.figures.throughput import throughput_comparison

__all__ = [
    "BREAKDOWN_HEADERS",
    "COLLECTIVE_DIGITS",
    "COLLECTIVE_HEADERS",
    "COLUMN",
    "FIGURES",
    "STEP_HEADERS",
    "TRACE_HEADERS",
    "accuracy_curves",
    "allreduce_bandwidth",
    "breakdown_table",
    "build",
    "ddp_architecture",
    "explorer",
    "explorer_table",
    "gantt",
    "grouping_difference",
    "idle_breakdown",
    "link_efficiency",
    "live_curve",
    "machine_ladder",
    "model_sizes",
    "overheads",
    "profiling_breakdown",
    "reported_speedup",
    "reported_use",
    "risk_matrix",
    "scaling_efficiency",
    "show",
    "show_table",
    "show_table_html",
    "show_traces",
    "throughput_comparison",
    "trace_table",
    "trace_view",
    "use_study",
]

#: The plots of the study, by the name of their files.
FIGURES: Mapping[str, Callable[[], go.Figure]] = {
    "throughput_comparison": throughput_comparison,
    "accuracy_curves": accuracy_curves,
    "scaling_efficiency": scaling_efficiency,
    "overheads": overheads,
    "allreduce_bandwidth": allreduce_bandwidth,
    "profiling_breakdown": profiling_breakdown,
    "reported_speedup": reported_speedup,
    "link_efficiency": link_efficiency,
    "model_sizes": model_sizes,
    "ddp_architecture": ddp_architecture,
    "gantt": gantt,
    "risk_matrix": risk_matrix,
    "machine_ladder": machine_ladder,
}

#: Those that are laid out for one column of a paper too, as narrow as they are printed there.
#: Any other is the same drawing everywhere.
COLUMN: Mapping[str, Callable[[], go.Figure]] = {
    name: functools.partial(FIGURES[name], narrow=True)
    for name in ("throughput_comparison", "accuracy_curves", "overheads", "allreduce_bandwidth")
}


def build(name: str, narrow: bool = False) -> go.Figure:
    """Draw one of `FIGURES`.

    Parameters
    ----------
    name : str
        Of the figure.
    narrow : bool, optional
        For one column of a paper, where the figure has such a layout (`COLUMN`).

    Returns
    -------
    Figure
        With ``layout.meta`` of ``alt``, ``caption`` and ``sources``.

    Raises
    ------
    UsageError
        If there is no such figure.
    """
    if name not in FIGURES:
        raise UsageError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return (COLUMN if narrow and name in COLUMN else FIGURES)[name]()


def __getattr__(name: str) -> Any:
    """`run_or_attach`, which notebooks of older studies ask for here."""
    if name == "run_or_attach":
        return importlib.import_module("scalebook.live").run_or_attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
