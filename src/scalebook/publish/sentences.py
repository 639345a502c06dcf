"""``{study-text} NAME``: computed sentences, parsed where they stand.

``{study-title} NAME`` makes one of them the title of its section. Addresses and links keep the
words that were typed as the title, and do not change with the numbers. A section of sentences that
have nothing to say, whose text is empty, is left out with its title.
"""

import functools

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from scalebook.publish import pages, values
from scalebook.publish.notebooks.dependencies import sha256
from scalebook.values import sentences


@functools.lru_cache(maxsize=256)
def text(name: str) -> str:
    """The sentence as the data would have it now.

    Raises
    ------
    ScalebookError
        If there is no such sentence, it fails, or its numbers cannot be had.
    """
    return sentences.make(name, values.numbers()).text


class StudyText(pages.StudyDirective):
    """A computed sentence, or several, as paragraphs of the page."""

    kind = "text"

    def show(self, name: str) -> list[nodes.Node]:
        """Parse the sentence here; what it asks for that is not there fails the build."""
        sentence = text(name)
        self.note(name, sha256(sentence))
        if not sentence:
            return [nothing_said()]
        holder = nodes.Element()
        # The lines of the sentence are not the page's: errors name the line of the directive.
        lines = StringList(sentence.splitlines(), self.get_source_info()[0])
        self.state.nested_parse(lines, 0, holder)
        return list(holder.children)


class nothing_said(nodes.Invisible, nodes.Element):
    """Place of a sentence that has nothing to say."""


class section_title(nodes.Invisible, nodes.Element):
    """Place of a computed title. Attribute: ``text``."""


class StudyTitle(StudyText):
    """A computed sentence as the title of the section that it stands in."""

    def show(self, name: str) -> list[nodes.Node]:
        """Leave its words: a title is repeated in menus, where no number has a note."""
        words = " ".join(node.astext() for node in super().show(name))
        return [section_title(text=words)]


def _entitle(app: Sphinx, doctree: nodes.document) -> None:
    """Put computed titles in place of the typed ones."""
    for node in list(doctree.findall(section_title)):
        section = node.parent
        title = section.next_node(nodes.title)
        if isinstance(section, nodes.section) and title is not None:
            title.children = []
            title.append(nodes.Text(node["text"]))
        section.remove(node)


def _leave_out(app: Sphinx, doctree: nodes.document) -> None:
    """Take out sentences that have nothing to say, and sections that hold nothing else."""
    for node in list(doctree.findall(nothing_said)):
        section = node.parent
        section.remove(node)
        if isinstance(section, nodes.section) and all(
            isinstance(child, nodes.title) for child in section.children
        ):
            section.parent.remove(section)


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("study-text", StudyText)
    app.add_directive("study-title", StudyTitle)
    app.add_node(section_title)
    app.add_node(nothing_said)
    # Before tables of contents are collected from the titles.
    app.connect("doctree-read", _entitle, priority=100)
    app.connect("doctree-read", _leave_out, priority=100)
    pages.DIGESTS["text"] = lambda app, name: sha256(text(name))
