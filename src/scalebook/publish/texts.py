"""``{study-text} NAME``: computed sentences, parsed where they stand."""

from __future__ import annotations

import functools

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from scalebook.contract import ScalebookError
from scalebook.publish import inputs, values
from scalebook.publish.closure import sha256
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


def digest(app: Sphinx, name: str) -> str:
    """Digest of a sentence as it would stand now."""
    try:
        return sha256(text(name))
    except ScalebookError:
        return ""


class StudyText(SphinxDirective):
    """A computed sentence, or several, as paragraphs of the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the sentence here; what it asks for that is not there fails the build."""
        name = self.arguments[0].strip()
        source, line = self.get_source_info()
        try:
            said = text(name)
        except ScalebookError as error:
            inputs.note(self.env, "text", name, "")
            inputs.problem(self.env, f"{inputs.place(self.env, source, line)}: study-text: {error}")
            return []
        inputs.note(self.env, "text", name, sha256(said))
        holder = nodes.Element()
        # The lines of the sentence are not the page's: errors name the line of the directive.
        self.state.nested_parse(StringList(said.splitlines(), source or ""), 0, holder)
        return list(holder.children)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("study-text", StudyText)
    inputs.DIGESTS["text"] = digest
