"""Figures for one column of a paper: as narrow as they are printed, with letters of 7 points.

Such a figure is its own layout of the same numbers: plots stand above each other, labels are
short, and the caption takes the place of the title.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from scalebook.analysis.comparable import Configuration
from scalebook.figures import theme

#: Width in CSS pixels, and in print, a little less than the column, in millimetres.
WIDTH, PRINTED_MM = 360, 84

#: Size of all letters in CSS pixels, room for one of them and height of a line.
LETTERS = theme.COLUMN.layout.font.size
LETTER, LINE = 6.9, 14

#: Space around the plots; below them for an axis, and for one without a title; in CSS pixels.
TOP, RIGHT, AXIS, TICKS = 6, 8, 42, 30

#: Letters that fit on a line across the column.
ACROSS = 50
#: And in a name beside a plot.
NAME = 20


def fit(figure: go.Figure, height: float) -> go.Figure:
    """Give a finished figure the width, theme and margins of a column, and take its title.

    Parameters
    ----------
    figure : Figure
        As `theme.finish` returns it; changed in place and returned.
    height : float
        In CSS pixels.
    """
    meta = {**(figure.layout.meta or {}), "title": figure.layout.title.text, "column": True}
    figure.layout.title = None
    return figure.update_layout(
        template=theme.COLUMN, width=WIDTH, height=height, autosize=False, meta=meta
    )


def is_narrow(figure: go.Figure) -> bool:
    """Whether a figure is laid out for one column."""
    meta = figure.layout.meta
    return isinstance(meta, Mapping) and bool(meta.get("column"))


def printed_pt(pixels: float, figure: go.Figure) -> float:
    """Size in print, in points, of what is `pixels` large in a figure as wide as a column."""
    return pixels * (PRINTED_MM / 25.4 * 72) / figure.layout.width


def empty(title: str, sentence: str) -> go.Figure:
    """A figure that says why it shows nothing."""
    figure = theme.empty(title, sentence)
    figure.layout.annotations[0].text = theme.wrap(sentence, ACROSS)
    return fit(figure, 120)


def name(text: Any) -> str:
    """Escaped name of an experiment or a system, shortened to what a column has room for."""
    return theme.escape(text, NAME)


def room(names: Sequence[str]) -> float:
    """Margin that the names of a vertical axis need, in CSS pixels; ``<br>`` breaks their lines."""
    longest = max(len(html.unescape(line)) for name in names for line in name.split("<br>"))
    return 14 + LETTER * longest


def heading(one: Configuration) -> str:
    """What a plot shows: kind and system, device and data, in one line where they fit."""
    first, _, second = theme.facet_title(one).partition("<br>")
    whole = len(first) - len("<b></b>") + 1 + len(second)
    return f"{first} {second}" if whole <= ACROSS else f"{first}<br>{second}"


def stacked(
    heights: Sequence[float], headings: Sequence[str], left: float, right: float = RIGHT,
    axes: float = AXIS, legend: Sequence[str] = (),
) -> go.Figure:  # fmt: skip
    """Plots above each other, each under its heading, which starts at the figure's left edge.

    Parameters
    ----------
    heights : sequence of float
        Of each plot.
    headings : sequence of str
        Markup, one for each plot; ``<br>`` breaks its lines.
    left, right : float
        Margins.
    axes : float, optional
        Room below each plot but the last, which gets `AXIS`.
    legend : sequence of str, optional
        Names in the legend below all plots. All sizes are in CSS pixels.

    Returns
    -------
    Figure
        Its ``layout.height`` is set.
    """
    lines = max((text.count("<br>") + 1 for text in headings if text), default=0)
    head = lines * LINE + 4
    gap = axes + head
    inner = sum(heights) + gap * (len(heights) - 1)
    figure = theme.subplots(
        len(heights), 1, headings, row_heights=list(heights),
        vertical_spacing=gap / inner if len(heights) > 1 else 0,
    )  # fmt: skip
    figure.update_annotations(xshift=6 - left, yshift=1, font_size=LETTERS)
    around = {"l": left, "r": right, "t": TOP + head, "b": AXIS + _legend_height(legend)}
    # Plotly gives a legend both margin and plot only where it starts left of the plot and below.
    place = {
        "xref": "paper", "x": (6 - left) / (WIDTH - left - right), "itemsizing": "constant",
        "yref": "paper", "y": (2 - AXIS) / inner, "yanchor": "top",
    }  # fmt: skip
    return figure.update_layout(
        height=inner + around["t"] + around["b"], margin=around, legend=place
    )


def _legend_height(names: Sequence[str]) -> float:
    """Room that a legend of these names takes below the plots, in CSS pixels."""
    entry = 45 + LETTER * max(map(len, names), default=0)
    in_a_row = max(1, int((WIDTH - 2 * RIGHT) // entry))
    return (LINE + 5) * -(-len(names) // in_a_row) + (10 if names else 0)


def end_of_axis(highest: float, text: float, left: float) -> float:
    """Where an axis from zero must end so that `text` pixels fit between `highest` and the edge."""
    plot = WIDTH - left - RIGHT
    return highest * plot / max(plot - text, 0.3 * plot)


def ticks(highest: float) -> list[float]:
    """Two to four round numbers from zero to `highest`."""
    if not highest > 0:
        return [0]
    unit = 10 ** math.floor(math.log10(highest / 3))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= highest / 3)
    return [step * n for n in range(int(highest / step) + 1)]
