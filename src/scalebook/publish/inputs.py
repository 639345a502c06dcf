"""What each page was made from, so that it is read again when that changed.

Sphinx knows the files a page came from. The values, figures, tables and executed
notebooks it shows come from results, so a digest of each is kept in the environment and
compared with the digest now.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

#: How to get the digest now: kind of input to a function of the application and its name.
#: An input that cannot be had any more has the digest "".
DIGESTS: dict[str, Callable[[Sphinx, str], str]] = {}

#: What the environment keeps for each page: digests of its inputs, what is wrong with it, and
#: the numbers it shows.
_STORES = ("scalebook_inputs", "scalebook_problems", "scalebook_uses")


def note(env: BuildEnvironment, kind: str, name: str, digest: str) -> None:
    """Remember that the page being read shows input `name` with this digest."""
    _store(env, "scalebook_inputs").setdefault(env.docname, {})[kind, name] = digest


def problem(env: BuildEnvironment, message: str) -> None:
    """Remember that the page being read cannot be made; the build then writes no page."""
    _store(env, "scalebook_problems").setdefault(env.docname, []).append(message)


def problems(env: BuildEnvironment) -> list[str]:
    """What `problem` was told, page by page."""
    store = _store(env, "scalebook_problems")
    return [message for docname in sorted(store) for message in store[docname]]


def use(env: BuildEnvironment, value: Any, text: str) -> None:
    """Remember that the page being read shows a number, and as what text."""
    shown = _store(env, "scalebook_uses").setdefault(env.docname, {})
    texts = shown.setdefault(value.key, (value, []))[1]
    if text not in texts:
        texts.append(text)


def uses(env: BuildEnvironment) -> dict[str, dict[str, tuple[Any, list[str]]]]:
    """By page and key, each number that is shown, and its texts."""
    return _store(env, "scalebook_uses")


def shown(env: BuildEnvironment, kind: str) -> dict[str, tuple[str, list[str]]]:
    """By name, each input of a kind that pages show: its digest, and the pages."""
    found: dict[str, tuple[str, list[str]]] = {}
    for docname, noted in sorted(_store(env, "scalebook_inputs").items()):
        for (one, name), digest in noted.items():
            if one == kind:
                found.setdefault(name, (digest, []))[1].append(docname)
    return dict(sorted(found.items()))


def place(env: BuildEnvironment, source: str | None, line: int | None) -> str:
    """``page:line`` relative to the study, for messages."""
    page = Path(env.doc2path(env.docname, base=False))
    if source:
        try:
            page = Path(source).resolve().relative_to(Path(env.srcdir).resolve())
        except ValueError:  # the parser named no file
            line = None
    return f"{page.as_posix()}:{line}" if line else page.as_posix()


def _store(env: BuildEnvironment, name: str) -> dict:
    if not hasattr(env, name):
        setattr(env, name, {})
    return getattr(env, name)


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Pages that show something whose digest is no longer what it was."""
    now: dict[tuple[str, str], str] = {}
    found = []
    for docname, shown in _store(env, "scalebook_inputs").items():
        if docname in added | changed | removed:
            continue
        for (kind, name), then in shown.items():
            if (kind, name) not in now:
                now[kind, name] = DIGESTS[kind](app, name)
            if now[kind, name] != then:
                found.append(docname)
                break
    return found


def purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget a page that is read again or gone."""
    for name in _STORES:
        _store(env, name).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader noted."""
    for name in _STORES:
        theirs = _store(other, name)
        _store(env, name).update({doc: theirs[doc] for doc in docnames if doc in theirs})
