"""``{study-provenance} PART``: where every number of the book came from.

===============  ================================================================
part             what it shows
===============  ================================================================
``numbers``      each number that a page shows, with its origin and the pages
``runs``         the runs behind them, with their files
``drawn``        the tables, figures and sentences that pages show, by digest
===============  ================================================================

The role ``{ledger-digest}`names``` (its text is not used) shows the digest of the ledger. What
pages show is known once all of them are read: the directive leaves a placeholder, which is
filled when its page is written, and its page is written in every build.
"""

import re
from collections import Counter
from pathlib import Path

import jinja2
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole
from sphinx.util.osutil import relative_uri

from scalebook.analysis.text import with_unit
from scalebook.contract import ScalebookError
from scalebook.publish import downloads, pages, tables, values
from scalebook.publish.origins import catalogue
from scalebook.publish.origins.catalogue import Entry, Run
from scalebook.publish.runs import links
from scalebook.publish.runs.content import TEMPLATES
from scalebook.values import Value, ledger_digest

PARTS = ("numbers", "runs", "drawn")
#: More files or runs than this are folded away.
FOLD = 2


class study_provenance(nodes.General, nodes.Element):
    """Placeholder of one part. Attribute: ``part``."""


class StudyProvenance(pages.StudyDirective):
    """Leaves a placeholder, and makes its page the one that numbers link to."""

    kind = "provenance"

    def show(self, name: str) -> list[nodes.Node]:
        """Remember the page."""
        if name not in PARTS:
            raise ScalebookError(f"no part {name!r}; there are {', '.join(PARTS)}")
        if name == "numbers":
            pages.current(self.env).lists.add("origins")
        node = study_provenance(part=name)
        self.set_source_info(node)
        return [node]


class LedgerDigest(SphinxRole):
    """Short digest of the ledger."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Show it; a page with it is read again when a number changes."""
        page = pages.current(self.env)
        try:
            text = ledger_digest(short=True)
        except ScalebookError as error:
            page.problems.append(f"{pages.place(self.env, *self.get_source_info())}: {error}")
            text = ""
        page.inputs["ledger", ""] = text
        return [nodes.literal(text, text)], []


# --------------------------------------------------------------------------- filling in


def _fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the parts in place of their placeholders."""
    placeholders = list(doctree.findall(study_provenance))
    if not placeholders:
        return
    entries = catalogue.entries(app.env)
    runs = catalogue.runs(app.env, entries)
    for node in placeholders:
        if app.builder.format == "html":
            markup = _html(app, docname, node["part"], entries, runs)
            node.replace_self(nodes.raw("", markup, format="html"))
        else:
            node.replace_self(_plain(app.env, node["part"], entries, runs))


def _plain(
    env: BuildEnvironment, part: str, entries: list[Entry], runs: list[Run]
) -> nodes.Element:
    """A part as a table for builders that print."""
    head: tuple[str, ...]
    rows: list[list[nodes.Node]]
    if part == "numbers":
        head = ("Shown as", "Key", "Where it comes from")
        rows = [
            [
                nodes.Text("; ".join(entry.texts)),
                nodes.literal(text=entry.value.key),
                nodes.Text(values.provenance(entry.value)),
            ]
            for entry in entries
        ]
    elif part == "runs":
        head = ("Run", "System", "Ranks", "Seed")
        rows = [
            [nodes.literal(text=run.stem), *map(nodes.Text, (run.system, str(run.ranks), run.seed))]
            for run in runs
        ]
    else:
        head = ("Kind", "Name", "Digest")
        rows = [
            [
                nodes.Text(drawn.kind),
                nodes.literal(text=drawn.name),
                nodes.literal(text=drawn.digest),
            ]
            for drawn in catalogue.drawn(env)
        ]
    group = tables.grid(tables.row(list(map(nodes.Text, head))), list(map(tables.row, rows)))
    return nodes.table("", group, classes=["longtable", "sb-ledger"])


# --------------------------------------------------------------------------- HTML


def _html(app: Sphinx, docname: str, part: str, entries: list[Entry], runs: list[Run]) -> str:
    """A part as HTML; files that it links to are copied into the book."""
    here = app.builder.get_target_uri(docname)
    counts: Counter[str] = Counter(entry.value.kind for entry in entries)
    by_stem = {run.stem: run for run in runs}

    def link_to(name: str) -> str:
        if not downloads.may_offer(Path(app.srcdir), name):
            return ""
        downloads.bring(app, name)
        return relative_uri(here, name)

    def runs_behind(value: Value) -> list[Run]:
        return [by_stem[stem] for stem in value.runs if stem in by_stem]

    def other_files(value: Value) -> list[str]:
        of_runs = {name for run in runs_behind(value) for name in run.files}
        return [name for name in value.files if name not in of_runs]

    def page_title(name: str) -> str:
        title = app.env.titles.get(name)
        return title.astext() if title is not None else name

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    # Names may break after dots, slashes and underscores.
    environment.filters["pieces"] = lambda text: re.split(r"(?<=[./_])", text)
    return environment.get_template("provenance.html.j2").render(
        part=part,
        entries=entries,
        counts=", ".join(f"{counts[kind]} {kind}" for kind in values.KINDS if counts[kind]),
        runs=runs,
        runs_behind=runs_behind,
        other_files=other_files,
        drawn=catalogue.drawn(app.env),
        fold=FOLD,
        anchor=values.anchor,
        summary=_summary,
        file_kind=catalogue.file_kind,
        link_to=link_to,
        link_to_run=lambda stem: links.address(app.builder, docname, [stem]),
        page_title=page_title,
        page_address=lambda name: app.builder.get_relative_uri(docname, name),
    )


def _summary(value: Value) -> str:
    """A number with its unit, kind, count and interval."""
    parts = [with_unit(f"{value.value:.6g}", value.unit), value.kind]
    if value.n > 1:
        parts.append(f"n = {value.n}")
    if ends := values.interval(value):
        parts.append(ends)
    return "; ".join(parts)


# --------------------------------------------------------------------------- bookkeeping


def _always(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The page is written anew in every build: any page may show another number."""
    page = pages.page_that_lists(env, "origins")
    return [page] if page else []


def setup(app: Sphinx) -> None:
    """Register placeholder, directive, role and what keeps the page current."""
    app.add_node(study_provenance)
    app.add_directive("study-provenance", StudyProvenance)
    app.add_role("ledger-digest", LedgerDigest())
    app.connect("doctree-resolved", _fill)
    app.connect("env-get-updated", _always)
    pages.DIGESTS["ledger"] = lambda app, name: ledger_digest(short=True)
    pages.DIGESTS["provenance"] = lambda app, name: ""
