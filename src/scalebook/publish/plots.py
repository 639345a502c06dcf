"""Interactive figures as a node: drawn by plotly.js in HTML; `pictures` is for the rest."""

import functools
import html
import json
import math
from typing import Any, ClassVar

import plotly.graph_objects as go
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from scalebook import figures
from scalebook.publish import pages
from scalebook.publish.notebooks.dependencies import sha256

#: Height of a figure that does not give its own, in pixels.
HEIGHT = 420


class study_plot(nodes.General, nodes.Element):
    """A plotly figure. Attributes: ``figure`` (its JSON), ``alt``, ``height``, ``name``."""


def plot_node(figure: dict[str, Any], name: str = "") -> study_plot:
    """Node of a figure given as plotly's JSON object; `name` is that of a figure of the study."""
    layout = figure.get("layout") or {}
    height = layout.get("height")
    return study_plot(
        figure=script_json({"data": figure.get("data") or [], "layout": layout}),
        alt=alt_text(figure),
        name=name,
        height=int(height) if isinstance(height, (int, float)) and height > 0 else HEIGHT,
    )


def figure_node(figure: dict[str, Any]) -> nodes.Element:
    """Node of a figure with its caption, numbered where it has one."""
    plot = plot_node(figure)
    caption = caption_text(figure)
    if caption is None:
        return plot
    return nodes.figure("", plot, nodes.caption("", "", nodes.Text(caption)), classes=["sb-figure"])


def alt_text(figure: dict[str, Any]) -> str:
    """What the figure shows in words: ``layout.meta.alt``, else its title."""
    alt = _meta(figure).get("alt")
    if alt:
        return str(alt)
    title = (figure.get("layout") or {}).get("title")
    text = title.get("text") if isinstance(title, dict) else title
    return str(text) if text else "Figure"


def caption_text(figure: dict[str, Any]) -> str | None:
    """Caption of a figure, ``layout.meta.caption``, as plain text; None where it has none."""
    caption = _meta(figure).get("caption")
    return str(caption) if caption else None


def _meta(figure: dict[str, Any]) -> dict[str, Any]:
    meta = (figure.get("layout") or {}).get("meta")
    return meta if isinstance(meta, dict) else {}


def script_json(value: Any) -> str:
    """JSON that can stand inside a ``<script>`` element whatever its strings hold.

    ``<``, ``>`` and ``&`` cannot end the element or open a comment, and the two line
    separators of Unicode are escaped as well. NaN and infinity become null.
    """
    text = json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


# --------------------------------------------------------------------------- HTML


def box(node: study_plot, number: int, fallback: str = "") -> str:
    """HTML of the `number`-th figure of a page: a labelled, focusable box, and JSON beside it.

    ``scalebook.js`` draws it; `fallback` is further HTML for readers without scripts.
    """
    name = f"sb-plot-{number}"
    alt = html.escape(node["alt"])
    return (
        '<div class="sb-plot-box">'
        f'<div class="sb-plot" id="{name}" role="figure" aria-label="{alt}" tabindex="0" '
        f'style="height:{node["height"]}px">'
        f"<noscript><p>{alt}</p>{fallback}</noscript>"
        "</div></div>\n"
        f'<script type="application/json" class="sb-plot-data" data-for="{name}">'
        f"{node['figure']}</script>\n"
    )


def visit_html(self: HTML5Translator, node: study_plot) -> None:
    """Write a figure as `box` does."""
    note = "<p>The interactive figure needs JavaScript.</p>"
    self.body.append(box(node, pages.numbered(self, "plot"), note))
    raise nodes.SkipNode


# --------------------------------------------------------------------------- directive


@functools.lru_cache(maxsize=64)
def build(name: str) -> go.Figure:
    """Figure `name` of the study, drawn once a build.

    Raises
    ------
    ScalebookError
        If there is no such figure, or its numbers cannot be had.
    """
    return figures.build(name)


def as_json(name: str) -> dict[str, Any]:
    """Figure `name` of the study as plotly's JSON object."""
    figure: dict[str, Any] = json.loads(build(name).to_json())
    return figure


def digest(figure: dict[str, Any]) -> str:
    """Digest of a drawing."""
    return sha256(script_json(figure))


def _digest_now(name: str) -> str:
    registered = figures.registered().get(name)
    if registered is None:
        return digest(as_json(name))  # which says what there is
    return registered.answer(f"figure {name}", lambda: digest(as_json(name)))


class StudyFigure(pages.StudyDirective):
    """``{study-figure} NAME``: a figure of the study, numbered, with its caption.

    The content, where there is any, replaces the figure's own caption. ``:name:`` gives
    a label for ``{numref}``. In a paper a figure takes both columns; ``:class: column`` puts
    it in one, laid out for that where it has such a layout.
    """

    kind = "figure"
    has_content = True
    option_spec: ClassVar = {"name": directives.unchanged, "class": directives.class_option}

    def show(self, name: str) -> list[nodes.Node]:
        """Build the figure now, so that the page says what the results say."""
        figure = as_json(name)
        self.note(name, digest(figure))
        plot = plot_node(figure, name)
        node = nodes.figure("", plot, classes=["sb-figure"])
        node["classes"] += self.options.get("class", [])
        caption = nodes.caption()
        own = nodes.Text(caption_text(figure) or plot["alt"])
        caption += self.caption() if self.content else own
        node += caption
        self.set_source_info(node)
        self.add_name(node)
        return [node]


def setup(app: Sphinx) -> None:
    """Register node and directive."""
    app.add_node(study_plot, html=(visit_html, None))
    app.add_directive("study-figure", StudyFigure)
    pages.DIGESTS["figure"] = lambda app, name: _digest_now(name)
