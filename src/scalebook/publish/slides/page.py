"""Slides as a page of the book.

Every second-level section of the page is a slide. ``{speaker-notes} SECONDS`` ends it with what
is said: the deck keeps that for reveal's speaker view, the book folds it below the slide.
``{deck-link}`` leads from the page to the deck, where one with the same content is built.
"""

import html
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxTranslator
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator
from sphinx.writers.latex import LaTeXTranslator

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.publish import pages
from scalebook.publish.notebooks.dependencies import sha256

#: Folder beside the book's that holds a deck.
FOLDER = "deck"
#: The printed deck, beside it.
PDF = "slides.pdf"
#: What a deck was made from, beside it.
MADE_FROM = "made-from.json"


class speaker_notes(nodes.General, nodes.Element):
    """What is said with a slide. Attribute: ``seconds``."""


class deck_link(nodes.General, nodes.Element):
    """Place of the link to the deck."""


class SpeakerNotes(SphinxDirective):
    """``{speaker-notes} SECONDS``: what is said, and for how long."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Parse the notes as any text of the page."""
        try:
            seconds = directives.positive_int(self.arguments[0])
        except ValueError:
            raise self.error(
                f"speaker-notes: {self.arguments[0]!r} is no number of seconds"
            ) from None
        node = speaker_notes(seconds=seconds)
        self.set_source_info(node)
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


class DeckLink(SphinxDirective):
    """``{deck-link}``: where the link to the deck goes, if there is a deck."""

    def run(self) -> list[nodes.Node]:
        """Remember that the page changes when a deck comes or goes."""
        folder = Path(self.env.app.outdir).parent / FOLDER
        pages.current(self.env).inputs["deck", self.env.docname] = _deck_digest(folder)
        return [deck_link()]


# --------------------------------------------------------------------------- page of the book


def _mark_slides(app: Sphinx, doctree: nodes.document) -> None:
    """Give the sections that are slides a class, by which a page shows them as such."""
    for notes in doctree.findall(speaker_notes):
        if isinstance(notes.parent, nodes.section):
            notes.parent["classes"].append("sb-slide")


def visit_notes_html(self: HTML5Translator, node: speaker_notes) -> None:
    """Fold the notes below the slide."""
    self.body.append(
        f'<details class="sb-notes"><summary>Speaker notes, {node["seconds"]} s</summary>\n'
    )


def depart_notes_html(self: HTML5Translator, node: speaker_notes) -> None:
    """Close the fold."""
    self.body.append("</details>\n")


def visit_notes_latex(self: LaTeXTranslator, node: speaker_notes) -> None:
    """Set the notes smaller, below the slide."""
    self.body.append(
        f"\n\\begin{{quote}}\\small\\emph{{Speaker notes, {node['seconds']}\\,s.}}\\par\n"
    )


def depart_notes_latex(self: LaTeXTranslator, node: speaker_notes) -> None:
    """End them."""
    self.body.append("\n\\end{quote}\n")


def visit_link_html(self: HTML5Translator, node: deck_link) -> None:
    """Bring the deck beside the page and link it, if it shows what the page shows."""
    out = Path(self.builder.outdir)
    docname = self.builder.current_docname
    folder = out.parent / FOLDER
    if self.builder.name == "html" and is_current(self.builder.env, folder, docname):
        shutil.rmtree(out / FOLDER, ignore_errors=True)
        shutil.copytree(folder, out / FOLDER)
        links = {f"{FOLDER}/{docname}.html": "Full-screen slides"}
        if (folder / PDF).is_file():
            links[f"{FOLDER}/{PDF}"] = "PDF"
        markup = " · ".join(
            f'<a href="{html.escape(relative_uri(docname, to))}">{text}</a>'
            for to, text in links.items()
        )
        self.body.append(f'<p class="sb-deck-link">{markup}</p>\n')
    raise nodes.SkipNode


def skip(self: SphinxTranslator, node: nodes.Element) -> None:
    """Write nothing."""
    raise nodes.SkipNode


def _pass(self: SphinxTranslator, node: nodes.Element) -> None:
    """Write what is inside and nothing around it."""


# --------------------------------------------------------------------------- what is current


def made_from(env: BuildEnvironment, docname: str) -> dict[str, object]:
    """What a page shows: its source, and a digest of each number, figure and table."""
    page = pages.all_pages(env).get(docname, pages.Page())
    return {
        "source": sha256(Path(env.doc2path(docname)).read_bytes()),
        "inputs": {
            f"{kind} {name}": digest
            for (kind, name), digest in sorted(page.inputs.items())
            if kind != "deck"
        },
    }


def is_current(env: BuildEnvironment, folder: Path, docname: str) -> bool:
    """Whether the deck in a folder shows what the page shows."""
    try:
        return contract.read_json(folder / MADE_FROM) == made_from(env, docname)
    except ScalebookError:
        return False


def _deck_digest(folder: Path) -> str:
    path = folder / MADE_FROM
    has_pdf = (folder / PDF).is_file()
    return f"{sha256(path.read_bytes())} {has_pdf}" if path.is_file() else ""


def setup(app: Sphinx) -> None:
    """Register nodes and directives."""
    app.add_node(
        speaker_notes,
        html=(visit_notes_html, depart_notes_html),
        latex=(visit_notes_latex, depart_notes_latex),
        text=(_pass, _pass),
    )
    app.add_node(deck_link, html=(visit_link_html, None), latex=(skip, None), text=(skip, None))
    app.add_directive("speaker-notes", SpeakerNotes)
    app.add_directive("deck-link", DeckLink)
    app.connect("doctree-read", _mark_slides)
    pages.DIGESTS["deck"] = lambda app, name: _deck_digest(Path(app.outdir).parent / FOLDER)
