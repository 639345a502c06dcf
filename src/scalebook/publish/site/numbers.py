"""Figures and tables numbered page by page, as in the PDF of a document; what each is called.

Sphinx numbers them through the whole book, so that a page and its PDF would differ.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

Numbers = dict[str, dict[str, dict[str, tuple[int, ...]]]]


def by_page(numbers: Numbers) -> Numbers:
    """The numbers that Sphinx gave, from 1 on each page: by page, kind and anchor."""
    return {
        docname: {
            kind: {anchor: (place,) for place, anchor in enumerate(sorted(each, key=each.get), 1)}  # type: ignore[arg-type]  # all have one
            for kind, each in kinds.items()
        }
        for docname, kinds in numbers.items()
    }


def page_name(env: BuildEnvironment, docname: str) -> str:
    """What a page is called after a figure's number: ``the paper``, ``the page Throughput``."""
    if docname == env.config.root_doc:
        return "the front page"
    if env.metadata.get(docname, {}).get("pdf"):
        return f"the {PurePosixPath(docname).name.replace('_', ' ')}"
    title = env.titles.get(docname)
    return f"the page {title.astext() if title is not None else docname}"


def figure_name(env: BuildEnvironment, docname: str, anchor: str) -> str:
    """Number of a figure with its page, ``Figure 2 of the paper``; empty where it has none."""
    number = env.toc_fignumbers.get(docname, {}).get("figure", {}).get(anchor)
    if number is None:
        return ""
    own = str(env.config.numfig_format["figure"]) % ".".join(map(str, number))
    return f"{own} of {page_name(env, docname)}"


def _give_back(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Let Sphinx compare its own numbers with those of the last build."""
    env.toc_fignumbers = getattr(env, "scalebook_numbers", {})
    return []


def _renumber(app: Sphinx, env: BuildEnvironment) -> list[str]:
    env.scalebook_numbers = env.toc_fignumbers  # type: ignore[attr-defined]  # Sphinx keeps it
    env.toc_fignumbers = by_page(env.toc_fignumbers)
    return []


def _name_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Say of a number on another page which page that is."""
    if app.builder.format != "html":
        return
    pages = {app.builder.get_relative_uri(docname, name): name for name in app.env.found_docs}
    for reference in doctree.findall(addnodes.number_reference):
        page = pages.get(str(reference.get("refuri", "")).partition("#")[0])
        if page and page != docname:
            reference.append(nodes.Text(f" of {page_name(app.env, page)}"))


def setup(app: Sphinx) -> None:
    """Renumber after Sphinx has numbered."""
    app.connect("env-get-updated", _give_back, priority=100)
    app.connect("env-get-updated", _renumber, priority=900)
    app.connect("doctree-resolved", _name_page)
