"""One look for every figure: readable on light and dark pages, in print, and without colour.

Colours are those of Okabe and Ito, chosen to be told apart with any colour
vision (*Color Universal Design*, 2008). Colour tells experiments apart and is
never alone: names stand on the axis or at the line, measured bars are
filled and reported ones hatched, measured markers are filled and reported ones open.
"""

import html
import math
import re
import statistics
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scalebook.analysis import study_queries

#: Okabe–Ito without yellow and black, which vanish on a light or a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")

#: Mid grey: the largest contrast that white and near-black pages can both have.
GREY = "#7b7b7b"
#: Ink of print, and of marks that lie on a bar, with a light halo around them.
INK, MARK, HALO = "#1a1a1a", "#222222", "#ffffff"
FONT = "DejaVu Sans, Verdana, Arial, sans-serif"
CLEAR = "rgba(0,0,0,0)"

#: Width at which figures are laid out, height of one that names none, and size of letters, in CSS
#: pixels; a page may stretch them.
WIDTH, HEIGHT, LETTERS = 720, 420, 13

#: Space around the plots in CSS pixels: titles above, an axis below.
MARGIN = {"l": 12, "r": 16, "t": 84, "b": 56}

#: A legend below the plot that takes the whole width of a figure.
BELOW = {"xref": "container", "x": 0.02, "traceorder": "normal", "itemsizing": "constant"}


def template(letters: int = LETTERS, ink: str = GREY, paper: str = CLEAR) -> go.layout.Template:
    """The theme with letters of a size, in an ink on a paper; that of pages where left out."""
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
        "yanchor": "bottom", "bgcolor": CLEAR,
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


# --------------------------------------------------------------------------- colours, marks


def colour(experiment: object) -> str:
    """Colour of an experiment: the same in every figure, by its position in ``study.yaml``."""
    names = list(study_queries.experiments())
    # One that is not there comes last.
    return cycled(PALETTE, names.index(str(experiment)) if experiment in names else len(names))


def cycled(values: Sequence[str], order: int) -> str:
    """The value at this position, from the start again after the last."""
    return values[order % len(values)]


def faded(hex_colour: str, alpha: float) -> str:
    """The colour at an opacity of `alpha`, 0 to 1."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def bar_marker(hex_colour: str, kind: str, hatch: str = "/") -> dict[str, Any]:
    """Marker of a bar: filled if measured, hatched if reported."""
    line = {"color": hex_colour, "width": 1.5}
    if kind != "reported":
        return {"color": hex_colour, "line": line}
    pattern = {
        "shape": hatch, "fgcolor": hex_colour, "bgcolor": CLEAR,
        "size": 7, "solidity": 0.25, "fillmode": "replace",
    }  # fmt: skip
    return {"color": hex_colour, "line": line, "pattern": pattern}


def part_marker(hex_colour: str, shape: str) -> dict[str, Any]:
    """Marker of a part of a stacked bar, with a pattern in white."""
    pattern = {"shape": shape, "fgcolor": HALO, "size": 6, "solidity": 0.25, "fillmode": "overlay"}
    return {"color": hex_colour, "line": {"color": HALO, "width": 1}, "pattern": pattern}


def symbol(name: str, kind: str) -> str:
    """Name of a marker: filled if measured, open if reported."""
    return f"{name}-open" if kind == "reported" else name


def spread(
    middle: Sequence[float], low: Sequence[float], high: Sequence[float], ink: str,
    thickness: int = 2, width: int = 5,
) -> dict[str, Any]:  # fmt: skip
    """Bars of error from `low` to `high`, as plotly takes them."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [above - value for above, value in zip(high, middle)],
        "arrayminus": [value - below for below, value in zip(low, middle)],
        "color": ink,
        "thickness": thickness,
        "width": width,
    }


def add_intervals(
    figure: go.Figure,
    names: Sequence[str],
    middle: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    **cell: int,
) -> None:
    """Intervals along rows, dark on a light halo so that they show on any bar and page."""
    for ink, thickness, cap in ((HALO, 5, 8), (MARK, 2, 6)):
        figure.add_scatter(
            y=list(names),
            x=list(middle),
            mode="markers",
            marker={"size": 0.1, "color": ink},
            error_x=spread(middle, low, high, ink, thickness, cap),
            showlegend=False,
            hoverinfo="skip",
            **cell,
        )


def add_band(
    figure: go.Figure, x: Sequence[float], low: Sequence[float], high: Sequence[float],
    hex_colour: str, alpha: float, **cell: int,
) -> None:  # fmt: skip
    """Shade from `low` to `high`."""
    figure.add_scatter(
        x=[*x, *list(x)[::-1]],
        y=[*high, *list(low)[::-1]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=faded(hex_colour, alpha),
        hoverinfo="skip",
        showlegend=False,
        **cell,
    )


#: So many times the value in the middle, and the largest one flattens the others.
FLATTENING = 10.0
#: Settings of an axis of losses that is logarithmic.
LOGARITHMIC = {"type": "log", "dtick": 1, "exponentformat": "none"}


def loss_axis(values: Iterable[float]) -> dict[str, Any]:
    """Settings of an axis of losses: logarithmic where the largest would flatten the others."""
    known = [value for value in values if math.isfinite(value)]
    if known and min(known) > 0 and max(known) > FLATTENING * statistics.median_low(known):
        return LOGARITHMIC
    return {"type": "linear", "dtick": None, "exponentformat": None}


def add_level(figure: go.Figure, y: float, name: str) -> None:
    """A dotted line across the plot, for comparison, which the legend names."""
    line = {"color": GREY, "dash": "dot", "width": 2}
    figure.add_hline(y=y, line=line, name=name, showlegend=True)


def is_new(figure: go.Figure, name: str) -> bool:
    """Whether the legend has no entry of this name yet."""
    return not any(trace.name == name for trace in figure.data)


# --------------------------------------------------------------------------- text


def escape(text: object, width: int = 60) -> str:
    """Text as plotly shall show it: no markup of its own, and not longer than `width`."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return html.escape(flat if len(flat) <= width else f"{flat[: width - 1]}…", quote=False)


def letters(markup: str) -> int:
    """How many letters a line of markup shows."""
    return len(html.unescape(re.sub(r"<[^>]*>", "", markup)))


def wrap(text: str, width: int) -> str:
    """Escaped text broken into lines of about `width` characters."""
    return "<br>".join(escape(line, width + 20) for line in textwrap.wrap(text, width))


# --------------------------------------------------------------------------- layout


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
    for order, title in enumerate(titles):
        axis = "" if order == 0 else order + 1
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


def stacked(
    bars: Sequence[int], titles: Sequence[str], bar: int, gap: int, columns: int = 1,
    **settings: Any,
) -> go.Figure:  # fmt: skip
    """Plots of horizontal bars above each other, every bar of the same thickness.

    Parameters
    ----------
    bars : sequence of int
        Number of bars of each row of plots.
    titles : sequence of str
        One for each plot.
    bar, gap : int
        Height of a bar with its space, and space between two plots, in CSS pixels.
    columns : int, optional
        Plots beside each other.
    **settings
        As `plotly.subplots.make_subplots` takes them.

    Returns
    -------
    Figure
        Its ``layout.height`` is set.
    """
    inner = bar * sum(bars) + gap * (len(bars) - 1)
    spacing = gap / inner if len(bars) > 1 else 0
    figure = subplots(
        len(bars), columns, titles, row_heights=list(bars), vertical_spacing=spacing, **settings
    )
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


def name_rows(figure: go.Figure, names: Sequence[str], **settings: Any) -> None:
    """Name the rows of a plot, whose bars stand at 0, 1, … from the top."""
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=list(names),
        range=[len(names) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
        ticks="",
        **settings,
    )


def leave_room(figure: go.Figure, inner: float, top: int = 56, legend: int = 62) -> None:
    """Set the height of a figure whose plots take `inner` CSS pixels, a legend below them."""
    bottom = MARGIN["b"] + legend
    margin = {"t": top, "b": bottom}
    figure.update_layout(height=inner + top + bottom, margin=margin, legend=BELOW)


def finish(
    figure: go.Figure,
    title: str | None = None,
    *,
    alt: str,
    caption: str,
    details: str = "",
    sources: Sequence[str],
    min_width: int | None = None,
    stacks: bool = True,
    cut: float | None = None,
    trial: bool = False,
) -> go.Figure:
    """Give a figure its theme and description.

    Parameters
    ----------
    figure : Figure
        With its ``layout.height``; changed in place and returned.
    title : str, optional
        Short; what is shown. That of its registration where left out.
    alt : str
        What one would say to a reader who cannot see the figure, numbers included.
    caption : str
        The message, in one line. Plain text.
    details : str
        How to read it, what was run and where the numbers come from: a page folds it away.
    sources : sequence of str
        Stems and files behind the figure.
    min_width : int, optional
        Where it is legible in less space than a page gives any other, in CSS pixels.
    stacks : bool
        Whether its plots can stand above each other on a narrow screen, see `fitting.fit`.
    cut : float, optional
        Of a drawing without data: from which x on it stands below the rest there.
    trial : bool
        Whether it shows trials, since no run stands behind the documents yet.
    """
    meta: dict[str, Any] = {
        "alt": alt,
        "caption": f"{caption.strip()} {details.strip()}".strip(),
        "message": caption.strip(),
        "stacks": stacks,
        "sources": list(dict.fromkeys(sources)),
    }
    meta |= {} if min_width is None else {"min_width": min_width}
    meta |= {} if cut is None else {"cut": cut}
    meta |= {"trial": True} if trial else {}
    return figure.update_layout(template=template(), title_text=title, meta=meta)


def empty(sentence: str, title: str | None = None) -> go.Figure:
    """A figure that says why it shows nothing."""
    figure = go.Figure()
    figure.add_annotation(
        text=wrap(sentence.replace("`", ""), 70),
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        align="center",
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=220)
    finish(figure, title, alt=sentence, caption=sentence, sources=[])
    figure.layout.meta["empty"] = True
    return figure


def is_empty(figure: go.Figure) -> bool:
    """Whether a figure is one of `empty`."""
    return bool((figure.layout.meta or {}).get("empty"))


def is_provisional(figure: go.Figure) -> bool:
    """Whether a figure shows nothing, or trials alone: no file of the study is made of it."""
    return is_empty(figure) or bool((figure.layout.meta or {}).get("trial"))
