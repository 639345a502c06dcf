"""Slides as a deck.

Works with the builder of `sphinx_revealjs`, of which it asks for the template and the notes:
one section is one slide, figures are pictures, numbers are words.
"""

import html
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator
from sphinx_revealjs.writers import RevealjsSlideTranslator

from scalebook import contract
from scalebook.publish import pages, values
from scalebook.publish.slides.page import MADE_FROM, deck_link, made_from, skip, speaker_notes

#: Width and height of a slide, in CSS pixels.
SLIDE = (1280, 720)


def _only_slides(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Drop what stands before the first slide of a deck: the page's title and words about it."""
    if app.builder.name != pages.DECK:
        return
    for top in [child for child in doctree.children if isinstance(child, nodes.section)]:
        for child in list(top.children):
            if not isinstance(child, nodes.section):
                top.remove(child)


def _note_origin(app: Sphinx, error: Exception | None) -> None:
    """Write down what a deck was made from."""
    if error is None and app.builder.name == pages.DECK:
        docname = app.config.root_doc
        contract.write_json(Path(app.outdir) / MADE_FROM, made_from(app.env, docname))


def visit_value_deck(self: HTML5Translator, node: values.study_value) -> None:
    """Write the number alone: a slide has no room for notes, and leads nowhere."""
    self.body.append(html.escape(node.astext()))
    raise nodes.SkipNode


def visit_notes_deck(self: HTML5Translator, node: speaker_notes) -> None:
    """Write the notes for reveal's speaker view."""
    self.body.append('<aside class="notes">\n')


def depart_notes_deck(self: HTML5Translator, node: speaker_notes) -> None:
    """End them."""
    self.body.append("</aside>\n")


class Translator(RevealjsSlideTranslator):  # type: ignore[misc]  # it brings no types
    """A slide for each second-level section, with the time its notes name."""

    section_level: int
    body: list[str]

    def visit_section(self, node: nodes.section) -> None:
        """Begin a slide."""
        self.section_level += 1
        if self.section_level == 2:
            seconds = [note["seconds"] for note in node.findall(speaker_notes)]
            timing = f' data-timing="{sum(seconds)}"' if seconds else ""
            self.body.append(f'<section id="{html.escape(node["ids"][0])}"{timing}>\n')

    def depart_section(self, node: nodes.section) -> None:
        """End it."""
        self.section_level -= 1
        if self.section_level == 1:
            self.body.append("</section>\n")


def _translate_decks(app: Sphinx) -> None:
    """Let one section be one slide, where the builder of decks is used."""
    if app.builder.name == pages.DECK:
        app.set_translator(pages.DECK, Translator, override=True)


def setup(app: Sphinx) -> None:
    """Register what makes a deck of a page."""
    handlers = app.registry.add_translation_handlers
    handlers(speaker_notes, **{pages.DECK: (visit_notes_deck, depart_notes_deck)})
    handlers(deck_link, **{pages.DECK: (skip, None)})
    handlers(values.study_value, **{pages.DECK: (visit_value_deck, None)})
    app.connect("builder-inited", _translate_decks)
    app.connect("doctree-resolved", _only_slides, priority=100)
    app.connect("build-finished", _note_origin)
