r"""Numbers in prose: ``{value}`key``` shows a number of the study and where it came from.

Tables show numbers as `Shown` cells (`scalebook.publish.tables`), mathematics as
``\val{key}`` (`scalebook.publish.maths`); all of them look up, format and note here.
"""

import functools
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole
from sphinx.writers.html5 import HTML5Translator

from scalebook import results
from scalebook.analysis.text import number as number_text
from scalebook.contract import ScalebookError
from scalebook.publish import pages
from scalebook.publish.runs import links
from scalebook.study import citation
from scalebook.values import Value, ledger, lookup

#: The part of Python's format language that prose needs.
_FORMAT = re.compile(r"[+]?,?(\.\d{1,2})?[efgd%]?")
#: Kinds of numbers; each has its own underline.
KINDS = ("measured", "reported", "modelled", "cited")


class study_value(nodes.inline):
    """A number in prose. Attributes: ``key``, ``kind``, ``note``, ``runs``.

    Other builders show its text.
    """


@dataclass(frozen=True)
class Shown:
    """A number as a cell of a table shows it.

    Attributes
    ----------
    value : Value
        Of the ledger, or made like one.
    spec, unit : str, bool
        As in ``{value}`key|spec|unit```.
    interval : bool
        Show the interval behind it, where it has one.
    """

    value: Value
    spec: str = ""
    unit: bool = False
    interval: bool = False

    @property
    def text(self) -> str:
        """What the cell shows."""
        text = shown(self.value, self.spec, with_unit=self.unit)
        if not self.interval or self.value.low is None or self.value.high is None:
            return text
        if self.value.low == self.value.high:  # one run has no interval
            return text
        low, high = (formatted(end, self.spec) for end in (self.value.low, self.value.high))
        return f"{text} ({low}–{high})"


@dataclass(frozen=True)
class ShownRun:
    """A run as a cell of a table shows it: its key, see `runs.links.key`, and what is written."""

    key: str
    text: str


#: A cell that has nothing to show.
NOTHING = "–"


def cell(
    key: str, spec: str, otherwise: str = NOTHING, unit: bool = False, interval: bool = False
) -> Shown | str:
    """A number of the ledger as a cell of a table, or `otherwise` where there is none."""
    value = numbers().get(key)
    return otherwise if value is None else Shown(value, spec, unit, interval)


class ValueRole(SphinxRole):
    """``{value}`key``` or ``{value}`key|format``` or ``{value}`key|format|unit```."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Look the number up; what cannot be shown fails the build."""
        source, line = self.get_source_info()
        found = find(self.env, self.text, source, line)
        if found is None:
            return [nodes.inline(text=f"[{self.text.partition('|')[0].strip()}]")], []
        node = value_node(self.env, *found)
        self.set_source_info(node)
        return [node], []


class AuthorsRole(SphinxRole):
    """``{authors}`all```: who wrote the documents, with their institutions."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Take them from the one file that names them."""
        self.env.note_dependency(citation.FILE)
        return [nodes.inline(text=citation.line(citation.authors(Path(self.env.srcdir))))], []


def find(
    env: BuildEnvironment, text: str, source: str | None, line: int | None
) -> tuple[Value, str] | None:
    r"""The number that a role or ``\val`` asks for, and the text it is shown as.

    None where it cannot be shown, which is then a problem of the page.
    """
    key, _, rest = text.replace(r"\|", "|").partition("|")
    spec, _, option = (part.strip() for part in rest.partition("|"))
    key = key.strip()
    page = pages.current(env)
    try:
        if option not in ("", "unit"):
            raise ScalebookError(f"{option!r} after the format; only `unit` may stand there")
        value = _lookup(key)
        written = shown(value, spec, with_unit=option == "unit")
    except ScalebookError as error:
        page.inputs["value", key] = ""
        page.problems.append(f"{pages.place(env, source, line)}: value {key!r}: {error}")
        return None
    page.inputs["value", key] = results.digest(value)
    return value, written


def value_node(env: BuildEnvironment, value: Value, text: str) -> study_value:
    """Node of a number shown as `text`, remembered for the page of origins."""
    pages.current(env).show_number(value, text)
    about = {"key": value.key, "kind": value.kind, "note": provenance(value)}
    return study_value(text, text, **about, runs=links.behind(value))


def shown(value: Value, spec: str = "", with_unit: bool = False) -> str:
    """Text of a number as prose shows it, with its unit after a space that does not break."""
    text = formatted(value.value, spec)
    return f"{text}\u00a0{value.unit}" if with_unit and value.unit else text


def formatted(number: float, spec: str = "") -> str:
    """A number as prose shows it.

    Parameters
    ----------
    number : float
        The number.
    spec : str
        Of Python's format language: sign, comma, precision and type. Left out, as figures write
        it, see `analysis.text.number`.

    Raises
    ------
    ScalebookError
        If the format is not allowed.
    """
    if not _FORMAT.fullmatch(spec):
        raise ScalebookError(f"format {spec!r}; write for example ,.0f or .1f or .0%")
    if spec:
        written = format(int(number) if spec.endswith("d") else float(number), spec)
    else:
        written = number_text(number)
    return written.replace("-", "\u2212") if written.startswith("-") else written


def provenance(value: Value) -> str:
    """Where a number came from, in one line: kind, source, sample size and interval."""
    source = value.source
    origin = source if source.startswith(value.kind) else f"{value.kind}: {source}".rstrip(": ")
    parts = [origin[:1].upper() + origin[1:]]
    if value.kind == "measured" and "n = " not in origin:
        parts.append(f"n = {value.n}")
    if ends := interval(value):
        parts.append(ends)
    return "; ".join(parts)


def interval(value: Value) -> str:
    """Interval of a number with its unit, ``480 to 490 images/s``; empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    low, high = (number_text(end, digits=4) for end in (value.low, value.high))
    return f"{low} to {high} {value.unit}".strip()


def anchor(key: str, prefix: str = "num") -> str:
    """Name of a number's entry on the page of origins; a selector of CSS, so without dots."""
    return f"{prefix}-{re.sub(r'[^A-Za-z0-9_-]', '-', key.replace('.', '--'))}"


@functools.lru_cache(maxsize=1)
def numbers() -> Mapping[str, Value]:
    """All numbers of the study, read once a build."""
    return ledger()


def _lookup(key: str) -> Value:
    known = numbers()
    return known[key] if key in known else lookup(key)  # which says what is wrong


# --------------------------------------------------------------------------- HTML


def note_html(
    self: HTML5Translator, key: str, note: str, runs: list[str]
) -> tuple[str, str, str | None]:
    """Name and HTML of the note of a number, and the address of its entry where there is one.

    The note links to its entry and to the runs behind the number; the keyboard comes to these links
    once the note is pinned open.
    """
    name = f"sb-note-{pages.numbered(self, 'note')}"
    link = _entry_link(self, key)
    to_runs = links.address(self.builder, self.builder.current_docname, runs)
    more = "".join(
        f'<a class="sb-more" href="{html.escape(to)}" tabindex="-1">{words}</a>'
        for to, words in ((link, "where it comes from"), (to_runs, links.words(runs)))
        if to
    )
    markup = (
        f'<span class="sb-note" role="note" popover id="{name}">{html.escape(note)}'
        f'<span class="sb-key-name">{html.escape(key)}</span>{more}</span>'
    )
    return name, markup, link


def reachable(markup: str, css: str, note: str, link: str | None) -> str:
    """HTML of a number that the keyboard reaches: a link to its entry, where there is one."""
    about = f'class="{css}" aria-describedby="{note}"'
    if link:
        return f'<a {about} href="{html.escape(link)}">{markup}</a>'
    return f'<span {about} tabindex="0">{markup}</span>'


def _entry_link(self: HTML5Translator, key: str) -> str | None:
    """Address of a number's entry, from the page being written; None without such a page."""
    page = pages.page_that_lists(self.builder.env, "origins")
    if page is None:
        return None
    address = self.builder.get_relative_uri(self.builder.current_docname, page)
    # A book on one page has names within it for pages.
    return f"#{anchor(key)}" if "#" in address else f"{address}#{anchor(key)}"


def visit_html(self: HTML5Translator, node: study_value) -> None:
    """Write the number with a note that hover, focus and touch show, and a link to its entry."""
    text = html.escape(node.astext())
    # An interval may go below its number, but stays in one piece.
    text = re.sub(r"(?<=\s)\([^()]*\)$", r'<span class="sb-interval">\g<0></span>', text)
    if _inside_a_link(node):  # such as a heading in the navigation
        self.body.append(text)
        raise nodes.SkipNode
    name, note, link = note_html(self, node["key"], node["note"], node["runs"])
    number = reachable(text, "sb-number", name, link)
    self.body.append(f'<span class="sb-value sb-{node["kind"]}">{number}{note}</span>')
    raise nodes.SkipNode


def _inside_a_link(node: nodes.Node) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.reference):
            return True
    return False


def setup(app: Sphinx) -> None:
    """Register node and role."""
    app.add_node(study_value, html=(visit_html, None))
    app.add_role("value", ValueRole())
    app.add_role("authors", AuthorsRole())
    pages.DIGESTS["value"] = lambda app, key: results.digest(_lookup(key))
