"""Interactive figures as a node: drawn by plotly.js in HTML; `pictures` is for the rest."""

import functools
import html
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import plotly
import plotly.graph_objects as go
import plotly.io as pio
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from scalebook import figures
from scalebook.figures.notebook import details
from scalebook.publish import pages
from scalebook.publish.notebooks.dependencies import sha256
from scalebook.results.digests import canonical

#: The script that draws figures, as it comes with Python's plotly.
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
#: The part of it that draws these types of traces alone, plotly's own basic distribution.
BASIC = Path(__file__).parent / "static" / "plotly-basic.min.js"
BASIC_TYPES = {"bar", "pie", "scatter"}

#: Height of a figure that does not give its own, in pixels.
HEIGHT = 420


class study_plot(nodes.General, nodes.Element):
    """A plotly figure.

    Attributes: ``figure``, JSON of its ``data`` and ``layout`` and, where there are such, of
    ``narrow``, the figure as a phone shows it, and ``choices``, what a reader may show in its
    place; ``types`` of its traces, ``alt``, ``height``, ``narrow_height``, ``name``, that under
    which it is ``registered``, ``sources``.
    """


class plot_details(nodes.General, nodes.TextElement):
    """The part of a caption that a page folds away, and print shows after the message."""


def plot_node(figure: dict[str, Any], name: str = "") -> study_plot:
    """Node of a figure given as plotly's JSON object; `name` is that of a figure of the study."""
    meta = dict(_meta(figure))
    choices = meta.pop("choices", None)
    layout = {**(figure.get("layout") or {}), "meta": meta}
    shown = {"data": figure.get("data") or [], "layout": layout}
    narrow = on_a_phone(shown) or {}
    height = layout.get("height")
    height = int(height) if isinstance(height, (int, float)) and height > 0 else HEIGHT
    beside = {name: part for name, part in (("narrow", narrow), ("choices", choices)) if part}
    return study_plot(
        figure=script_json({**shown, **beside}),
        types=types(figure),
        alt=alt_text(figure),
        name=name,
        registered=str(meta.get("name") or ""),
        sources=list(meta.get("sources") or ()),
        height=height,
        narrow_height=int(narrow.get("layout", {}).get("height") or height),
    )


def types(figure: dict[str, Any]) -> list[str]:
    """Types of the traces of a figure."""
    return sorted({trace.get("type", "scatter") for trace in figure.get("data") or []})


def script(types: Iterable[str]) -> Path:
    """The smallest script that draws traces of these types."""
    return BASIC if BASIC_TYPES.issuperset(types) else PLOTLY


def figure_node(
    figure: dict[str, Any], name: str = "", caption: Iterable[nodes.Node] = ()
) -> nodes.figure:
    """Node of a figure with a caption, its own where none is given."""
    plot = plot_node(figure, name)
    words = list(caption) or [nodes.Text(message_text(figure) or plot["alt"])]
    parts = [plot, nodes.caption("", "", *words), *_legend(figure)]
    return nodes.figure("", *parts, classes=["sb-figure"])


def _legend(figure: dict[str, Any]) -> list[nodes.Node]:
    """The folded part of a figure's caption, if it has one."""
    whole, message = caption_text(figure) or "", message_text(figure) or ""
    rest = whole.removeprefix(message).strip()
    return [nodes.legend("", plot_details("", rest))] if rest else []


def on_a_phone(figure: dict[str, Any]) -> dict[str, Any] | None:
    """The figure as it is laid out for a narrow screen; None where it stays as it is."""
    if not _meta(figure).get("stacks"):
        return None
    fitted = figures.fit(go.Figure(canonical(figure["data"]), figure["layout"]), figures.PHONE)
    fitted.layout.meta = {**fitted.layout.meta, "min_width": 0}
    narrow: dict[str, Any] = json.loads(pio.to_json(fitted, engine="json", validate=False))
    return narrow


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


def message_text(figure: dict[str, Any]) -> str | None:
    """The line of a caption that says what the figure shows; the whole where it has none."""
    return _meta(figure).get("message") or caption_text(figure)


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


def box(node: study_plot, number: int) -> str:
    """HTML of the `number`-th figure of a page: a labelled, focusable box, and JSON beside it.

    ``scalebook.js`` draws it.
    """
    name = f"sb-plot-{number}"
    alt = html.escape(node["alt"])
    return (
        '<div class="sb-plot-box">'
        f'<div class="sb-plot" id="{name}" role="figure" aria-label="{alt}" tabindex="0" '
        f'style="--sb-height:{node["height"]}px;--sb-narrow:{node["narrow_height"]}px">'
        f"<noscript><p>{alt}</p><p>The interactive figure needs JavaScript.</p></noscript>"
        "</div></div>\n"
        f'<script type="application/json" class="sb-plot-data" data-for="{name}">'
        f"{node['figure']}</script>\n"
    )


def visit_html(self: HTML5Translator, node: study_plot) -> None:
    """Write a figure as `box` does."""
    self.body.append(box(node, pages.numbered(self, "plot")))
    raise nodes.SkipNode


def visit_details(self: HTML5Translator, node: plot_details) -> None:
    """Fold the rest of a caption away."""
    self.body.append(details(node.astext()))
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
        node = figure_node(figure, name, self.caption() if self.content else [])
        node["classes"] += self.options.get("class", [])
        node["own_caption"] = not self.content
        self.set_source_info(node)
        self.add_name(node)
        return [node]


def setup(app: Sphinx) -> None:
    """Register node and directive."""
    app.add_node(study_plot, html=(visit_html, None))
    app.add_node(plot_details, html=(visit_details, None))
    app.add_directive("study-figure", StudyFigure)
    pages.DIGESTS["figure"] = lambda app, name: _digest_now(name)
