"""``{study-runs}``: the explorer over all runs, and the page of one, which both read scripts.

What the runs hold stands in files beside the book, not in the pages: these stay as they are when a
run is added, and no page is made for each of thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from markupsafe import Markup
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

from scalebook.contract import ScalebookError
from scalebook.figures import theme
from scalebook.publish import downloads, pages, plots
from scalebook.publish.runs import data, links
from scalebook.publish.runs.content import environment

#: Scripts of both pages; the search has the first, too.
SCRIPTS = ("run_index.js", "runs.js")


class study_runs(nodes.General, nodes.Element):
    """Placeholder of the explorer."""


class StudyRuns(SphinxDirective):
    """Leaves a placeholder, and makes its page the one that shows all runs."""

    def run(self) -> list[nodes.Node]:
        """Remember the page."""
        pages.current(self.env).lists.add("runs")
        return [study_runs()]


def look() -> str:
    """Theme of figures that a script draws, as JSON within an element."""
    known = {
        "template": theme.template().to_plotly_json(),
        "palette": theme.PALETTE,
        "dashes": theme.DASHES,
        "symbols": theme.SYMBOLS,
        "flattening": theme.FLATTENING,
        "logarithmic": theme.LOGARITHMIC,
    }
    return plots.script_json(known)


def _fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the explorer in place of its placeholder, and links on the runs of notebooks."""
    for node in doctree.findall(study_runs):
        if app.builder.name in links.BUILDERS:
            markup = _markup(app, docname, "explorer")
            node.replace_self(nodes.raw("", markup, format="html"))
        else:
            node.replace_self(nodes.paragraph("", "The runs stand in the book on the web."))
    if app.builder.name in links.BUILDERS and links.explorer(app.env):
        for raw in list(doctree.findall(nodes.raw)):
            if raw.get("format") == "html" and "<td" in raw.astext():
                linked = links.link_cells(app.builder, docname, raw.astext())
                raw.children = [nodes.Text(linked)]


def _markup(app: Sphinx, here: str, view: str) -> str:
    """HTML of one of the two pages, with the addresses that its script needs."""
    place = app.builder.get_target_uri(here)
    return (
        environment()
        .get_template("runs.html.j2")
        .render(
            view=view,
            index=relative_uri(place, data.INDEX),
            data=relative_uri(place, data.FOLDER),
            plotly=relative_uri(place, f"_static/{plots.BASIC.name}"),
            page=app.builder.get_relative_uri(here, links.PAGE),
            explorer=app.builder.get_relative_uri(here, links.explorer(app.env) or here),
            look=Markup(look()),  # escaped for its element
        )
    )


def _one_run(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page of one run, which Sphinx writes with the header of all others."""
    if app.builder.name in links.BUILDERS and links.explorer(app.env):
        yield links.PAGE, {"title": "Run", "body": _markup(app, links.PAGE, "run")}, "page.html"


def _load_script(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    if pagename in (links.PAGE, links.explorer(app.env)):
        for priority, script in enumerate(SCRIPTS, 510):
            app.add_js_file(script, priority=priority, loading_method="defer")


def _write(app: Sphinx, exception: Exception | None) -> None:
    """Write what the pages read, once they are there."""
    if exception or app.builder.name not in links.BUILDERS or not links.explorer(app.env):
        return
    record = Path(app.doctreedir) / "scalebook-runs.json"
    try:
        count, changed = data.write(
            Path(app.srcdir), Path(app.outdir), record, lambda name: downloads.bring(app, name)
        )
    except (OSError, ScalebookError) as error:
        pages.end([f"runs: {error}"])
    pages.say(f"runs             {count}, {changed} of them new or changed")


def setup(app: Sphinx) -> None:
    """Register directive, nodes and what writes the pages."""
    app.add_node(study_runs)
    app.add_node(links.study_run, html=(links.visit_html, None))
    app.add_directive("study-runs", StudyRuns)
    app.connect("doctree-resolved", _fill, priority=600)
    app.connect("html-collect-pages", _one_run)
    app.connect("html-page-context", _load_script)
    app.connect("build-finished", _write)
