"""Which runs have a page, and how numbers, tables and notebooks lead there."""

from __future__ import annotations

import functools
import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from docutils import nodes
from sphinx.builders import Builder
from sphinx.environment import BuildEnvironment
from sphinx.writers.html5 import HTML5Translator

from scalebook import results
from scalebook.publish import pages
from scalebook.values import Value

#: Name of the page of a run, which says in its address which one it shows.
PAGE = "runs/run"
#: Builders of HTML whose pages are files of their own.
BUILDERS = ("html", "dirhtml")

_CELL = re.compile(r"(<t[dh][^>]*>)([^<>\s]+)(</t[dh]>)")


class study_run(nodes.inline):
    """A run as a cell of a table. Attribute: ``run``, its key. Other builders show its text."""


def key(run: Mapping[str, Any]) -> str:
    """Name of a run's page: its stem; ``reported.<job id>`` where it was only reported."""
    return f"reported.{run['job_id']}" if run["kind"] == "reported" else str(run["stem"])


def standing(run: Mapping[str, Any]) -> str:
    """What a run counts for: ``evidence``, ``trial``, ``measured``, ``imported``, ``reported``."""
    if run["local"]:
        return "trial"
    return "evidence" if run["evidence"] else str(run["kind"])


def title(run: Mapping[str, Any], labels: Mapping[str, Mapping[str, str]]) -> str:
    """What a reader calls a run: experiment, system, and when it started or which job it was.

    The `labels` are those of `study_queries.labels`, asked for once for many runs.
    """
    names = [labels[of].get(run[of], run[of]) for of in ("experiment", "system")]
    when = day(run["started"]) if run.get("started") else f"job {run['job_id']}"
    text = ", ".join(str(part) for part in (*names, when) if part)
    return text[:1].upper() + text[1:]


def day(time: str) -> str:
    """Day and minute of a time."""
    return time[:16].replace("T", " ")


@functools.lru_cache(maxsize=1)
def known() -> dict[str, str]:
    """Runs that have a page, read once a build: the name in an address by key, see `short`."""
    keys = list(map(key, results.runs().to_dict("records")))
    times = Counter(map(short, keys))
    return {run_key: short(run_key) if times[short(run_key)] == 1 else run_key for run_key in keys}


def short(key: str) -> str:
    """Job id of a run, which an address of many runs holds in place of the stem."""
    return key if key.startswith("reported.") else key.rpartition("_")[2]


def explorer(env: BuildEnvironment) -> str | None:
    """Name of the page with the explorer, if the book has one."""
    return pages.page_that_lists(env, "runs")


def behind(value: Value) -> list[str]:
    """Keys of the runs behind a number."""
    prefix = "reported." if value.kind == "reported" else ""
    return [f"{prefix}{run}" for run in value.runs]


def address(builder: Builder, here: str, runs: Iterable[str]) -> str | None:
    """Address of the page of a run, of the explorer for several, from a page; None without any."""
    page = explorer(builder.env)
    chosen = [run for run in runs if run in known()]
    if page is None or builder.name not in BUILDERS or not chosen:
        return None
    if len(chosen) == 1:
        return f"{builder.get_relative_uri(here, PAGE)}?{urlencode({'run': chosen[0]})}"
    names = quote(",".join(known()[run] for run in chosen), safe=",")
    return f"{builder.get_relative_uri(here, page)}?runs={names}"


def words(runs: Iterable[str]) -> str:
    """What a link to these runs says."""
    count = sum(run in known() for run in runs)
    return "open its run" if count == 1 else f"compare its {count} runs"


def link_cells(builder: Builder, here: str, markup: str) -> str:
    """HTML of a notebook, the cells that hold nothing but the name of a run linked to it."""

    def linked(match: re.Match[str]) -> str:
        before, text, after = match.groups()
        target = address(builder, here, [html.unescape(text)])
        return f'{before}<a href="{html.escape(target)}">{text}</a>{after}' if target else match[0]

    return _CELL.sub(linked, markup)


def visit_html(self: HTML5Translator, node: study_run) -> None:
    """Write the text, as a link where the run has a page."""
    target = address(self.builder, self.builder.current_docname, [node["run"]])
    text = html.escape(node.astext())
    self.body.append(f'<a href="{html.escape(target)}">{text}</a>' if target else text)
    raise nodes.SkipNode
