"""``{study-table} NAME``: tables that come from the study and change with it.

========================================  ==========================================================
name                                      rows
========================================  ==========================================================
``runs``                                  reported runs beside the measured ones that are evidence
``results``                               reported runs beside measured configurations, intervals
``scaling.strong``, ``scaling.weak``      measured scaling: batch, time of a step, speed-up,
                                          efficiency
``claims``                                reported numbers held against each other, with the verdict
``claims.open``                           those of them that do not hold or cannot be decided
``rules``                                 the twelve rules of Hoefler and Belli, kept or broken
``system.<name>``                         facts about a machine, from ``data/systems``
``machines``                              the machines that a proposal considers
``request.<machine>``                     the computed request, phase by phase
``request.compared``                      the requests for all machines
``ladder.<machine>.strong|weak``          modelled scaling on a machine
``objectives``, ``assumptions``,          of ``data/plan.yaml``
``milestones``, ``risks``
========================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from scalebook.contract import ScalebookError
from scalebook.publish import frames, frames_plan, inputs, values

#: Tables by name; each function gives a DataFrame whose cells are text, `Shown` or `Value`.
#: A name that ends in ``.*`` takes what stands there, split at dots, as arguments. To add one,
#: add a line here and a row above.
TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    "runs": frames.runs,
    "results": frames.results,
    "scaling.*": frames.scaling,
    "claims": frames.claims,
    "claims.open": lambda: frames.claims(only_open=True),
    "rules": frames.asked("analysis.benchmarking_rules", "rules_table"),
    "system.*": frames.system,
    "machines": frames_plan.machines,
    "request.compared": frames_plan.compared,
    "request.*": frames_plan.request,
    "ladder.*": frames_plan.ladder,
    "objectives": frames_plan.objectives,
    "assumptions": frames_plan.assumptions,
    "milestones": frames_plan.milestones,
    "risks": frames_plan.risks,
}


def table(name: str) -> pd.DataFrame:
    """Rows of a table, columns as headings.

    Raises
    ------
    ScalebookError
        If there is no such table, or its rows cannot be had.
    """
    if name in TABLES and not name.endswith("*"):
        return TABLES[name]()
    first, _, rest = name.partition(".")
    function = TABLES.get(f"{first}.*") if rest else None
    if function is None:
        names = ", ".join(sorted(known.replace("*", "<name>") for known in TABLES))
        raise ScalebookError(f"no table {name!r}; there are {names}")
    arguments = rest.split(".")
    try:
        return function(*arguments)
    except TypeError as error:
        if function.__name__ in str(error) and "argument" in str(error):
            raise ScalebookError(f"table {name!r}: wrong number of names after {first}.") from None
        raise


def digest(app: Sphinx, name: str) -> str:
    """Digest of a table as it would be shown now."""
    from scalebook.results import queries

    try:
        return queries.digest(table(name))
    except ScalebookError:
        return ""


class StudyTable(SphinxDirective):
    """A numbered table with its caption as content.

    ``:name:`` gives a label for ``{numref}``, ``:class: wide`` both columns of a paper.
    """

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged, "class": directives.class_option}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Build the table now, so that the page says what the study says."""
        from scalebook.results import queries

        name = self.arguments[0].strip()
        source, line = self.get_source_info()
        try:
            frame = table(name)
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
        node["classes"] += self.options.get("class", [])
        if self.content:
            node += nodes.title("", "", *caption(self))
        node += _group(self.env, frame)
        self.set_source_info(node)
        self.add_name(node)
        return [node]


def caption(directive: SphinxDirective) -> list[nodes.Node]:
    """Content of a directive as one line: its first paragraph, computed sentences included."""
    holder = nodes.Element()
    directive.state.nested_parse(directive.content, directive.content_offset, holder)
    for paragraph in holder.findall(nodes.paragraph):
        return list(paragraph.children)
    return []


def _group(env: BuildEnvironment, frame: pd.DataFrame) -> nodes.tgroup:
    group = nodes.tgroup(cols=len(frame.columns))
    group += [nodes.colspec(colwidth=1) for _ in frame.columns]
    group += nodes.thead("", _row(env, list(frame.columns)))
    rows = [_row(env, list(row)) for row in frame.itertuples(index=False, name=None)]
    group += nodes.tbody("", *rows)
    return group


def _row(env: BuildEnvironment, cells: list[Any]) -> nodes.row:
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", _cell(env, cell)))
                           for cell in cells])  # fmt: skip


def _cell(env: BuildEnvironment, cell: Any) -> nodes.Node:
    from scalebook.values.value import Value

    if isinstance(cell, Value):
        cell = values.Shown(cell)
    if isinstance(cell, values.Shown):
        return values.value_node(env, cell.value, cell.text)
    return nodes.Text(str(cell))


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("study-table", StudyTable)
    inputs.DIGESTS["table"] = digest
