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
``rules.reasons``                         the same, with what decides each
``system.<name>``                         facts about a machine, from ``data/systems``
``applicant``                             what a proposal's form asks of the applicant
``machines``                              the machines that a proposal considers
``request.<machine>``                     the computed request, phase by phase
``measurements.<machine>``                jobs, runs, steps and seconds behind the request
``ladder.<machine>.strong|weak``          modelled scaling on a machine
``objectives``, ``assumptions``,          of ``data/plan.yaml``
``milestones``, ``risks``
========================================  ==========================================================
"""

import functools
import inspect
from collections.abc import Callable
from typing import ClassVar

import pandas as pd
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from scalebook import results
from scalebook.contract import ScalebookError
from scalebook.publish import pages, plan_tables, result_tables, values
from scalebook.publish.runs import links

#: Tables by name; each function gives a DataFrame whose cells are text, `Shown` or `ShownRun`.
#: A name that ends in ``.*`` takes what stands there, split at dots, as arguments. To add one,
#: add a line here and a row above.
TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    "runs": result_tables.run_table,
    "results": result_tables.result_table,
    "scaling.*": result_tables.scaling,
    "claims": result_tables.claims,
    "claims.open": lambda: result_tables.claims(only_open=True),
    "rules": result_tables.rules,
    "rules.reasons": lambda: result_tables.rules(reasons=True),
    "system.*": result_tables.system,
    "applicant": plan_tables.applicant,
    "machines": plan_tables.machines,
    "request.*": plan_tables.request,
    "measurements.*": plan_tables.measurements,
    "ladder.*": plan_tables.ladder,
    **{
        part: functools.partial(plan_tables.entries, part)
        for part in ("objectives", "assumptions", "milestones", "risks")
    },
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
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise ScalebookError(f"table {name!r}: wrong number of names after {first}.") from None
    return function(*arguments)


class StudyTable(pages.StudyDirective):
    """A numbered table with its caption as content.

    ``:name:`` gives a label for ``{numref}``, ``:class: wide`` both columns of a paper.
    """

    kind = "table"
    has_content = True
    option_spec: ClassVar = {"name": directives.unchanged, "class": directives.class_option}

    def show(self, name: str) -> list[nodes.Node]:
        """Build the table now, so that the page says what the study says."""
        frame = table(name)
        self.note(name, results.digest(frame))
        node = nodes.table(
            classes=["colwidths-auto", nodes.make_id(f"sb-{name.partition('.')[0]}")]
        )
        node["classes"] += self.options.get("class", [])
        if self.content:
            node += nodes.title("", "", *self.caption())
        rows = [_row(self.env, list(row)) for row in frame.itertuples(index=False, name=None)]
        node += grid(_row(self.env, list(frame.columns)), rows)
        self.set_source_info(node)
        self.add_name(node)
        return [node]


def grid(head: nodes.row, rows: list[nodes.row]) -> nodes.tgroup:
    """Body of a table below its head, with columns of one width."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", head)
    group += nodes.tbody("", *rows)
    return group


def row(cells: list[nodes.Node]) -> nodes.row:
    """Row of a table with a paragraph a cell."""
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells])


def _row(env: BuildEnvironment, cells: list[object]) -> nodes.row:
    return row([_cell(env, cell) for cell in cells])


def _cell(env: BuildEnvironment, cell: object) -> nodes.Node:
    if isinstance(cell, values.Shown):
        return values.value_node(env, cell.value, cell.text)
    if isinstance(cell, values.ShownRun):
        return links.study_run(cell.text, cell.text, run=cell.key)
    return nodes.Text(str(cell))


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("study-table", StudyTable)
    pages.DIGESTS["table"] = lambda app, name: results.digest(table(name))
