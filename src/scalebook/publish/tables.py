"""``{study-table} NAME``: tables that come from the study and change with it.

======================  ==========================================================
name                    rows
======================  ==========================================================
``runs``                reported runs beside the measured ones that are evidence
``claims``              reported numbers held against each other, with the verdict
``claims.open``         those of them that do not hold or cannot be decided
``system.<name>``       facts about a machine, from ``data/systems``
======================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from scalebook.contract import ScalebookError
from scalebook.publish import inputs

#: Heading, column of the catalogue, format. Rates in images/s, times in s, accuracy in percent.
RUN_COLUMNS = (
    ("Kind", "kind", "{}"),
    ("Experiment", "experiment", "{}"),
    ("System", "system", "{}"),
    ("Ranks", "world_size", "{:.0f}"),
    ("Precision", "precision", "{}"),
    ("Images/s", "throughput", "{:,.0f}"),
    ("s/epoch", "epoch_time_s", "{:.1f}"),
    ("Accuracy, %", "final_val_acc", "{:.2f}"),
    ("Job", "job_id", "{}"),
)


def table(name: str, root: Path) -> pd.DataFrame:
    """Rows of a table as text, columns as headings.

    Raises
    ------
    ScalebookError
        If there is no such table, or its rows cannot be had.
    """
    if name == "runs":
        return _runs()
    if name in ("claims", "claims.open"):
        return _claims(only_open=name.endswith(".open"))
    if name.startswith("system."):
        return _system(name.partition(".")[2], root)
    raise ScalebookError(
        f"no table {name!r}; there are runs, claims, claims.open and system.<name>"
    )


def _runs() -> pd.DataFrame:
    from scalebook import results

    runs = results.runs()
    said = runs[["throughput", "epoch_time_s", "final_val_acc"]].notna().any(axis=1)
    taken = runs[said & ((runs["kind"] == "reported") | runs["evidence"].eq(True))]
    taken = taken.sort_values(["kind", "system", "experiment", "world_size", "job_id"])
    return pd.DataFrame(
        {
            heading: [_cell(value, form) for value in taken[column].tolist()]
            for heading, column, form in RUN_COLUMNS
        }
    )


def _claims(only_open: bool) -> pd.DataFrame:
    from scalebook.analysis import consistency

    claims = consistency.check()
    if only_open:
        claims = claims[claims["verdict"] != "holds"]
    headings = {"job_id": "Job", "statement": "Statement", "verdict": "Verdict",
                "computation": "Computation", "decided_by": "Would be decided by"}  # fmt: skip
    return claims[list(headings)].rename(columns=headings).map(lambda value: _cell(value, "{}"))


def _system(name: str, root: Path) -> pd.DataFrame:
    from scalebook import study

    facts = study.load(root).facts(name)
    if facts is None:
        raise ScalebookError(f"system {name}: no facts in data/systems/{name}.yaml")
    rows = [(key, text) for key, text in _facts(facts.model_dump()) if key != "name"]
    return pd.DataFrame(rows, columns=["Fact", "Value"])


def _facts(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested facts, as ``GPU memory GB`` and its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            words = str(key).replace("_", " ")
            yield from _facts(inner, f"{prefix} {words}".strip())
    elif value not in (None, ""):
        yield prefix, str(value)


def _cell(value: Any, form: str) -> str:
    return "–" if value is None or pd.isna(value) or value == "" else form.format(value)


def digest(app: Sphinx, name: str) -> str:
    """Digest of a table as it would be shown now."""
    from scalebook.results import queries

    try:
        return queries.digest(table(name, Path(app.srcdir)))
    except ScalebookError:
        return ""


class StudyTable(SphinxDirective):
    """A numbered table with its caption as content; ``:name:`` gives a label for ``{numref}``."""

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged}  # noqa: RUF012 - docutils declares it so

    def run(self) -> list[nodes.Node]:
        """Build the table now, so that the page says what the study says."""
        from scalebook.results import queries

        name = self.arguments[0].strip()
        source, line = self.get_source_info()
        try:
            frame = table(name, Path(self.env.srcdir))
        except ScalebookError as error:
            inputs.note(self.env, "table", name, "")
            inputs.problem(
                self.env, f"{inputs.place(self.env, source, line)}: study-table: {error}"
            )
            return []
        inputs.note(self.env, "table", name, queries.digest(frame))
        node = nodes.table(
            classes=["colwidths-auto", nodes.make_id(f"sb-{name.partition('.')[0]}")]
        )
        if self.content:
            title, messages = self.state.inline_text(" ".join(self.content), self.lineno)
            node += nodes.title("", "", *title, *messages)
        group = nodes.tgroup(cols=len(frame.columns))
        group += [nodes.colspec(colwidth=1) for _ in frame.columns]
        group += nodes.thead("", _row(list(frame.columns)))
        group += nodes.tbody("", *[_row(list(row)) for row in frame.itertuples(index=False)])
        node += group
        self.set_source_info(node)
        self.add_name(node)
        return [node]


def _row(texts: list[str]) -> nodes.row:
    return nodes.row("", *[nodes.entry("", nodes.paragraph(text=str(text))) for text in texts])


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("study-table", StudyTable)
    inputs.DIGESTS["table"] = digest
