"""What each page shows and was made from, what is wrong with it, and what the build says.

Sphinx knows the files a page came from. The values, figures, tables and executed
notebooks it shows come from results, so a digest of each is kept in the environment and
compared with the digest now.
"""

import functools
import os
import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NoReturn

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from scalebook.contract import LEADS_OUT, ScalebookError, leads_out, read_json, write_json
from scalebook.results import answer, one_snapshot
from scalebook.results import digest as digest_of
from scalebook.values import Value

logger = logging.getLogger(__name__)

#: Marks the lines of this extension in the output of a build.
PREFIX = "scalebook: "

#: Name of Sphinx's builder of decks of slides.
DECK = "revealjs"

#: How to get a digest now: kind of input to a function of the application and its name.
DIGESTS: dict[str, Callable[[Sphinx, str], str]] = {}


@dataclass
class Page:
    """What is kept of a page between builds.

    Attributes
    ----------
    inputs : dict
        Digest of each thing it shows, by kind and name; empty where that cannot be had.
    problems : list of str
        Why it cannot be made; a build with problems writes no page.
    numbers : dict
        Each number it shows by key, with the texts it is shown as.
    lists : set of str
        ``"origins"`` where numbers of all pages link to it, ``"runs"`` where it holds the explorer
        over all runs.
    """

    inputs: dict[tuple[str, str], str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    numbers: dict[str, tuple[Value, list[str]]] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)

    def show_number(self, value: Value, text: str) -> None:
        """Remember that the page shows a number, and as what text."""
        texts = self.numbers.setdefault(value.key, (value, []))[1]
        if text not in texts:
            texts.append(text)


def all_pages(env: BuildEnvironment) -> dict[str, Page]:
    """Every page that was read, by its name."""
    # Sphinx keeps what it is given.
    pages: dict[str, Page] = vars(env).setdefault("scalebook_pages", {})
    return pages


def in_order(env: BuildEnvironment) -> list[str]:
    """Pages of the book as ``_toc.yml`` has them."""
    return list(getattr(env.config, "external_site_map", None) or sorted(env.found_docs))


def current(env: BuildEnvironment) -> Page:
    """The page being read."""
    return all_pages(env).setdefault(env.docname, Page())


def page_that_lists(env: BuildEnvironment, what: str) -> str | None:
    """Name of the page that lists the ``origins`` of numbers, or all ``runs``, if there is one."""
    found = (name for name, page in all_pages(env).items() if what in page.lists)
    return next((name for name in found if name in env.found_docs), None)


def place(env: BuildEnvironment, source: str | None, line: int | None) -> str:
    """``page:line`` relative to the study, for messages."""
    page = Path(env.doc2path(env.docname, base=False))
    if source:
        try:
            page = Path(source).resolve().relative_to(Path(env.srcdir).resolve())
        except ValueError:  # the parser named no file
            line = None
    return f"{page.as_posix()}:{line}" if line else page.as_posix()


class StudyDirective(SphinxDirective):
    """A directive that shows something of the study, by the name that is its argument.

    What cannot be shown is a problem of the page, named by file and line.
    """

    #: As in `DIGESTS`.
    kind: ClassVar[str]
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Show it as the study has it now."""
        name = self.arguments[0].strip()
        source, line = self.get_source_info()
        try:
            return self.show(name)
        except ScalebookError as error:
            page = current(self.env)
            page.inputs[self.kind, name] = ""
            page.problems.append(f"{place(self.env, source, line)}: {self.name}: {error}")
            return []

    @abstractmethod
    def show(self, name: str) -> list[nodes.Node]:
        """Nodes of what is called `name`."""

    def note(self, name: str, digest: str) -> None:
        """Remember the digest of what is shown."""
        current(self.env).inputs[self.kind, name] = digest

    def caption(self) -> list[nodes.Node]:
        """Content of the directive as one line: its first paragraph, with computed sentences."""
        holder = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, holder)
        for paragraph in holder.findall(nodes.paragraph):
            return list(paragraph.children)
        return []


def numbered(translator: object, kind: str) -> int:
    """How many of a kind the page being written has by now, this one included."""
    counts: Counter[str] = vars(translator).setdefault("scalebook_counts", Counter())
    counts[kind] += 1
    return counts[kind]


# --------------------------------------------------------------------------- messages


def say(line: str) -> None:
    """Write a line that the quiet commands show too."""
    logger.info("%s", f"{PREFIX}{line}")


def end(messages: list[str]) -> NoReturn:
    """End the build with status 1 and a line a problem."""
    with logging.skip_warningiserror():
        for message in messages:
            logger.error("%s", f"{PREFIX}{message}")
    raise SystemExit(1)


# --------------------------------------------------------------------------- from build to build


def _outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Pages that show something whose digest is no longer what it was, here or in this builder.

    Builders share what was read: a page that the PDFs were made of anew is still to be written as
    HTML, which Sphinx sees by the date of its source alone.
    """
    written = _written(app)
    now: dict[tuple[str, str], str] = {}

    def is_new(kind: str, name: str, then: str) -> bool:
        if (kind, name) not in now:
            try:
                make = functools.partial(DIGESTS[kind], app, name)
                of_the_study = kind in ("value", "table", "text", "ledger")
                now[kind, name] = answer(f"{kind} {name}", make) if of_the_study else make()
            except ScalebookError:
                now[kind, name] = ""
        return now[kind, name] != then

    with one_snapshot():
        return [
            docname
            for docname, page in all_pages(env).items()
            if docname not in added | changed | removed
            and (
                written.get(docname) != _shown_digest(page)
                or any(is_new(kind, name, then) for (kind, name), then in page.inputs.items())
            )
        ]


def _written(app: Sphinx) -> dict[str, str]:
    """Digest of what each page showed when this builder wrote it last."""
    try:
        return read_json(_record(app))
    except ScalebookError:
        return {}


def _record(app: Sphinx) -> Path:
    return Path(app.doctreedir) / f"scalebook-{app.builder.name}.json"


def _shown_digest(page: Page) -> str:
    return digest_of(
        sorted(f"{kind} {name} {digest}" for (kind, name), digest in page.inputs.items())
    )


def _note_written(app: Sphinx, exception: Exception | None) -> None:
    """Keep what each page shows, once all are written."""
    if exception is None:
        shown = {name: _shown_digest(page) for name, page in all_pages(app.env).items()}
        write_json(_record(app), shown)


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget a page that is read again or gone."""
    all_pages(env).pop(docname, None)


def _merge(
    app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment
) -> None:
    """Take over what a parallel reader noted."""
    theirs = all_pages(other)
    all_pages(env).update({name: theirs[name] for name in docnames if name in theirs})


def _stop_on_problems(app: Sphinx, env: BuildEnvironment) -> None:
    """End the build before a page is written if one of them could not be made."""
    problems = [text for _, page in sorted(all_pages(env).items()) for text in page.problems]
    if problems := problems + _led_out(app, env):
        # The pages read just now are incomplete: the next build reads all anew.
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)
        end(problems)


def _led_out(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Pages, what they include and show, and files beside them that lie outside, by a link."""
    root = Path(app.srcdir)
    names = {
        *(os.path.normpath(name) for names in env.dependencies.values() for name in names),
        *(str(env.doc2path(docname, base=False)) for docname in env.found_docs),
        *filter(None, (app.config.html_logo, app.config.html_favicon)),
    }
    for folder in (*app.config.html_static_path, *app.config.html_extra_path):
        for place, folders, files in os.walk(root / folder):
            names |= {str(Path(place, name)) for name in (*folders, *files)}
    paths = {root / name for name in names if not name.startswith("..")}
    found = sorted(
        path.relative_to(root).as_posix()
        for path in paths
        if path.is_relative_to(root)
        and not path.is_relative_to(sys.prefix)
        and leads_out(root, path)
    )
    return [f"{name}: {LEADS_OUT}" for name in found]


def setup(app: Sphinx) -> None:
    """Register what keeps the pages current."""
    app.connect("env-get-outdated", _outdated)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("env-updated", _stop_on_problems)
    app.connect("build-finished", _note_written)
