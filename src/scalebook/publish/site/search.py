"""The search of the book: its text by section, which a script on the search page goes through.

Sphinx's own search leads to pages only, knows one spelling, and shows what lies in a page's HTML.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder

from scalebook.contract import read_json, write_json
from scalebook.publish import pages, plots
from scalebook.publish.runs import data, links
from scalebook.publish.runs.pages import SCRIPTS as RUN_SCRIPTS
from scalebook.publish.site import numbers

#: Script of the search page, and the one that brings it the text.
SCRIPT, TEXT = "search.js", "sections.js"
#: Scripts that search the runs, whose list is loaded when something is asked for.
RUNS = (RUN_SCRIPTS[0], "search_runs.js")

_PAGE = "search"
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
#: Elements between which the text has a mark, and those between which it has a space.
_MARKED = {"caption", "dd", "dl", "dt", "figcaption", "figure", "li", "ol", "table", "td", "th",
           "tr", "ul"}  # fmt: skip
_SPACED = {"blockquote", "br", "details", "div", "p", "pre", "section", *_HEADINGS}
_VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
#: What a page holds besides its text: fallbacks, notes of numbers, formulas that stand alone.
_LEFT_OUT = {"annotation", "button", "nav", "noscript", "script", "style", "summary", "svg"}
_LEFT_OUT_CLASSES = {"headerlink", "sb-formula", "sb-note", "toctree-wrapper", "visually-hidden"}

_ANCHOR, _TITLE, _WORDS = 0, 1, 2


class _Sections(HTMLParser):
    """Collects the anchor, title and text of each section, and of each numbered figure."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: set[str] = set()
        self.found: list[list[str]] = [["", "", ""]]
        self._here: tuple[list[str], int, bool] = (self.found[0], _WORDS, False)
        self._around: list[tuple[str, tuple[list[str], int, bool]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            section, part, hidden = self._here
            self._around.append((tag, self._here))
            classes = set(known.get("class", "").split())
            if tag in ("section", "figure") and "id" in known:
                section, part = [known["id"], "", ""], _WORDS
                self.found.append(section)
                self.figures |= {known["id"]} if tag == "figure" else set()
            elif not section[_TITLE] and (tag in _HEADINGS or self._numbers(section, classes)):
                part = _TITLE
            left_out = tag in _LEFT_OUT or bool(classes & _LEFT_OUT_CLASSES)
            self._here = (section, part, hidden or left_out)
        self._separate(tag)

    def _numbers(self, section: list[str], classes: set[str]) -> bool:
        return section[_ANCHOR] in self.figures and "caption-number" in classes

    def handle_endtag(self, tag: str) -> None:
        if tag not in (name for name, _ in self._around):
            return
        self._separate(tag)
        name = ""
        while name != tag:
            name, self._here = self._around.pop()

    def handle_data(self, data: str) -> None:
        section, part, hidden = self._here
        if not hidden:
            section[part] += data

    def _separate(self, tag: str) -> None:
        self.handle_data(" · " if tag in _MARKED else " " if tag in _SPACED else "")


def sections(body: str, page: str = "the page") -> list[list[str]]:
    """Anchor, title and text of each section and figure of a page, from its HTML.

    The page itself has no anchor. `page` is what it is called after the number of a figure.
    """
    parser = _Sections()
    parser.feed(body)
    parser.close()
    found = [[anchor, *map(_plain, rest)] for anchor, *rest in parser.found]
    for section in found:
        if section[_ANCHOR] in parser.figures and section[_TITLE]:
            section[_TITLE] += f" of {page}"
    found = [section for section in found if any(section[_TITLE:])]
    for section in found[:1]:
        section[_ANCHOR] = ""
    return found


def _plain(text: str) -> str:
    return re.sub(r"·(?: ·)+", "·", " ".join(text.split())).strip(" ·")


def _record(app: Sphinx, docname: str) -> Path:
    """File that keeps the sections of a page until it is written again."""
    return Path(app.doctreedir) / "scalebook-search" / f"{docname}.json"


def _note(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    if app.builder.name not in links.BUILDERS:
        return
    if pagename == _PAGE:
        app.add_js_file(TEXT, priority=510, loading_method="defer")
        for priority, script in enumerate((SCRIPT, *RUNS), 520):
            app.add_js_file(script, priority=priority, loading_method="defer")
    elif doctree is not None:
        found = sections(context["body"], numbers.page_name(app.env, pagename))
        write_json(_record(app, pagename), {"sections": found})


def _write(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Write the text of all pages in their order, and have the search page made."""
    if app.builder.name not in links.BUILDERS:
        return
    found = [
        [app.builder.get_target_uri(docname), read_json(_record(app, docname))["sections"]]
        for docname in pages.in_order(app.env)
        if docname in app.env.found_docs and _record(app, docname).is_file()
    ]
    script = f"scalebook.sections = {plots.script_json(found)};\n"
    if explorer := links.explorer(app.env):
        uri = app.builder.get_target_uri
        runs = {"index": data.INDEX, "page": uri(links.PAGE), "explorer": uri(explorer)}
        script += f"scalebook.runs = {plots.script_json(runs)};\n"
    place = Path(app.outdir) / "_static" / TEXT
    place.write_text(script, encoding="utf-8")
    yield _PAGE, {}, "search.html"


def _replace(app: Sphinx) -> None:
    """Keep Sphinx from making its own index and page."""
    if isinstance(app.builder, StandaloneHTMLBuilder) and app.builder.name in links.BUILDERS:
        app.builder.search = False


def setup(app: Sphinx) -> None:
    """Register what notes the text of each page, and writes it."""
    app.connect("builder-inited", _replace)
    app.connect("html-page-context", _note)
    app.connect("html-collect-pages", _write)
