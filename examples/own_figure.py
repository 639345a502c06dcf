"""A figure of one's own: python examples/own_figure.py FILE.html, in a study's folder.

Accuracy against the time spent, which no figure of the book shows, in the book's theme.
"""

import sys

import plotly.graph_objects as go

from scalebook import results
from scalebook.figures import theme

runs = results.runs()
runs = runs[(runs["kind"] == "measured") & runs["evidence"]]
figure = go.Figure()
for stem in runs["stem"]:
    epochs = results.epochs(stem)
    figure.add_scatter(x=epochs["epoch_time_s"].cumsum(), y=epochs["val_acc"], name=stem)
figure.update_xaxes(title_text="time spent (s)")
figure.update_yaxes(title_text="validation accuracy (%)")
theme.finish(
    figure,
    "Accuracy by time",
    alt=f"Validation accuracy of {len(runs)} runs against the seconds they took.",
    caption="Each line is a run.",
    sources=list(runs["stem"]),
)
figure.write_html(sys.argv[1])
