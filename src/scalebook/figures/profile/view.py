"""One trace as a notebook shows it: which one, what holds it up, and the file itself."""

import html
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pandas as pd
import plotly.graph_objects as go

from scalebook import contract, traces
from scalebook.analysis.headers import TRACE_STEP_HEADERS
from scalebook.analysis.study_queries import start_command
from scalebook.analysis.text import abridged, listed
from scalebook.contract import ScalebookError, Stem, UsageError
from scalebook.figures import captions
from scalebook.figures.notebook import as_markdown, show_markup
from scalebook.figures.profile.ranks import collective_table, job_of, rank_comparison
from scalebook.figures.profile.roofline import roofline
from scalebook.figures.profile.shares import (
    readable,
    run_title,
    summaries,
    trace_title,
)
from scalebook.figures.profile.timeline import timeline
from scalebook.figures.profile.utilisation import job_with_readings, utilisation

#: Larger traces are named, not put into the book.
LARGEST_MIB = 64
PERFETTO = "https://ui.perfetto.dev"


@dataclass(frozen=True)
class TraceView:
    """A trace and what there is to show of it.

    Attributes
    ----------
    file : str or None
        The trace, relative to the study's root; None where there is none.
    ranks : tuple of str
        Traces of all ranks of a run: of the same one, else of the first that has several.
    message : str
        What the reader should know first: which trace this is, or why there is none.
    step : int or None
        The step that is shown first; None for the middle one.
    others : tuple of str
        Traces that a page offers besides.
    """

    file: str | None
    ranks: tuple[str, ...]
    message: str
    step: int | None = None
    others: tuple[str, ...] = ()

    def verdict(self) -> None:
        """Display what holds the run up, and the job where there are several ranks."""
        texts = []
        if self.file is not None:
            try:
                texts = _verdict(traces.trace_summary(self.file))
            except ScalebookError as error:
                texts = [str(error)]
        job = job_of(self.ranks)
        if job is not None:
            verdict = str(job) if isinstance(job, ScalebookError) else job["verdict"]
            texts.append(f"The ranks of {run_title(traces.run_of(self.ranks[0]))}: {verdict}")
        paragraphs = [f"<p>{html.escape(text)}</p>" for text in texts]
        show_markup(
            "\n".join([f"<p><em>{html.escape(self.message)}</em></p>", *paragraphs]),
            "\n\n".join([f"*{as_markdown(self.message)}*", *map(as_markdown, texts)]),
        )

    def timeline(self) -> go.Figure:
        """Events of a step; a page offers the other steps, ranks and traces in its place."""
        return timeline(self.file, self.step, self.others)

    def roofline(self) -> go.Figure:
        """Operators against what the device can do."""
        return roofline(self.file)

    def rank_comparison(self) -> go.Figure:
        """The ranks of the job."""
        return rank_comparison(self.ranks)

    def collectives(self) -> pd.DataFrame:
        """Collectives of the job by kind and size; empty where there is one rank."""
        return collective_table(self.ranks)

    def utilisation(self) -> go.Figure:
        """What the devices of the run reported, or those of the first job that were watched."""
        return utilisation(job_with_readings(_job(self.file)))

    def steps(self) -> pd.DataFrame:
        """Steps that the profiler marked, times in ms; see `headers.TRACE_STEP_HEADERS`."""
        rows: list[dict[str, Any]] = []
        if self.file is not None:
            try:
                rows = traces.trace_summary(self.file)["steps"]
            except ScalebookError:
                # The verdict says what is wrong.
                rows = []
        table = pd.DataFrame(rows, columns=list(TRACE_STEP_HEADERS))
        times = [name for name in table if name.endswith("_us")]
        return table.assign(**{name: table[name].astype(float) / 1e3 for name in times})


def _verdict(summary: dict[str, Any]) -> list[str]:
    """Paragraphs: the verdict, what recording itself cost where the run tells, what is odd."""
    texts = [summary["verdict"]]
    cost = summary.get("profiler")
    if cost:
        texts.append(
            f"Recording made a step {cost['ratio']:.2f} times as long: "
            f"{cost['recorded_step_time_s'] * 1e3:,.1f} ms, and "
            f"{cost['other_step_time_s'] * 1e3:,.1f} ms without the profiler (medians of "
            f"{cost['recorded_steps']} and {cost['other_steps']} steps)."
        )
    for part in ("notices", "dropped", "not_read"):
        each = [f"{number:,} {what}" for what, number in summary[part].items()]
        if each:
            texts.append(captions.text("trace", part, each=listed(each)))
    return texts


def trace_view(
    file: str | None = None,
    everything: bool = False,
    rank: int | None = None,
    step: int | None = None,
) -> TraceView:
    """Choose a trace to show in detail.

    Parameters
    ----------
    file : str, optional
        A trace below the study's root, or its name in ``results/profiling``; where left out the
        first of a GPU, else the first there is.
    everything : bool
        Consider traces of trial runs in ``results/local`` too.
    rank : int, optional
        Of the run; the rank of the trace that is chosen where left out.
    step : int, optional
        Of the trace; the middle one where left out.

    Raises
    ------
    UsageError
        If there is no such trace, rank or step.
    """
    sound = readable(everything)
    every = list(sound) if file is None else traces.trace_files()
    if file is not None:
        chosen = _named(file, every)
    elif sound:
        gpus = [name for name, summary in sound.items() if summary["device"] == "gpu"]
        chosen = (gpus or every)[0]
    else:
        return TraceView(
            None,
            (),
            f"No trace yet: record one with `{start_command(profiled=True)}`, or drop "
            "one into results/profiling/.",
        )
    ranks = _ranks(chosen, every)
    if rank is not None:
        chosen = _of_rank(rank, chosen, every)
    if step is not None:
        _check_step(step, chosen)
    message = f"{run_title(traces.run_of(chosen))}: {chosen}"
    if file is None and len(sound) > 1:
        message += f", one of {len(sound)} traces; the notebook's parameter `trace` chooses another"
    others = tuple(dict.fromkeys([*sound, chosen]))
    return TraceView(chosen, ranks, f"{message}.", step, others)


def _named(file: str, every: list[str]) -> str:
    chosen = next((trace for trace in every if file in (trace, PurePosixPath(trace).name)), None)
    if chosen is None:
        names = ", ".join(PurePosixPath(trace).name for trace in every[:8]) or "none"
        raise UsageError(f"trace {file}: is not in results/profiling; there are {names}")
    return chosen


def _of_rank(rank: int, file: str, every: list[str]) -> str:
    """The trace of a rank of the run that a trace is of."""
    own = [trace for trace in every if traces.run_of(trace) == traces.run_of(file)]
    ranks = {traces.trace_summary(trace)["ranks"][0]["rank"]: trace for trace in own}
    if rank not in ranks:
        raise UsageError(
            f"rank {rank}: {traces.run_of(file)} has traces of {abridged(map(str, ranks))}"
        )
    return ranks[rank]


def _check_step(step: int, file: str) -> None:
    steps = [row["step"] for row in traces.trace_summary(file)["steps"]]
    if step not in steps:
        there = abridged(map(str, steps), 8) or "none"
        raise UsageError(f"step {step}: {PurePosixPath(file).name} has steps {there}")


def _ranks(file: str, files: list[str]) -> tuple[str, ...]:
    runs: dict[str, list[str]] = {}
    for trace in files:
        runs.setdefault(traces.run_of(trace), []).append(trace)
    own = runs.get(traces.run_of(file), [])
    several = [own, *runs.values()]
    return tuple(next((ranks for ranks in several if len(ranks) > 1), []))


def _job(file: str | None) -> str | None:
    """Job id of the run a trace is of; None where its name does not say it."""
    if file is None:
        return None
    try:
        return Stem.parse(traces.run_of(file)).job_id
    except ScalebookError:
        return None


# --------------------------------------------------------------------------- the files


def show_traces(everything: bool = False) -> None:
    """Display every trace with its verdict, a download, and a way into Perfetto.

    Parameters
    ----------
    everything : bool
        Traces of trial runs too; not part of the book, they have no link.
    """
    found = list(summaries(everything))
    if not found:
        none = "No trace is in results/profiling yet."
        show_markup(f"<p><em>{none}</em></p>", f"*{as_markdown(none)}*")
        return
    items, printed = [], []
    for file, summary in found:
        text = str(summary)
        if not isinstance(summary, ScalebookError):
            text = f"{_short(summary)}. {summary['verdict']}"
        title, name = trace_title(file, summary), PurePosixPath(file).name
        items.append(
            f"<li><p><strong>{html.escape(title)}</strong> "
            f"(<code>{html.escape(name)}</code>)<br>{_links(file)}</p>"
            f"<p>{html.escape(text)}</p></li>"
        )
        # What is printed has no files to lead to.
        printed.append(f"- **{as_markdown(title)}** (`{name}`)\n\n  {as_markdown(text)}\n")
    show_markup(f'<ul class="sb-traces">{"".join(items)}</ul>\n{_NOTE}', "\n".join(printed))


_NOTE = (
    "<p>Perfetto is a viewer for traces at another host, ui.perfetto.dev. The link leaves this "
    "page; the trace goes from this page to that window inside your browser and is uploaded "
    "nowhere. Where that does not work, for instance from a page opened as a file, download the "
    "trace and drag it into Perfetto's window.</p>"
)


def _short(summary: dict[str, Any]) -> str:
    device = ", ".join(summary["devices"]) or summary["device"].upper()
    steps = f"{len(summary['steps'])} steps" if summary["steps"] else "no steps marked"
    dropped = sum(summary["dropped"].values())
    left_out = f", {dropped:,} events left out as unusable" if dropped else ""
    return f"{device}, {summary['events']:,} events, {steps}{left_out}"


def _links(file: str) -> str:
    """Download and viewer of a trace; from a notebook the results lie one folder up."""
    if traces.is_trial(file):
        return "of a trial: not part of the book"
    size = (contract.find_root() / Path(file)).stat().st_size
    if size > LARGEST_MIB << 20:
        return f"{size / 2**20:,.0f} MiB: too large to be part of the book"
    where = html.escape(f"../{quote(file)}")
    name = html.escape(PurePosixPath(file).name)
    return (
        f'<a href="{where}" download>Download</a> ({size / 1024:,.0f} KiB), '
        f'<a href="{PERFETTO}" target="_blank" rel="external" data-perfetto="{where}" '
        f'data-name="{name}">Open in Perfetto</a> <span class="sb-perfetto" role="status"></span>'
    )
