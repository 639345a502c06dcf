"""``{study-text} NAME``: sentences whose words depend on the data, parsed where they stand.

A study writes them in Python, as ``book/sentences.py`` or a package ``book/sentences/``, with

    SENTENCES: Mapping[str, Callable[[Ledger], str]]

A function takes the numbers of `scalebook.values.ledger.ledger` by key and returns MyST text, which
holds ``{value}`` roles, citations and formulas as typed text does. `scalebook.values.sentences`
has the parts to make it of.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.publish import inputs
from scalebook.publish.closure import sha256
from scalebook.values import ledger
from scalebook.values.sentences import Ledger

#: Where a study has its sentences, relative to its root; the first that is there.
PLACES = ("book/sentences/__init__.py", "book/sentences.py")
_MODULE = "scalebook_study_sentences"


def load(root: Path) -> ModuleType | None:
    """Import the sentences of a study anew; None where it has none.

    Raises
    ------
    ScalebookError
        If they cannot be imported, or have no ``SENTENCES``.
    """
    place = next((place for place in PLACES if (root / place).is_file()), None)
    if place is None:
        return None
    path = root / place
    for name in [name for name in sys.modules if name.partition(".")[0] == _MODULE]:
        del sys.modules[name]
    parts = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(_MODULE, path, submodule_search_locations=parts)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScalebookError(f"{place}: {type(error).__name__}: {error}") from None
    if not isinstance(getattr(module, "SENTENCES", None), Mapping):
        raise ScalebookError(f"{place}: has no SENTENCES, a mapping of names to functions")
    return module


@functools.lru_cache(maxsize=4)
def _sentences(root: Path) -> Mapping[str, Callable[[Ledger], str]]:
    module = load(root)
    if module is None:
        raise ScalebookError(f"no computed sentence is there: write one in {PLACES[1]}")
    return module.SENTENCES


@functools.lru_cache(maxsize=256)
def text(name: str) -> str:
    """The sentence as the data would have it now.

    Raises
    ------
    ScalebookError
        If there is no such sentence, it fails, or its numbers cannot be had.
    """
    known = _sentences(contract.find_root())
    if name not in known:
        raise ScalebookError(f"no text {name!r}; there are {', '.join(sorted(known))}")
    numbers = ledger.ledger()
    try:
        return known[name](numbers)
    except KeyError as error:
        raise ScalebookError(f"text {name!r} asks for the number {error}: there is none") from None
    except Exception as error:
        raise ScalebookError(f"text {name!r} fails: {type(error).__name__}: {error}") from None


def forget() -> None:
    """Read the sentences, and the numbers in them, again."""
    _sentences.cache_clear()
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
