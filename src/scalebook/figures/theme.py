"""One look for every figure: readable on light and dark pages, in print, and without colour.

Colours are those of Okabe and Ito, chosen to be told apart with any colour
vision (*Color Universal Design*, 2008). Colour tells experiments apart and is
never alone: names stand on the axis or at the line, measured bars are
filled and reported ones hatched, measured markers are filled and reported ones open.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scalebook.analysis import study_queries
from scalebook.analysis.comparable import Configuration
from scalebook.analysis.text import count, listed

#: Okabe–Ito without yellow and black, which vanish on a light or a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")

#: Mid grey: the largest contrast that white and near-black pages can both have.
GREY = "#7b7b7b"
FONT = "DejaVu Sans, Verdana, Arial, sans-serif"

#: Width at which figures are laid out, in CSS pixels; a page may stretch them.
WIDTH = 720

#: Space around the plots in CSS pixels: titles above, an axis below.
MARGIN = {"l": 12, "r": 16, "t": 84, "b": 56}


def _template(ink: str, paper: str, letters: int = 13) -> go.layout.Template:
    line = "rgba(128,128,128,0.35)"
    axis = {
        "gridcolor": line,
        "zerolinecolor": line,
        "linecolor": GREY,
        "ticks": "outside",
        "tickcolor": GREY,
        "automargin": True,
        "title": {"standoff": letters - 5, "font": {"size": letters}},
    }
    title = {
        "font": {"size": 16}, "x": 0, "xref": "container", "xanchor": "left",
        "y": 1, "yref": "container", "yanchor": "top", "pad": {"l": 12, "t": 10},
    }  # fmt: skip
    legend = {
        "orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container",
        "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)",
    }  # fmt: skip
    layout = {
        "font": {"family": FONT, "size": letters, "color": ink},
        "title": title,
        "annotationdefaults": {"font": {"size": letters}, "showarrow": False},
        "paper_bgcolor": paper,
        "plot_bgcolor": paper,
        "colorway": list(PALETTE),
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"font": {"family": FONT, "size": 13}, "align": "left"},
        "legend": legend,
        "margin": MARGIN,
        "bargap": 0.35,
    }
    return go.layout.Template(layout=layout)


#: For pages: transparent. For PNG and SVG files: black on white.
SCREEN = _template(GREY, "rgba(0,0,0,0)")
PRINT = _template("#1a1a1a", "#ffffff")
#: The same for figures as narrow as one column, printed larger (`column`).
COLUMN = _template("#1a1a1a", "#ffffff", letters=11)


def colour(experiment: str) -> str:
    """Colour of an experiment: the same in every figure, by its place in ``study.yaml``."""
    return PALETTE[place(experiment) % len(PALETTE)]


def place(experiment: str) -> int:
    """Place of an experiment in ``study.yaml``, from 0; one that is not there comes last."""
    names = list(study_queries.experiments())
    return names.index(experiment) if experiment in names else len(names)


def faded(hex_colour: str, alpha: float) -> str:
    """The colour at an opacity of `alpha`, 0 to 1."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def bar_marker(hex_colour: str, kind: str) -> dict[str, Any]:
    """Marker of a bar: filled if measured, hatched if reported."""
    line = {"color": hex_colour, "width": 1.5}
    if kind != "reported":
        return {"color": hex_colour, "line": line}
    pattern = {
        "shape": "/", "fgcolor": hex_colour, "bgcolor": "rgba(0,0,0,0)",
        "size": 7, "solidity": 0.25, "fillmode": "replace",
    }  # fmt: skip
    return {"color": hex_colour, "line": line, "pattern": pattern}


def symbol(name: str, kind: str) -> str:
    """Name of a marker: filled if measured, open if reported."""
    return f"{name}-open" if kind == "reported" else name


def escape(text: Any, width: int = 60) -> str:
    """Text as plotly shall show it: no markup of its own, and not longer than `width`."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return html.escape(flat if len(flat) <= width else f"{flat[: width - 1]}…", quote=False)


def wrap(text: str, width: int) -> str:
    """Escaped text broken into lines of about `width` characters."""
    return "<br>".join(escape(line, width + 20) for line in textwrap.wrap(text, width))


def facet_title(one: Configuration) -> str:
    """Two lines: kind and system, then device and data."""
    data = one["dataset"] or "data unknown"
    if one["subset"]:
        data += f", {one['train_images']:,} images" if one["train_images"] else ", subset"
    device = escape(one["device_name"] or one["device"] or "device unknown", 40)
    preposition = "for" if one.kind == "reported" else "on"
    return (
        f"<b>{one.kind} {preposition} {escape(one['system'] or 'unknown system', 24)}</b>"
        f"<br>{device}, {escape(data, 32)}"
    )


def subplots(rows: int, columns: int, titles: Sequence[str] = (), **settings: Any) -> go.Figure:
    """A grid of plots, each with its title above its left edge.

    Parameters
    ----------
    rows, columns : int
        Size of the grid.
    titles : sequence of str
        Markup, one for each plot, row by row.
    **settings
        As `plotly.subplots.make_subplots` takes them.
    """
    figure = make_subplots(rows=rows, cols=columns, **settings)
    for position, title in enumerate(titles):
        axis = "" if position == 0 else position + 1
        figure.add_annotation(
            text=title,
            x=0,
            xref=f"x{axis} domain",
            xanchor="left",
            y=1,
            yref=f"y{axis} domain",
            yanchor="bottom",
            yshift=5,
            align="left",
        )
    return figure


def stacked(bars: Sequence[int], titles: Sequence[str], bar: int, gap: int) -> go.Figure:
    """Plots of horizontal bars above each other, every bar of the same thickness.

    Parameters
    ----------
    bars : sequence of int
        Number of bars of each plot.
    titles : sequence of str
        One for each plot.
    bar, gap : int
        Height of a bar with its space, and space between two plots, in CSS pixels.

    Returns
    -------
    Figure
        Its ``layout.height`` is set.
    """
    inner = bar * sum(bars) + gap * (len(bars) - 1)
    spacing = gap / inner if len(bars) > 1 else 0
    figure = subplots(len(bars), 1, titles, row_heights=list(bars), vertical_spacing=spacing)
    return figure.update_layout(height=inner + MARGIN["t"] + MARGIN["b"])


def grid(titles: Sequence[str], row: int = 300) -> tuple[go.Figure, list[dict[str, int]]]:
    """Plots in up to two columns, `row` CSS pixels high each.

    Returns
    -------
    Figure
        Its ``layout.height`` is set.
    list of dict
        For each plot its ``row`` and ``col``, as plotly's functions take them.
    """
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    gap = 110
    inner = row * rows + gap * (rows - 1)
    figure = subplots(rows, columns, titles, horizontal_spacing=0.1, vertical_spacing=gap / inner)
    bottom = MARGIN["b"] + 28
    figure.update_layout(height=inner + MARGIN["t"] + bottom, margin_b=bottom)
    cells = [{"row": i // columns + 1, "col": i % columns + 1} for i in range(len(titles))]
    return figure, cells


def finish(
    figure: go.Figure,
    title: str,
    alt: str,
    caption: str,
    sources: Sequence[str],
    min_width: int | None = None,
) -> go.Figure:
    """Give a figure its theme, size, title and description.

    Parameters
    ----------
    figure : Figure
        With its ``layout.height``; changed in place and returned.
    title : str
        Short; what is shown.
    alt : str
        What one would say to a reader who cannot see the figure, numbers included.
    caption : str
        The message, and where its numbers come from. Plain text.
    sources : sequence of str
        Stems and files behind the figure.
    min_width : int, optional
        Where it is legible in less space than a page gives any other, in CSS pixels.
    """
    meta = {"alt": alt, "caption": caption, "sources": list(dict.fromkeys(sources))}
    if min_width is not None:
        meta["min_width"] = min_width
    figure.update_layout(template=SCREEN, title_text=title, meta=meta)
    return figure


def empty(title: str, sentence: str) -> go.Figure:
    """A figure that says why it shows nothing."""
    figure = go.Figure()
    figure.add_annotation(
        text=wrap(sentence, 70), x=0.5, y=0.5, xref="paper", yref="paper", align="center"
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=220)
    finish(figure, title, sentence, sentence, [])
    figure.layout.meta["empty"] = True
    return figure


def is_empty(figure: go.Figure) -> bool:
    """Whether a figure is one of `empty`."""
    return bool((figure.layout.meta or {}).get("empty"))


def synthetic_warning(found: Sequence[Configuration]) -> str:
    """First sentence of a caption where the images were generated; empty otherwise."""
    if any(one.synthetic for one in found):
        return "SYNTHETIC DATA: generated images, the accuracies mean nothing. "
    return ""


def machines(systems: Iterable[str | None]) -> str:
    """Sentences that say what the systems are, as their facts title them; empty if none does."""
    titled: dict[str, list[str]] = {}
    for name in dict.fromkeys(systems):
        title = study_queries.facts(name).title
        if name and title:
            titled.setdefault(title, []).append(name)
    return "".join(f"{listed(names)}: {title}. " for title, names in titled.items())


def place_of(kind: str, system: str | None) -> str:
    """Start of a sentence about one plot: ``Measured on local`` or ``Reported for …``."""
    return f"{kind.capitalize()} {'for' if kind == 'reported' else 'on'} {system or 'some system'}"


def origin(found: Sequence[Configuration]) -> str:
    """Last sentences of a caption: the runs and reports behind it."""
    # Experiments with the same conditions together, then systems with the same experiments.
    groups: dict[tuple, list[str]] = {}
    for one in found:
        if one.kind == "measured":
            key = (len(one.runs), one.conditions, one["system"])
            groups.setdefault(key, []).append(str(one["experiment"]))
    systems: dict[tuple, list[str]] = {}
    for (n, conditions, system), names in groups.items():
        systems.setdefault((n, conditions, tuple(names)), []).append(str(system))
    measured = [
        f"{count(n, 'run')} {'each ' if len(names) > 1 or len(places) > 1 else ''}"
        f"of {listed(names)} on {listed(places)} {conditions}"
        for (n, conditions, names), places in systems.items()
    ]
    jobs = [str(job) for one in found if one.kind == "reported" for job in one.runs["job_id"]]
    said = []
    if measured:
        said.append(f"Measured: {'; '.join(measured)}.")
    if jobs:
        said.append(
            f"Reported and not verified: job{'s' if len(jobs) > 1 else ''} {', '.join(jobs)}, "
            "one run each."
        )
    if not measured:
        said.append("No measured run is evidence yet.")
    return " ".join(said)


def left_out(given: pd.DataFrame, drawn: pd.DataFrame) -> str:
    """Last sentence of a caption where `comparable.whole` left runs out; empty otherwise."""
    n = len(given) - len(drawn)
    return f" {count(n, 'run')} on a part of the data set left out." if n else ""
