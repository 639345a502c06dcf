"""``{study-text} NAME``: computed sentences, parsed where they stand."""

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


def forget() -> None:
    """Read the sentences, and the numbers in them, again."""
    sentences.functions.cache_clear()
    text.cache_clear()


class StudyText(pages.StudyDirective):
    """A computed sentence, or several, as paragraphs of the page."""

    kind = "text"

    def show(self, name: str) -> list[nodes.Node]:
        """Parse the sentence here; what it asks for that is not there fails the build."""
        sentence = text(name)
        self.note(name, sha256(sentence))
        holder = nodes.Element()
        # The lines of the sentence are not the page's: errors name the line of the directive.
        lines = StringList(sentence.splitlines(), self.get_source_info()[0])
        self.state.nested_parse(lines, 0, holder)
        return list(holder.children)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("study-text", StudyText)
    pages.DIGESTS["text"] = lambda app, name: sha256(text(name))
