"""The page of origins in HTML: rows to search, links to files, runs and pages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.application import Sphinx

from scalebook.publish import downloads, values

if TYPE_CHECKING:
    from scalebook.publish.provenance import Entry, Run
    from scalebook.values.value import Value

#: More files or runs than this are folded away.
FOLD = 2


class Page:
    """What the page shows, and how it links from where it stands.

    Parameters
    ----------
    app : Sphinx
        The build; files that are linked to are copied into it.
    docname : str
        The page.
    shown, behind, drawn : list
        As `scalebook.publish.provenance` collects them.
    """

    def __init__(
        self, app: Sphinx, docname: str, shown: list[Entry], behind: list[Run], drawn: list[tuple]
    ) -> None:
        self.app, self.docname = app, docname
        self.shown, self.behind, self.rows = shown, behind, drawn
        self.known = {run.stem: run for run in behind}
        self.here = app.builder.get_target_uri(docname)

    # ----------------------------------------------------------------------- parts

    def numbers(self) -> str:
        """Every number, with what tells where it came from."""
        counts = {kind: 0 for kind in values.KINDS}
        for entry in self.shown:
            counts[entry.value.kind] = counts.get(entry.value.kind, 0) + 1
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        rows = "\n".join(self._number(entry) for entry in self.shown)
        return (
            f'<p class="sb-counts">{len(self.shown)} numbers: {_escape(said) or "none"}.</p>\n'
            + _scrolling(
                "sb-ledger", ("Number", "Origin", "Read from", "Shown on"), rows,
                "Numbers of the documents and where they come from",
            )
        )  # fmt: skip

    def _number(self, entry: Entry) -> str:
        value = entry.value
        kind = value.kind if value.kind in values.KINDS else "other"
        said = [f"{value.value:.6g} {value.unit}".strip(), kind]
        if value.n > 1:
            said.append(f"n = {value.n}")
        if ends := values.interval(value):
            said.append(ends)
        name = _escape(values.anchor(value.key))
        cells = (
            f'<th scope="row" data-label="Number"><span class="sb-number sb-{kind}">'
            f"{_escape('; '.join(entry.texts))}</span><br>"
            f'<a class="sb-key-name" href="#{name}">{_breakable(value.key)}</a></th>',
            f'<td data-label="Origin"><strong>{_escape("; ".join(said))}</strong><br>'
            f"{_escape(_sentence(value.source))}{self._code(value)}</td>",
            f'<td data-label="Read from">{self._read_from(value)}</td>',
            f'<td data-label="Shown on">{self._pages(entry.pages)}</td>',
        )
        return f'<tr id="{name}" data-kind="{kind}">{"".join(cells)}</tr>'

    def runs(self) -> str:
        """The runs behind the numbers, with links to their files."""
        rows = []
        for run in self.behind:
            files = " · ".join(self._file(name, _kind_of(name)) for name in run.files)
            about = run.about
            seed = f", seed {_escape(about['seed'])}" if about["seed"] else ""
            ranks = f"{about['ranks']} rank{'' if about['ranks'] == '1' else 's'}"
            rows.append(
                f'<tr id="{values.anchor(run.stem, "run")}">'
                f'<th scope="row" data-label="Run"><code>{_breakable(run.stem)}</code></th>'
                f'<td data-label="What">{_escape(about["experiment"])}'
                f"{' on ' + _escape(about['system']) if about['system'] else ''}, "
                f"{_escape(ranks)}{seed}</td>"
                f'<td data-label="Files">{files}</td></tr>'
            )
        return _scrolling(
            "sb-run-files", ("Run", "What", "Files"), "\n".join(rows),
            "Runs behind the numbers and their files",
        )  # fmt: skip

    def drawn(self) -> str:
        """Figures, tables and sentences by digest."""
        rows = "\n".join(
            f'<tr><td data-label="Kind">{_escape(kind)}</td>'
            f'<th scope="row" data-label="Name"><code>{_escape(name)}</code></th>'
            f'<td data-label="Digest"><code>{_escape(digest)}</code></td>'
            f'<td data-label="Shown on">{self._pages(pages)}</td></tr>'
            for kind, name, digest, pages in self.rows
        )
        return _scrolling(
            "sb-drawn", ("Kind", "Name", "Digest", "Shown on"), rows,
            "Figures, tables and sentences by digest",
        )  # fmt: skip

    # ----------------------------------------------------------------------- links

    def _read_from(self, value: Value) -> str:
        stems = [stem for stem in value.runs if stem in self.known]
        lines = []
        if value.where:
            lines.append(_escape(value.where))
        # The files of a run stand beside it; only others are named here.
        of_runs = {name for stem in stems for name in self.known[stem].files}
        others = [name for name in value.files if name not in of_runs]
        if others:
            lines.append(_folded([self._file(name) for name in others], "files"))
        if stems:
            links = [f'<a href="#{values.anchor(stem, "run")}">{_run_name(self.known[stem])}</a>'
                     for stem in stems]  # fmt: skip
            lines.append(_folded(links, "runs"))
        return "<br>".join(lines)

    def _code(self, value: Value) -> str:
        return f"<br>by <code>{_breakable(value.code)}</code>" if value.code else ""

    def _file(self, name: str, text: str = "") -> str:
        said = _escape(text) if text else f"<code>{_breakable(name)}</code>"
        if not downloads.may_offer(Path(self.app.srcdir), name):
            return said
        downloads.bring(self.app, name)
        return f'<a href="{_escape(values.relative(self.here, name))}">{said}</a>'

    def _pages(self, pages: Iterable[str]) -> str:
        return ", ".join(
            f'<a href="{_escape(self.app.builder.get_relative_uri(self.docname, name))}" '
            f'title="{_escape(self._title(name))}">{_escape(name.rpartition("/")[2])}</a>'
            for name in pages
        )

    def _title(self, docname: str) -> str:
        title = self.app.env.titles.get(docname)
        return title.astext() if title is not None else docname


def _run_name(run: Run) -> str:
    seed = f", seed {run.about['seed']}" if run.about["seed"] else f", {run.stem.split('_')[-1]}"
    return _escape(f"{run.about['experiment']}{seed}")


def _kind_of(name: str) -> str:
    """What a file of a run is, in a word."""
    folder = name.split("/")[1]
    words = {"csv": "epochs", "steps": "steps", "manifests": "manifest", "profiling": "trace"}
    if name.endswith(".sacct.csv"):
        return "accounting"
    if folder == "allreduce":
        return "curve" if name.endswith(".csv") else "manifest"
    return words.get(folder, "log")


def _folded(items: list[str], what: str) -> str:
    if len(items) <= FOLD:
        return ", ".join(items)
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f"<details><summary>{len(items)} {what}</summary><ul>{listed}</ul></details>"


def _scrolling(name: str, headings: tuple[str, ...], rows: str, caption: str) -> str:
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    return (
        f'<div class="sb-cards"><table class="table {name}" aria-label="{_escape(caption)}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _breakable(text: str) -> str:
    """A name that may break after its dots, slashes and underscores."""
    return re.sub(r"([./_])", r"\1<wbr>", _escape(text))


def _escape(text: str) -> str:
    return html.escape(str(text))
