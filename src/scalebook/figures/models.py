"""`model_sizes`: parameters of published models over the years."""

import math

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.models import FILE
from scalebook.analysis.models import model_sizes as published
from scalebook.figures import registry, theme

#: Where a label may stand, in order of preference: plotly's word, and the direction from the
#: point, in widths and heights of the label.
POSITIONS = {
    "middle left": (-1.0, 0.0),
    "middle right": (1.0, 0.0),
    "top center": (0.0, 1.0),
    "bottom center": (0.0, -1.0),
    "top left": (-1.0, 1.0),
    "bottom right": (1.0, -1.0),
    "top right": (1.0, 1.0),
    "bottom left": (-1.0, -1.0),
}

#: The smallest plot in which labels must not meet, in CSS pixels; a letter; a marker.
PLOT = (470.0, 140.0)
LETTER = (8.0, 16.0)
MARKER = 9.0


@registry.figure("Parameters of published models", plot=True)
def model_sizes(table: pd.DataFrame | None = None) -> go.Figure:
    """Parameters over the year of publication, on a logarithmic axis, every model named.

    Parameters
    ----------
    table : DataFrame, optional
        Rows of `scalebook.analysis.models.model_sizes`; all of them where left out.
    """
    table = published() if table is None else table
    if table.empty:
        return theme.empty(f"No model sizes: {FILE} is not there.")
    names = [str(name).partition(" (")[0] for name in table["model"]]
    years, sizes = table["year"].tolist(), table["parameters"].tolist()
    span = (min(years) - 1.3, max(years) + 1.3)
    decades = (math.log10(min(sizes)) - 0.45, math.log10(max(sizes)) + 0.55)
    points = [
        (
            PLOT[0] * (year - span[0]) / (span[1] - span[0]),
            PLOT[1] * (math.log10(size) - decades[0]) / (decades[1] - decades[0]),
        )
        for year, size in zip(years, sizes)
    ]
    figure = go.Figure()
    figure.add_scatter(
        x=years,
        y=sizes,
        mode="markers+text",
        text=[theme.escape(name, 24) for name in names],
        textposition=positions(points, names),
        textfont_size=12,
        marker={"size": MARKER, "color": theme.PALETTE[0]},
        customdata=[
            f"<b>{theme.escape(row.model)}</b>, {row.year}<br>{short(row.parameters)} parameters"
            f"<br>{theme.escape(row.source)}"
            for row in table.itertuples()
        ],
        hovertemplate="%{customdata}<extra></extra>",
        cliponaxis=False,
        showlegend=False,
    )
    powers = range(math.ceil(decades[0]), math.floor(decades[1]) + 1)
    figure.update_yaxes(
        type="log",
        range=list(decades),
        title_text="parameters",
        tickvals=[10**power for power in powers],
        ticktext=[short(10**power) for power in powers],
    )
    figure.update_xaxes(range=list(span), dtick=2, tick0=min(years), zeroline=False)
    # Room for the names of the last ones, which are centred on them.
    figure.update_layout(height=400, margin={"t": 52, "b": 32, "r": 40})
    largest = sizes.index(max(sizes))
    growth = (
        f"from {names[0]} in {years[0]} with {short(sizes[0])} to {names[largest]} in "
        f"{years[largest]} with {short(sizes[largest])}, "
        f"about {float(f'{sizes[largest] / sizes[0]:.2g}'):,.0f} times as many"
    )
    return theme.finish(
        figure,
        alt=f"Parameters over the year of publication, on a logarithmic axis: {growth}.",
        caption=f"Published models grow: {growth}.",
        details=(
            f"Cited: the publication of each model, named in {FILE}; a model with experts counts "
            "with all its parameters."
        ),
        sources=[FILE, *table["source"]],
    )


def short(parameters: float) -> str:
    """A number of parameters as one says it: ``60 M``, ``1.5 B``, ``1 T``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g} {letter}"
    return f"{parameters:.0f}"


def positions(
    points: list[tuple[float, float]],
    names: list[str],
    plot: tuple[float, float] = PLOT,
    letter: tuple[float, float] = LETTER,
) -> list[str | None]:
    """For each point the first of `POSITIONS` whose label meets no other label and no marker.

    None where there is no such place, but in a plot as wide as `PLOT`, where one overlaps least.
    """
    half = MARKER / 2
    taken = [(x - half, y - half, x + half, y + half) for x, y in points]
    chosen: list[str | None] = []
    for (x, y), name in zip(points, names):
        width, height = letter[0] * len(name), letter[1]
        boxes = {}
        for position, (right, up) in POSITIONS.items():
            middle = (x + right * (width / 2 + MARKER), y + up * (height / 2 + half))
            boxes[position] = (
                middle[0] - width / 2,
                middle[1] - height / 2,
                middle[0] + width / 2,
                middle[1] + height / 2,
            )
        shared = {
            place: sum(_overlap(box, other) for other in taken) + _outside(box, plot)
            for place, box in boxes.items()
        }
        position = min(shared, key=lambda place: shared[place])
        if shared[position] > 1 and plot[0] < PLOT[0]:
            chosen.append(None)
            continue
        taken.append(boxes[position])
        chosen.append(position)
    return chosen


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _outside(box: tuple[float, ...], plot: tuple[float, float]) -> float:
    """Area of a box beyond the plot."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, (0, 0, *plot))
