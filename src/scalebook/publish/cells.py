"""Code cells that nothing executes and widgets that nothing shows: warned about, by page."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

_WIDGET = "application/vnd.jupyter.widget-view+json"
#: Beginnings of the forms of an output that show as much on a page.
_SHOWN = ("image/", "text/html", "text/markdown", "text/latex", "application/vnd.plotly")

_IDLE = (
    "nothing executes this code cell: move it into a notebook, notebooks/NAME.py, which the build "
    "executes; to show the code alone, begin it with ```python"
)
_EMPTY = (
    "output of cell %d is a widget without a picture, and of that a page shows nothing: let "
    "the cell show a picture or a table, or give it the tag remove-output"
)


class CodeCell(SphinxDirective):
    """``{code-cell}`` on a page that is no notebook, or inside another directive."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Say that it is not executed, and leave it out."""
        _warn("cell", self.get_location(), _IDLE)
        return []


def _check(app: Sphinx, doctree: nodes.document) -> None:
    """Warn about cells and widgets of a page; a widget's picture takes its place."""
    is_markdown = str(app.env.doc2path(app.env.docname)).endswith(".md")
    for cell in list(doctree.findall(nodes.container)):
        if cell.get("nb_element") != "cell_code":
            continue
        tags = (cell.get("cell_metadata") or {}).get("tags", [])
        executed = cell.get("exec_count") is not None or "skip-execution" in tags
        if is_markdown and not executed:
            _warn("cell", cell, _IDLE)
        for bundle in list(cell.findall(nodes.container)):
            forms = [form for form in bundle.children if isinstance(form, nodes.container)]
            if bundle.get("nb_element") != "mime_bundle":
                continue
            widgets = [form for form in forms if form.get("mime_type") == _WIDGET]
            if widgets and any(str(form.get("mime_type")).startswith(_SHOWN) for form in forms):
                bundle.remove(widgets[0])
            elif widgets:
                _warn("widget", app.env.docname, _EMPTY % (cell["cell_index"] + 1))


def _warn(kind: str, location: Any, message: str) -> None:  # a node, or what Sphinx makes of one
    logger.warning("%s", message, location=location, type="scalebook", subtype=kind)


def _replace_directive(app: Sphinx) -> None:
    app.add_directive("code-cell", CodeCell, override=True)


def setup(app: Sphinx) -> None:
    """Register the directive, after that of myst-nb, and the check."""
    app.connect("builder-inited", _replace_directive)
    app.connect("doctree-read", _check)
