"""One figure in several places: laid out for a page, for one column of a paper, for a slide."""

import html
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from scalebook.figures import models, theme


@dataclass(frozen=True)
class Size:
    """The place that a figure is laid out for. All sizes are in CSS pixels.

    Attributes
    ----------
    width : int
        Of the figure.
    height : int, optional
        Of the figure; what it needs where left out.
    stacked : bool
        Whether plots stand above each other, in small letters, with names broken into lines.
    """

    width: int
    height: int | None = None
    stacked: bool = False


#: The width of a page, for which figures are drawn.
WIDE = Size(theme.WIDTH)
#: One column of a paper. It is printed 84 mm wide, and its letters with 8 points or more.
COLUMN = Size(327, stacked=True)
#: The width of a phone, less the edges of the page.
PHONE = Size(358, stacked=True)
#: How much larger than on a page the letters of a slide are.
ZOOM = 24 / theme.LETTERS

#: Size of the letters of stacked plots, room for one, and height of its line.
LETTERS, LETTER, LINE = 11, 6.9, 14
#: Space around stacked plots: above and beside them, below one for an axis with and without title.
EDGE, AXIS, TICKS = 8, 42, 30
#: Height of a stacked plot without rows, of one with many names at its marks, of what the tallest
#: of several at one scale draws, and of the lowest.
TALLEST, CROWDED, TOGETHER, LOWEST = 176, 300, 100, 60
#: Letters that fit on a line across a column, and in a name beside a plot.
ACROSS, NAME = 50, 20
#: Names at marks that are many.
MANY = 8
#: How much narrower a plot may be than on a page, as in a card.
INSET = 0.78
#: Most lines of a name.
MOST_LINES = 4
#: How much higher rows are whose names stand above their marks, the size of these, how close
#: to the middle of their row, and how much narrower the columns of numbers beside them are.
NAMED, MARK, CLOSER, NARROWER = 1.53, 6, 0.65, 0.68


def slide(width: int, height: int) -> Size:
    """The place of a figure that takes so many pixels of a slide."""
    return Size(round(width / ZOOM), round(height / ZOOM))


def fit(figure: go.Figure, size: Size) -> go.Figure:
    """Lay a figure out for a place.

    Parameters
    ----------
    figure : Figure
        As `theme.finish` returns it; not changed.
    size : Size
        Where it goes.

    Returns
    -------
    Figure
        The same data, and the same description. The title stands beside it anywhere but on a
        page, so ``layout.meta`` keeps it.
    """
    if size == WIDE:
        return figure
    fitted = go.Figure(figure)
    fitted.layout.meta = {**(fitted.layout.meta or {}), "title": fitted.layout.title.text}
    fitted.layout.title = None
    fitted.layout.margin.t = 14
    fitted.layout.margin.r = fitted.layout.margin.r or theme.MARGIN["r"]
    fitted.update_layout(width=size.width, height=size.height, autosize=False)
    if size.stacked:
        _stack(fitted, size)
    return fitted


# --------------------------------------------------------------------------- stacked plots


def _stack(figure: go.Figure, size: Size) -> None:
    """Put the plots above each other, each under its heading at the figure's left edge."""
    figure.layout.template = theme.template(LETTERS)
    _set_letters(figure)
    if theme.is_empty(figure):
        figure.layout.annotations[0].text = theme.wrap(figure.layout.meta["alt"], ACROSS)
        figure.layout.height = 120
        return
    if "cut" in figure.layout.meta:
        _cut(figure, figure.layout.meta["cut"])
        return
    axes = {(trace.xaxis or "x", trace.yaxis or "y") for trace in figure.data}
    plots = [_Plot(figure, x, y) for x, y in sorted(axes, key=lambda pair: int(pair[0][1:] or 1))]
    _set_heights([plot for plot in plots if not plot.rows])
    left = max(plot.room for plot in plots)
    right = figure.layout.margin.r
    if not any(plot.named for plot in plots):  # numbers beside rows keep their places
        right *= LETTERS / theme.LETTERS
    for plot in plots:
        plot.fit_texts(size.width - left - right)
    if len({plot.x.title.text for plot in plots}) == 1:
        for plot in plots[:-1]:
            plot.x.title.text = None
    tops: list[float] = []
    end = 0.0
    for plot in plots:
        tops.append(end + (plot.head if tops else 0))
        end = tops[-1] + plot.height + (AXIS if plot.x.title.text else TICKS)
    inner = tops[-1] + plots[-1].height
    for plot, top in zip(plots, tops):
        plot.x.domain = (0, 1)
        plot.y.domain = (max(0, 1 - (top + plot.height) / inner), 1 - top / inner)
        if plot.heading is not None:
            plot.heading.update(xshift=6 - left, yshift=1)
    around = {"l": left, "r": right, "t": EDGE + plots[0].head,
              "b": end - inner + _legend_height(figure, size)}  # fmt: skip
    # Plotly gives a legend the whole width only where it starts left of the plots and below.
    below = {
        "xref": "paper", "x": (6 - left) / (size.width - left - right), "itemsizing": "constant",
        "yref": "paper", "y": (2 - AXIS) / inner, "yanchor": "top",
    }  # fmt: skip
    figure.layout.legend.title.text = None
    figure.update_layout(margin=around, height=inner + around["t"] + around["b"], legend=below)


def _cut(figure: go.Figure, at: float) -> None:
    """Put what stands right of `at` in a drawing without data below the rest, which is centred."""
    wide, high = figure.layout.xaxis.range[1] - at, figure.layout.yaxis.range[0]
    shapes, notes = figure.layout.shapes, figure.layout.annotations
    edges = [x for shape in shapes if not shape.path for x in (shape.x0, shape.x1) if x < at]
    shift = (wide - min(edges) - max(edges)) / 2

    def moved(x: float, y: float) -> tuple[float, float]:
        return (x + shift, y) if x < at else (x - at, y + high)

    def point(match: re.Match[str]) -> str:
        return ",".join(map(str, moved(float(match[1]), float(match[2]))))

    for shape in shapes:
        if shape.path:
            shape.path = re.sub(r"([\d.]+),([\d.]+)", point, shape.path)
        else:
            shape.x0, shape.y0 = moved(shape.x0, shape.y0)
            shape.x1, shape.y1 = moved(shape.x1, shape.y1)
    for note in notes:
        note.x, note.y = moved(note.x, note.y)
        if note.axref == "x":
            note.ax, note.ay = moved(note.ax, note.ay)
    figure.update_xaxes(range=[0, wide])
    figure.update_yaxes(range=[2 * high, 0])
    figure.update_layout(height=2 * (high + EDGE), margin=dict.fromkeys("lrtb", EDGE))


class _Plot:
    """One plot of a figure: its axes, and what is written into it and beside it."""

    def __init__(self, figure: go.Figure, x: str, y: str) -> None:
        self.x_name, self.y_name = x, y
        self.x, self.y = (figure.layout[f"{name[0]}axis{name[1:]}"] for name in (x, y))
        self.own = [
            trace for trace in figure.data if (trace.xaxis or "x", trace.yaxis or "y") == (x, y)
        ]
        notes = figure.layout.annotations
        heads = [note for note in notes if note.yref == f"{y} domain" and note.yanchor == "bottom"]
        self.heading = heads[0] if heads else None
        self.head = 4
        if self.heading is not None:
            self.heading.text = _across(self.heading.text)
            self.head += LINE * _lines(self.heading.text)
        self.texts = [note for note in notes if note.xref == x and note.xanchor == "left"]
        self.height = self.room = self.named = 0.0
        self.rows = [
            trace for trace in self.own if trace.type == "bar" and trace.orientation == "h"
        ]
        if self.rows:
            self._break_names()
        elif self.y.ticktext and self.y.range and self.y.range[0] > self.y.range[1]:
            self._name_rows(figure)

    def _break_names(self) -> None:
        """Break the names of the rows into lines, and give each row the height of its lines."""
        values = self.y.tickvals or dict.fromkeys(value for bar in self.rows for value in bar.y)
        names = [_broken(str(text)) for text in self.y.ticktext or values]
        (first, *others) = self.rows
        if not others and first.textposition == "inside":  # a short bar has no room for its text
            said = dict(zip(first.y, first.text))
            names = [f"{name.rstrip()}, {said[row]}" for name, row in zip(names, values)]
            first.text = None
        self.y.update(
            tickvals=list(values),
            ticktext=names,
            automargin=False,
            showticklabels=True,
            ticklabelstandoff=3,
        )
        lines = max(_lines(text) for text in (*names, *(note.text for note in self.texts)))
        self.height = len(names) * (lines * LINE + 4)
        self.room = 14 + LETTER * _longest(names)

    def _name_rows(self, figure: go.Figure) -> None:
        """Put the names of rows without bars above their marks, where they take no width."""
        place = {"xref": f"{self.x_name} domain", "yref": self.y_name}
        for note in figure.layout.annotations:  # titles of groups of rows
            if note.xref == place["xref"] and note.x == 0 and note.xanchor == "left":
                heading = note.text.replace("</b> ", "</b><br>")
                note.update(xshift=0, yshift=5, text=heading, align="left")
        for note in self.texts:
            note.update(text=note.text.replace(" ", "<br>", 1), align="left")
        for note in figure.layout.annotations:  # numbers beside the rows
            if note.xref == place["xref"] and note.x == 1 and note.xanchor == "right":
                note.xshift *= NARROWER
        figure.layout.margin.r *= NARROWER
        for value, text in zip(self.y.tickvals, self.y.ticktext):
            figure.add_annotation(
                text=text, x=0, xanchor="left", y=value, yanchor="bottom", yshift=9, **place
            )
        for trace in self.own:
            if trace.mode != "markers":
                continue
            trace.marker.size = min(trace.marker.size, MARK)
            rows = [min((abs(row - y), row) for row in self.y.tickvals)[1] for y in trace.y]
            trace.y = [row + CLOSER * (y - row) for row, y in zip(rows, trace.y)]
        self.x.showgrid = False
        self.y.update(showticklabels=False)
        self.named = abs(self.y.range[0] - self.y.range[1]) * NAMED
        self.room, self.head = EDGE, LINE + 4

    def set_height(self, height: float) -> None:
        """Set the height of a plot without rows, and break the title of its axis to fit."""
        if self.named:
            self.height = self.named
            return
        self.height = height
        title = self.y.title.text or ""
        lines = textwrap.wrap(title, int(height / LETTER), break_long_words=False)
        self.y.title.text = "<br>".join(lines)
        self.y.nticks = max(3, int(height / 20))
        self.room = 34 + LINE * len(lines) if self.heading is not None else EDGE

    def extent(self) -> tuple[float, float, float]:
        """The least and the largest value, and the room for a label above it."""
        values = [value for trace in self.own for value in trace.y if value is not None]
        values = [value for value in values if value == value]
        labelled = any("top" in (trace.textposition or "") for trace in self.own)
        return min(values), max(values), 2 * LINE if labelled else EDGE

    def fit_texts(self, width: float) -> None:
        """Let texts fit into a plot of this width: at marks, and beside rows."""
        named = [
            trace for trace in self.own if trace.type == "scatter" and trace.mode == "markers+text"
        ]
        for trace in named:
            if len(set(trace.text or ())) > MANY and self.x.range and self.y.range:
                places = self._positions(trace, width)
                trace.textposition = [place or "top center" for place in places]
                trace.text = [text if place else "" for text, place in zip(trace.text, places)]
        if self.rows:
            self.x.nticks = 5
        if self.rows and self.texts:
            for note in self.texts:  # the axis names the unit
                note.text = note.text.replace(f" {self.x.title.text}", "")
            highest = max(note.x for note in self.texts)
            room = 16 + LETTER * _longest([note.text for note in self.texts])
            self.x.range = (self.x.range[0], highest * width / max(width - room, 0.3 * width))

    def _positions(self, marks: go.Scatter, width: float) -> list[str | None]:
        """Where the names of many marks stand; None where one has no room."""
        width *= INSET
        axes = ((self.x, width, marks.x), (self.y, self.height, marks.y))
        pixels = []
        for axis, length, values in axes:
            low, high = axis.range
            known = [math.log10(value) if axis.type == "log" else value for value in values]
            pixels.append([length * (value - low) / (high - low) for value in known])
        names = [html.unescape(text) for text in marks.text]
        return models.positions(list(zip(*pixels)), names, (width, self.height), (LETTER, LINE))


def _set_heights(plots: Sequence[_Plot]) -> None:
    """Give plots without rows their heights.

    Those that share a scale, which stood side by side, each keep the part of it that they need.
    """
    ranges = [plot.y.range for plot in plots]
    if len(plots) < 2 or None in ranges or any(bounds != ranges[0] for bounds in ranges):
        for plot in plots:
            crowded = any(len(set(trace.text or ())) > MANY for trace in plot.own)
            plot.set_height((CROWDED if crowded else TALLEST) / len(plots))
        return
    extents = [plot.extent() for plot in plots]
    scale = TOGETHER / max(high - low for low, high, _ in extents)
    for plot, (low, high, above) in zip(plots, extents):
        plot.set_height(max(LOWEST, scale * (high - low) + EDGE + above))
        top = high + above / scale
        plot.y.range = (top - plot.height / scale, top)


def _set_letters(figure: go.Figure) -> None:
    """One size for all letters that have one of their own; a legend of short names, in rows."""
    figure.update_annotations(font_size=LETTERS)
    figure.update_xaxes(tickfont_size=None)
    figure.update_yaxes(tickfont_size=None)
    # A group would start a row of its own.
    figure.update_traces(legendgroup=None)
    for trace in figure.data:
        trace.name = trace.name and trace.name.partition(":")[0]
        if trace.text:
            trace.textfont.size = LETTERS


def _across(text: str) -> str:
    """A heading of two lines in one, where a column has room for it; a long line in several."""
    joined = text.replace("<br>", " ")
    bold = text.startswith("<b>") and text.endswith("</b>") and text.count("<b>") == 1
    if theme.letters(joined) <= ACROSS - 4 * bold:
        return joined
    lines: list[str] = []
    for line in text.split("<br>"):
        bold = line.startswith("<b>") and line.endswith("</b>")
        words = html.unescape(re.sub(r"<[^>]*>", "", line))
        for part in textwrap.wrap(words, ACROSS - 4):
            shown = html.escape(part, quote=False)
            lines.append(f"<b>{shown}</b>" if bold else shown)
    return "<br>".join(lines)


def _broken(name: str) -> str:
    """A name in lines, each no longer than there is room for; markup stays as it is."""
    lines = name.replace(", ", "<br>", 1).split("<br>")
    if any("<" in line for line in lines):
        return "<br>".join(lines)
    parts = [part for line in lines for part in textwrap.wrap(html.unescape(line), NAME)]
    return "<br>".join(theme.escape(part, NAME) for part in parts[:MOST_LINES])


def _lines(text: str) -> int:
    return text.count("<br>") + 1


def _longest(texts: Sequence[str]) -> int:
    return max(theme.letters(line) for text in texts for line in text.split("<br>"))


def _legend_height(figure: go.Figure, size: Size) -> float:
    """Room that the legend takes below the plots."""
    traces = [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]
    lines = [shape.name for shape in figure.layout.shapes if shape.showlegend]
    alone = any(trace.showlegend for trace in figure.data)  # else plotly names no single trace
    names = [*lines, *(traces if alone or len(traces) > 1 else [])]
    if not names:
        return 0
    in_a_row = max(1, int((size.width - 2 * EDGE) // (45 + LETTER * _longest(names))))
    return (LINE + 5) * -(-len(names) // in_a_row) + 4
