"""Numbers drawn: one module a figure, one theme, one renderer.

`build` draws a figure by its name: any function that is decorated with `figure`, here or in
another package. `plots` are those of the study that are kept in ``results/plots`` (`plot_files`);
`fit` lays one out for another place. What stands here besides is what notebooks show.
"""

import importlib
from typing import Any

from scalebook.analysis.headers import (
    BREAKDOWN_HEADERS,
    COLLECTIVE_DIGITS,
    COLLECTIVE_HEADERS,
    TRACE_HEADERS,
)
from scalebook.analysis.headers import TRACE_STEP_HEADERS as STEP_HEADERS
from scalebook.figures.fitting import COLUMN, PHONE, WIDE, Size, fit, slide
from scalebook.figures.notebook import show, show_table, show_table_html, use_study
from scalebook.figures.profile.shares import (
    breakdown_table,
    reported_use,
    trace_table,
)
from scalebook.figures.profile.view import show_traces, trace_view
from scalebook.figures.registry import build, figure, plots, registered

__all__ = [
    "BREAKDOWN_HEADERS",
    "COLLECTIVE_DIGITS",
    "COLLECTIVE_HEADERS",
    "COLUMN",
    "PHONE",
    "STEP_HEADERS",
    "TRACE_HEADERS",
    "WIDE",
    "Size",
    "breakdown_table",
    "build",
    "figure",
    "fit",
    "plots",
    "registered",
    "reported_use",
    "show",
    "show_table",
    "show_table_html",
    "show_traces",
    "slide",
    "trace_table",
    "trace_view",
    "use_study",
]


def __getattr__(name: str) -> Any:
    """What notebooks of older studies ask for here: figures by name, `run_or_attach`."""
    if name == "run_or_attach":
        return importlib.import_module("scalebook.live").run_or_attach
    if not name.startswith("_") and name in registered():
        return registered()[name].draw
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
