"""Figures in executed notebooks: plotly's MIME type rendered as a node of this package."""

import json
from typing import ClassVar

from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer

from scalebook.publish import plots

MIME = "application/vnd.plotly.v1+json"


class PlotlyMime:
    """Entry point ``myst_nb.mime_renderers``.

    HTML and LaTeX prefer the figure to any picture beside it; other builders take a picture where
    the notebook holds one, and the figure's words before its ``repr``.
    """

    mime_priority_overrides: ClassVar[list[tuple[str, str, int]]] = [
        ("*", MIME, 95),
        ("html", MIME, 5),
        ("dirhtml", MIME, 5),
        ("singlehtml", MIME, 5),
        ("latex", MIME, 5),
    ]

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Node] | None:
        """Turn a figure into nodes; None leaves other MIME types to myst-nb."""
        if data.mime_type == "text/plain" and str(data.content).startswith("<IPython.core.disp"):
            return []  # HTML without words for print: the name of its class is none
        if data.mime_type != MIME:
            return None
        figure = json.loads(data.content) if isinstance(data.content, str) else data.content
        if inline:
            return [nodes.Text(plots.alt_text(figure))]
        captioned = plots.message_text(figure) is not None
        return [plots.figure_node(figure) if captioned else plots.plot_node(figure)]
