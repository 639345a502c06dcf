"""`ddp_architecture`: what changes between training on one GPU and on two."""

import plotly.graph_objects as go

from scalebook.figures import captions, registry, theme

#: Size of the drawing in its own units, about CSS pixels; y counts from the top.
WIDTH, HEIGHT = 648, 262
#: Left and right edge of the three columns of boxes, and the height of a box.
ONE, FIRST, SECOND = (28, 178), (288, 438), (478, 628)
BOX = 36
#: Top of the rows: batch, passes, gradients, update.
ROWS = (36, 94, 152, 210)
COMPUTE, NETWORK, DATA = theme.PALETTE[0], theme.PALETTE[1], theme.PALETTE[2]


@registry.figure("From one GPU to two", plot=True)
def ddp_architecture() -> go.Figure:
    """One GPU and its loop on the left; on the right two, which average their gradients."""
    figure = go.Figure()
    _head(figure, (ONE[0] - 20, ONE[1] + 20), "1 GPU")
    _column(figure, ONE, ["batch", "forward, backward", "gradients", "update"])
    _loop(figure, ONE[0], ONE[0] - 20)
    _head(figure, (FIRST[0] - 20, SECOND[1] + 12), "2 GPUs on 2 nodes")
    for edges, name in ((FIRST, "GPU 0"), (SECOND, "GPU 1")):
        _column(figure, edges, [f"half batch, {name}", "forward, backward", "", "same update"])
    _loop(figure, FIRST[0], FIRST[0] - 20)
    _loop(figure, SECOND[1], SECOND[1] + 12)
    _box(figure, (FIRST[0], SECOND[1]), 2, "<b>all-reduce</b> over the network", NETWORK)
    figure.update_xaxes(range=[0, WIDTH], visible=False, fixedrange=True)
    figure.update_yaxes(range=[HEIGHT, 0], visible=False, fixedrange=True)
    figure.update_layout(
        height=HEIGHT + 64,
        margin={"l": 8, "r": 8, "t": 48, "b": 8},
        hovermode=False,
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return theme.finish(
        figure,
        **captions.texts("ddp_architecture"),
        sources=[],
        min_width=580,
        cut=FIRST[0] - 32,
    )


def _column(figure: go.Figure, edges: tuple[int, int], texts: list[str]) -> None:
    """Boxes from top to bottom with arrows between them; none where a text is empty."""
    for row, text in enumerate(texts):
        if text:
            _box(figure, edges, row, text, DATA if row == 0 else COMPUTE)
        if row:
            middle = sum(edges) / 2
            _arrow(figure, (middle, ROWS[row - 1] + BOX), (middle, ROWS[row]))


def _box(figure: go.Figure, edges: tuple[int, int], row: int, text: str, hue: str) -> None:
    figure.add_shape(
        type="rect", x0=edges[0], x1=edges[1], y0=ROWS[row], y1=ROWS[row] + BOX,
        line={"color": hue, "width": 2}, fillcolor=theme.faded(hue, 0.14),
    )  # fmt: skip
    _text(figure, sum(edges) / 2, ROWS[row] + BOX / 2, text)


def _head(figure: go.Figure, edges: tuple[int, int], text: str) -> None:
    _text(figure, sum(edges) / 2, 16, f"<b>{text}</b>")


def _text(figure: go.Figure, x: float, y: float, text: str) -> None:
    figure.add_annotation(x=x, y=y, text=text, xanchor="center", yanchor="middle")


def _arrow(figure: go.Figure, start: tuple[float, float], end: tuple[float, float]) -> None:
    figure.add_annotation(
        x=end[0], y=end[1], ax=start[0], ay=start[1], axref="x", ayref="y", text="",
        showarrow=True, arrowhead=2, arrowsize=1.1, arrowwidth=1.6, arrowcolor=theme.GREY,
    )  # fmt: skip


def _loop(figure: go.Figure, edge: int, outer: int) -> None:
    """The way from the update back to the next batch, along one side of a column."""
    low, high = ROWS[-1] + BOX / 2, ROWS[0] + BOX / 2
    way = ((edge, low), (outer, low), (outer, high), ((edge + outer) / 2, high))
    figure.add_shape(
        type="path",
        path=f"M {' L '.join(f'{x},{y}' for x, y in way)}",
        line={"color": theme.GREY, "width": 1.6},
    )
    _arrow(figure, (outer, high), (edge, high))
