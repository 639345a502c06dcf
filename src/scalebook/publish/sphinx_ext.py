"""Sphinx extension of a study's book; ``_config.yml`` names it under ``extra_extensions``.

It executes stale notebooks before anything is read, shows the executed ones in place of
their sources, brings figures, numbers and formulas onto the pages, and sees to it that a
build that cannot say the truth writes no page. The parts are in the modules beside this.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import markupsafe
import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.writers.html5 import HTML5Translator

from scalebook import __version__
from scalebook.contract import LEADS_OUT, ScalebookError, leads_out
from scalebook.figures import fitting
from scalebook.figures.notebook import CAPTION
from scalebook.publish import (
    cells,
    downloads,
    latex,
    maths,
    page_head,
    pages,
    pictures,
    plotly_mime,
    plots,
    printing,
    sentences,
    slides,
    tables,
    values,
)
from scalebook.publish.notebooks import update
from scalebook.publish.notebooks.dependencies import sha256
from scalebook.publish.origins import page as origins_page
from scalebook.publish.origins import repeat
from scalebook.publish.runs import pages as run_pages
from scalebook.publish.site import numbers, search, staging
from scalebook.study import citation
from scalebook.study.document import not_utf8

#: What each adds to Sphinx is in its own `setup`.
PARTS = (
    cells,
    downloads,
    latex,
    maths,
    numbers,
    origins_page,
    page_head,
    pages,
    pictures,
    plots,
    printing,
    repeat,
    run_pages,
    search,
    sentences,
    slides,
    staging,
    tables,
    values,
)
STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "site" / "templates"


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    for part in PARTS:
        part.setup(app)
    # The theme extends the writers that are registered, and its own only where none is: ours for
    # LaTeX and slides would leave the pages without scrolling tables.
    app.set_translator("html", HTML5Translator)
    html = (_visit_citation, HTML5Translator.depart_citation)
    app.add_node(nodes.citation, override=True, html=html)
    pages.DIGESTS["notebook"] = _notebook_digest
    app.add_config_value("scalebook_cell_timeout", update.CELL_TIMEOUT, "")
    app.add_config_value("scalebook_code", "", "env")
    app.connect("config-inited", _configure, priority=300)  # before myst-nb reads its formats
    app.connect("config-inited", _drop_launcher)
    app.connect("config-inited", _read_only_the_toc, priority=950)  # after the toc is read
    app.connect("builder-inited", _refuse_sources, priority=100)
    app.connect("builder-inited", _refuse_buttons_without_repository)
    app.connect("builder-inited", _bring_static_files)
    app.connect("builder-inited", _execute_notebooks, priority=900)
    app.connect("source-read", _show_executed)
    app.connect("html-page-context", _prepare_page, priority=900)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _configure(app: Sphinx, config: Config) -> None:
    """Set what follows from the extension itself, so that a study need not."""
    if "nb_custom_formats" in config:  # a deck has no notebooks
        config.nb_custom_formats = {
            **config.nb_custom_formats,
            ".py": ["scalebook.publish.sphinx_ext.read_notebook", {}, False],
        }
        # With tables, which a notebook shows as Markdown for print.
        config.nb_render_markdown_format = "myst"
        # An output that is HTML alone has nothing to show in print; that is no fault of its page.
        config.suppress_warnings = [*config.suppress_warnings, "mystnb.mime_priority"]
    config.author = citation.line(citation.authors(Path(app.srcdir))) or config.author
    config.html_math_renderer = "mathml"
    config.numfig_format = {"figure": "Figure %s", **config.numfig_format}
    config.html_context.setdefault("default_mode", "auto")  # light or dark as the reader's system
    config.templates_path = [*config.templates_path, str(TEMPLATES)]
    config.html_favicon = config.html_favicon or str(STATIC / "favicon.svg")
    # Pages made by another version of this extension are made anew; they fit figures to a phone.
    own = Path(__file__).parent.glob("**/*.py")
    files = sorted([*own, *STATIC.iterdir(), Path(fitting.__file__)])
    config.scalebook_code = sha256("".join(sha256(file.read_bytes()) for file in files))


def _drop_launcher(app: Sphinx, config: Config) -> None:
    """Drop what Jupyter Book brings for cells that run on a remote kernel."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener for listener in listeners if "thebe" not in listener.handler.__module__
        ]
    styles = app.registry.css_files
    styles[:] = [style for style in styles if style[0] != "sphinx-thebe.css"]


def _read_only_the_toc(app: Sphinx, config: Config) -> None:
    """Keep Sphinx out of ``.venv``, tests and data: a book is what ``_toc.yml`` names."""
    site_map = getattr(config, "external_site_map", None)
    if site_map is None:
        return
    # A notebook is its .py source: an .ipynb that JupyterLab or jupytext put beside it is no page.
    config.include_patterns = [
        f"{docname}.py" if _is_notebook(app, docname) else f"{docname}.*" for docname in site_map
    ]
    # Sphinx compares each file below with each pattern unless the whole folder is excluded.
    named = {docname.partition("/")[0] for docname in site_map}
    folders = [entry.name for entry in os.scandir(app.srcdir) if entry.is_dir()]
    config.exclude_patterns = config.exclude_patterns + [
        glob.escape(name) for name in sorted(folders) if name not in named
    ]


def _refuse_sources(app: Sphinx) -> None:
    """End the build at sources that are not there, lead out of the study or are not in UTF-8."""
    root = Path(app.srcdir)
    endings = dict.fromkeys([*app.config.source_suffix, ".md", ".py"])
    names, problems = list(getattr(app.config, "bibtex_bibfiles", [])), []
    for docname in getattr(app.config, "external_site_map", None) or ():  # a deck has none
        sources = [f"{docname}{ending}" for ending in endings]
        names += sources
        if not any((root / name).is_file() for name in sources):
            problems.append(
                f"_toc.yml: {docname}: no {docname}.md there: write it, or take the line out"
            )
    for name in names:
        if leads_out(root, name):
            problems.append(f"{name}: {LEADS_OUT}")
        elif (root / name).is_file() and (problem := not_utf8((root / name).read_bytes())):
            problems.append(f"{name}: {problem}")
    if problems:
        pages.end(problems)


def _refuse_buttons_without_repository(app: Sphinx) -> None:
    """A launch button names what the Hub is to fetch; Jupyter Book's default is its own."""
    theme = app.config.html_theme_options
    repository = str(theme.get("repository_url") or "")
    if (theme.get("launch_buttons") or {}).get("jupyterhub_url") and (
        not repository or repository.endswith("executablebooks/jupyter-book")
    ):
        pages.end(["_config.yml: jupyterhub_url needs repository: url, which the Hub is to fetch"])


def _bring_static_files(app: Sphinx) -> None:
    if app.builder.format != "html" or app.builder.name == pages.DECK:
        return
    app.config.html_static_path += [str(STATIC), str(plots.PLOTLY)]
    app.add_css_file("scalebook.css")
    app.add_css_file("icons.css")
    app.add_js_file("scalebook.js", loading_method="defer")


# --------------------------------------------------------------------------- notebooks


def _execute_notebooks(app: Sphinx) -> None:
    """Execute the stale notebooks of ``_toc.yml``; a failing one ends the build here."""
    root = Path(app.srcdir)
    os.environ["SCALEBOOK_ROOT"] = str(root)  # the study being built, whatever the directory
    os.environ["SCALEBOOK_NO_SUBMIT"] = "1"
    # Pages of the book in their order, as ``_toc.yml`` has them.
    named = getattr(app.config, "external_site_map", None) or ()
    names = [docname.partition("/")[2] for docname in named if _is_notebook(app, docname)]
    try:
        found = update.load(root, Path(app.outdir).parent, names)
        outcomes = update.execute_stale(
            found, root, _say, timeout=app.config.scalebook_cell_timeout
        )
    except ScalebookError as error:
        pages.end([str(error)])
    if failed := [outcome.message for outcome in outcomes if outcome.state == "failed"]:
        pages.end(failed)


def _is_notebook(app: Sphinx, docname: str) -> bool:
    folder, _, name = docname.partition("/")
    source = Path(app.srcdir) / f"{docname}.py"
    return folder == update.FOLDER and "/" not in name and source.is_file()


def _say(outcome: update.Outcome) -> None:
    seconds = f"{outcome.seconds:5.1f} s" if outcome.state != "current" else ""
    why = f"  ({outcome.message})" if outcome.state == "executed" else ""
    line = f"{outcome.notebook.name:<16} {outcome.state:<9} {seconds}{why}"
    pages.say(line.rstrip())


def _notebook_digest(app: Sphinx, docname: str) -> str:
    path = update.executed(Path(app.outdir).parent, docname)
    return sha256(path.read_bytes()) if path.is_file() else ""


def _show_executed(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the executed notebook in the place of its source."""
    if not _is_notebook(app, docname):
        return
    notebook = nbformat.read(update.executed(Path(app.outdir).parent, docname), as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _without_captions(cell.outputs)
            # The code is one click away: what it found comes first.
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    source[0] = nbformat.writes(notebook)
    pages.current(app.env).inputs["notebook", docname] = _notebook_digest(app, docname)


def _without_captions(outputs: list[Any]) -> list[Any]:
    """Drop the caption a notebook shows below a figure: the page sets and numbers its own."""
    kept: list[Any] = []
    caption = None
    for output in outputs:
        data = output.get("data", {})
        markup = "".join(data.get("text/html", ""))
        if caption is None or not markup.startswith(f'<div class="{CAPTION}">'):
            kept.append(output)
        figure = data.get(plotly_mime.MIME)
        caption = plots.caption_text(figure) if isinstance(figure, dict) else None
    return kept


def read_notebook(text: str) -> nbformat.NotebookNode:
    """Read what `_show_executed` put in place of a ``.py`` source; for myst-nb."""
    notebook: nbformat.NotebookNode = nbformat.reads(text, as_version=4)
    return notebook


# --------------------------------------------------------------------------- pages


def _visit_citation(self: HTML5Translator, node: nodes.citation) -> None:
    """Write an item of the list that docutils makes; its own role, of books, is no item's."""
    HTML5Translator.visit_citation(self, node)
    self.body[-1] = self.body[-1].replace('"doc-biblioentry"', '"listitem"')


def _prepare_page(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],  # as Sphinx hands it to the theme
    doctree: nodes.document | None,
) -> None:
    """Load plotly.js on pages with figures, and escape titles.

    Themes put the title of the book, and of the page as it is written, into pages as HTML.
    """
    for title in ("docstitle", "pagetitle"):
        context[title] = markupsafe.escape(context.get(title) or "")
    drawn = [] if doctree is None else list(doctree.findall(plots.study_plot))
    if drawn:
        script = plots.script(type_ for plot in drawn for type_ in plot["types"])
        app.add_js_file(script.name, priority=400, loading_method="defer")
