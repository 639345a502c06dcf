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

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from scalebook.contract import EVIDENCE, RunFiles, ScalebookError, Stem
from scalebook.publish import digests, downloads, inputs, provenance_html, values

if TYPE_CHECKING:
    from scalebook.values.value import Value

PARTS = ("numbers", "runs", "drawn")

#: Kinds of inputs that ``drawn`` lists, in the words of the page.
DRAWN = {"figure": "figure", "table": "table", "text": "sentence"}


class study_provenance(nodes.General, nodes.Element):
    """Placeholder of one part. Attribute: ``part``."""


@dataclass
class Entry:
    """One number of the book, the texts it is shown as, and the pages that show it."""

    value: Value
    texts: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One run behind the numbers, and its files relative to the study's root."""

    stem: str
    about: dict[str, str]
    files: tuple[str, ...]


# --------------------------------------------------------------------------- what pages show


def entries(env: BuildEnvironment) -> list[Entry]:
    """Every number that a page shows, by kind and key."""
    found: dict[str, Entry] = {}
    for docname, shown in inputs.uses(env).items():
        for key, (value, texts) in shown.items():
            entry = found.setdefault(key, Entry(value))
            entry.texts += [text for text in texts if text not in entry.texts]
            entry.pages.append(docname)
    order = _order(env)
    for entry in found.values():
        entry.pages.sort(key=lambda name: order.get(name, len(order)))
    rank = {kind: number for number, kind in enumerate(values.KINDS)}
    return sorted(
        found.values(), key=lambda entry: (rank.get(entry.value.kind, len(rank)), entry.value.key)
    )


def _order(env: BuildEnvironment) -> dict[str, int]:
    """Pages in the order of the book."""
    site_map = getattr(env.config, "external_site_map", None)
    return {name: number for number, name in enumerate(site_map or sorted(env.found_docs))}


def runs(env: BuildEnvironment, shown: Iterable[Entry]) -> list[Run]:
    """The runs behind measured numbers; reported jobs, which left no files, are not among them."""
    from scalebook import results

    root = Path(env.srcdir)
    stems = dict.fromkeys(stem for entry in shown for stem in entry.value.runs)
    catalogue = {run["stem"]: run for run in results.runs().to_dict("records")}
    found = []
    for stem in stems:
        files = tuple(_files(root, stem))
        if files:
            found.append(Run(stem, _about(stem, catalogue.get(stem)), files))
    return sorted(found, key=lambda run: (run.about["system"], run.stem))


def _files(root: Path, stem: str) -> Iterator[str]:
    """Files of a run that are there, relative to the study's root."""
    try:
        ranks = Stem.parse(stem).world_size
    except ScalebookError:
        return
    run = RunFiles(root / EVIDENCE, stem)
    paths = [run.csv, run.steps, run.manifest, run.log, run.sacct,
             run.allreduce, run.allreduce.with_suffix(".json"),
             *(run.trace(rank) for rank in range(ranks))]  # fmt: skip
    for path in paths:
        name = path.relative_to(root).as_posix()
        if downloads.may_offer(root, name):
            yield name


def _about(stem: str, row: dict[str, Any] | None) -> dict[str, str]:
    parsed = Stem.parse(stem)
    said = {
        "experiment": parsed.experiment,
        "system": "",
        "ranks": str(parsed.world_size),
        "seed": "",
        "started": "",
    }
    if row is not None:
        said |= {name: _text(row[name]) for name in ("experiment", "system", "seed", "started")}
    return said


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def drawn(env: BuildEnvironment) -> list[tuple[str, str, str, list[str]]]:
    """Kind, name, digest and pages of every figure, table and sentence."""
    return [
        (word, name, digest[: digests.SHORT], pages)
        for kind, word in DRAWN.items()
        for name, (digest, pages) in inputs.shown(env, kind).items()
    ]


# --------------------------------------------------------------------------- directive and role


class StudyProvenance(SphinxDirective):
    """Leaves a placeholder, and makes its page the one that numbers link to."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Remember the page."""
        part = self.arguments[0].strip()
        source, line = self.get_source_info()
        if part not in PARTS:
            inputs.problem(
                self.env,
                f"{inputs.place(self.env, source, line)}: study-provenance: no part {part!r}; "
                f"there are {', '.join(PARTS)}",
            )
            return []
        if part == "numbers":
            self.env.scalebook_provenance = self.env.docname
        node = study_provenance(part=part)
        self.set_source_info(node)
        return [node]


class LedgerDigest(SphinxRole):
    """Short digest of the ledger."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Show it; a page with it is read again when a number changes."""
        try:
            text = digests.ledger_digest(short=True)
        except ScalebookError as error:
            source, line = self.get_source_info()
            inputs.problem(self.env, f"{inputs.place(self.env, source, line)}: {error}")
            text = ""
        inputs.note(self.env, "ledger", "", text)
        return [nodes.literal(text, text)], []


def _digest(app: Sphinx, name: str) -> str:
    try:
        return digests.ledger_digest(short=True)
    except ScalebookError:
        return ""


# --------------------------------------------------------------------------- filling in


def _fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the parts in place of their placeholders."""
    placeholders = list(doctree.findall(study_provenance))
    if not placeholders:
        return
    shown = entries(app.env)
    behind = runs(app.env, shown)
    for node in placeholders:
        if app.builder.format == "html":
            page = provenance_html.Page(app, docname, shown, behind, drawn(app.env))
            node.replace_self(nodes.raw("", getattr(page, node["part"])(), format="html"))
        else:
            node.replace_self(_plain(app.env, node["part"], shown, behind))


def _plain(
    env: BuildEnvironment, part: str, shown: list[Entry], behind: list[Run]
) -> nodes.Element:
    """A part as a table for builders that print."""
    if part == "numbers":
        rows = [
            [nodes.Text("; ".join(entry.texts)), nodes.literal(text=entry.value.key),
             nodes.Text(values.provenance(entry.value))]
            for entry in shown
        ]  # fmt: skip
        return _table(("Shown as", "Key", "Where it comes from"), rows)
    if part == "runs":
        rows = [
            [nodes.literal(text=run.stem), nodes.Text(run.about["system"]),
             nodes.Text(run.about["ranks"]), nodes.Text(run.about["seed"])]
            for run in behind
        ]  # fmt: skip
        return _table(("Run", "System", "Ranks", "Seed"), rows)
    rows = [
        [nodes.Text(kind), nodes.literal(text=name), nodes.literal(text=digest)]
        for kind, name, digest, _ in drawn(env)
    ]
    return _table(("Kind", "Name", "Digest"), rows)


def _table(headings: tuple[str, ...], rows: list[list[nodes.Node]]) -> nodes.table:
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=1) for _ in headings]
    group += nodes.thead("", _row([nodes.Text(heading) for heading in headings]))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group, classes=["longtable", "sb-ledger"])


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells])


# --------------------------------------------------------------------------- bookkeeping


def _always(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The page is written anew in every build: any page may show another number."""
    page = getattr(env, "scalebook_provenance", None)
    return [page] if page in env.found_docs else []


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    if getattr(env, "scalebook_provenance", None) == docname:
        env.scalebook_provenance = None


def _merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: Any) -> None:
    page = getattr(other, "scalebook_provenance", None)
    if page in docnames:
        env.scalebook_provenance = page


def setup(app: Sphinx) -> None:
    """Register placeholder, directive, role and what keeps the page current."""
    app.add_node(study_provenance)
    app.add_directive("study-provenance", StudyProvenance)
    app.add_role("ledger-digest", LedgerDigest())
    app.connect("doctree-resolved", _fill)
    app.connect("env-get-updated", _always)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    inputs.DIGESTS["ledger"] = _digest
