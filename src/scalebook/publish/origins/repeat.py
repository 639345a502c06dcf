"""Under each figure of a page the commands that draw it again, and run its experiments again."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from scalebook import figures, results, traces
from scalebook.analysis.comparable import to_python
from scalebook.live.settings import command
from scalebook.publish import plots
from scalebook.publish.runs import links
from scalebook.publish.site import numbers

#: Where a figure that is drawn again lies; git ignores it.
OUT = "_build/figures"
#: Kinds of lines that run something again.
KINDS = (
    "its runs again",
    "its campaign again, but for runs that results/ holds finished",
    "what was only reported, with the settings of study.yaml",
)
#: Page that says what each command needs first.
PAGE = "reproduce"


class plot_repeat(nodes.General, nodes.Element):
    """The folded commands under a figure."""


def draw_again(name: str, docname: str) -> str:
    """The line that makes a figure again: alone where it can be, else with its notebook."""
    figure = figures.registered().get(name)
    if figure is not None and figure.alone:
        return shlex.join(["scalebook", "figures", name, "--out", OUT])
    notebook = PurePosixPath(docname)
    words = ["jupytext", "--to", "ipynb", "--execute", "--output", f"_build/{notebook.name}.ipynb"]
    return shlex.join([*words, f"{notebook}.py"])


def run_again(sources: Iterable[str]) -> list[str]:
    """The lines that run again the runs behind a figure, each experiment or campaign once.

    Parameters
    ----------
    sources : iterable of str
        Of the figure: stems of runs, and files, of which those of runs count.

    Returns
    -------
    list of str
        For a shell, with a comment above each kind of lines.
    """
    stems = {traces.run_of(source.rstrip("*")) for source in sources}
    runs = results.runs()
    runs = runs[runs["stem"].isin(stems) & ~runs["local"]]
    kinds: dict[str, dict[str, set[int]]] = {}
    for row in runs.to_dict("records"):
        kind, line, seed = _again({name: to_python(value) for name, value in row.items()})
        seeds = kinds.setdefault(kind, {}).setdefault(line, set())
        seeds |= set() if seed is None else {seed}
    return [
        line
        for kind in KINDS
        if kind in kinds
        for line in (
            f"# {kind}",
            *(_with_seeds(command, seeds) for command, seeds in kinds[kind].items()),
        )
    ]


def _again(run: Mapping[str, Any]) -> tuple[str, str, int | None]:
    """Kind of the line for one run, the line without its seed, and the seed.

    A campaign sets seeds itself.
    """
    alone, together, reported = KINDS
    if run["kind"] == "reported":
        return reported, command(run["experiment"], run["system"] or "auto", None, {}), None
    resolved: Mapping[str, Any] = results.manifest(run["stem"]).get("resolved") or {}
    system = str(resolved.get("system") or run["system"] or "auto")
    campaign = (resolved.get("block") or {}).get("campaign")
    if campaign:
        words = ["scalebook", "run", "--all", "--campaign", str(campaign), "--system", system]
        return together, shlex.join(words), None
    settings = resolved.get("overrides") or {}
    return alone, command(run["experiment"], system, None, settings), resolved.get("seed")


def _with_seeds(line: str, seeds: Collection[int]) -> str:
    """The line for each of these seeds, as a shell takes it."""
    if len(seeds) > 1:
        return f"for seed in {' '.join(map(str, sorted(seeds)))}; do {line} --seed $seed; done"
    return " ".join([line, *(f"--seed {seed}" for seed in seeds)])


def _add(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the commands under the figures of a page."""
    if app.builder.name not in links.BUILDERS:
        return
    with results.one_snapshot():  # all figures of the page ask for the runs
        for plot in doctree.findall(plots.study_plot):
            figure = plot.parent
            if not isinstance(figure, nodes.figure) or not plot["registered"]:
                continue
            legend = next((child for child in figure if isinstance(child, nodes.legend)), None)
            if legend is None:
                legend = nodes.legend()
                figure += legend
            name = numbers.figure_name(app.env, docname, next(iter(figure["ids"]), ""))
            legend += _commands(app, docname, name or "this figure", plot)


def _commands(app: Sphinx, docname: str, name: str, plot: plots.study_plot) -> plot_repeat:
    again = run_again(plot["sources"])
    lines = ["# from the results that are here", draw_again(plot["registered"], docname), *again]
    text = "\n".join(lines)
    first = nodes.paragraph("", f"To repeat {name}, in a clone of this study")
    page = next((path for path in app.env.found_docs if PurePosixPath(path).name == PAGE), None)
    if page and again:
        target = app.builder.get_relative_uri(docname, page)
        first += nodes.Text("; what each needs first is on ")
        first += nodes.reference("", app.env.titles[page].astext(), refuri=target, internal=True)
    first += nodes.Text(":")
    return plot_repeat("", first, nodes.literal_block(text, text, language="sh"))


def visit_html(self: HTML5Translator, node: plot_repeat) -> None:
    """Fold the commands."""
    self.body.append('<details class="sb-repeat"><summary>Repeat</summary>\n')


def depart_html(self: HTML5Translator, node: plot_repeat) -> None:
    """End the fold."""
    self.body.append("</details>\n")


def setup(app: Sphinx) -> None:
    """Register the node, and what adds it as each page is written."""
    app.add_node(plot_repeat, html=(visit_html, depart_html))
    app.connect("doctree-resolved", _add)
