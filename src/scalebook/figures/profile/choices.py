"""What a page offers in place of the step that a timeline shows: other steps, ranks and traces.

A page has no kernel, so all of them lie in it: as whole numbers, of which ``scalebook.js`` makes
the bars again.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scalebook import traces
from scalebook.analysis.text import count
from scalebook.figures import captions
from scalebook.figures.profile.shares import run_title
from scalebook.traces.timeline import MOST

#: What a reader chooses by.
NAMES = ("Trace", "Rank", "Step")
#: Bytes that a timeline takes in a page with all that it offers, compressed as a server sends it.
MOST_PACKED = 300_000
#: Bytes of them that an event takes, and the fewest events of a step that are worth it.
EVENT, FEWEST = 6, 400
#: What of a bar differs from event to event.
_PACKED = ("base", "x", "y", "text", "customdata")

Draw = Callable[[pd.DataFrame, str, bool], go.Figure]


@dataclass(frozen=True)
class Choice:
    """A step that can be shown: of which trace, and what the lists of a page call it."""

    file: str
    step: int
    names: tuple[str, ...]
    middle: bool


def offer(figure: go.Figure, file: str, step: int | None, files: Sequence[str], draw: Draw) -> None:
    """Put into a timeline, as ``layout.meta.choices``, what can be shown in its place.

    Parameters
    ----------
    figure : Figure
        The timeline; its caption says what the page has no room for.
    file, step : str, int
        What it shows; the middle step where `step` is None.
    files : sequence of str
        Traces whose steps are offered: first the middle one of each, then those of `file`.
    draw : callable
        Draws a step of its events, its file, and whether it is the middle one.
    """
    choices = list(_choices(files))
    shown = [
        choice
        for choice in choices
        if choice.file == file and (choice.middle if step is None else choice.step == step)
    ]
    others = sorted(
        (choice for choice in choices if choice not in shown),
        key=lambda choice: (not choice.middle, choice.file != file),
    )
    if not shown or not others:
        return
    left = MOST_PACKED - _weight(figure.to_json())
    most = max(FEWEST, min(MOST, left // EVENT // len(others)))
    texts: dict[str, int] = {}
    offered: dict[Choice, dict[str, Any]] = {choice: {} for choice in shown}
    for choice, events in _events(others[: max(0, left // EVENT // FEWEST)], most):
        packed, more = _packed(draw(events, choice.file, choice.middle), figure, texts)
        left -= _weight(json.dumps([packed, list(more)], separators=(",", ":")))
        if left < 0:
            break
        texts |= more
        offered[choice] = packed
    each = [
        {"names": choice.names, "middle": choice.middle, **offered[choice]}
        for choice in choices
        if choice in offered
    ]
    meta = {**figure.layout.meta, "choices": {"names": NAMES, "texts": list(texts), "each": each}}
    if len(each) < len(choices):
        missing = count(len(choices) - len(each), "further step")
        meta["caption"] += " " + captions.text("timeline", "not offered", missing=missing)
    figure.layout.meta = meta


def _choices(files: Sequence[str]) -> Iterator[Choice]:
    """Steps of traces in the order of a list; of a trace without marks the whole."""
    summaries = {file: traces.trace_summary(file) for file in files}
    titles = {run: run_title(run) for run in map(traces.run_of, files)}
    shared = Counter(titles.values())
    ranks = {file: summary["ranks"][0]["rank"] for file, summary in summaries.items()}
    alike = Counter((traces.run_of(file), rank) for file, rank in ranks.items())
    for file, summary in summaries.items():
        run, rank = traces.run_of(file), ranks[file]
        trace = titles[run] if shared[titles[run]] == 1 else run
        name = "unknown" if rank is None else str(rank)
        if alike[run, rank] > 1:
            name = PurePosixPath(file).name
        middle = traces.middle_step(summary["steps"])
        for row in summary["steps"] or [{"step": -1, "warm_up": False}]:
            step = "all" if row["step"] < 0 else f"{row['step']}{' (warm-up)' * row['warm_up']}"
            yield Choice(file, row["step"], (trace, name, step), row["step"] == middle)


def _events(wanted: Sequence[Choice], most: int) -> Iterator[tuple[Choice, pd.DataFrame]]:
    """Events of each choice, every trace read once."""
    tables: dict[Choice, pd.DataFrame] = {}
    for file in dict.fromkeys(choice.file for choice in wanted):
        mine = [choice for choice in wanted if choice.file == file]
        events = traces.trace_timelines(file, [choice.step for choice in mine], most)
        tables |= {mine[place]: table for place, table in events.groupby("place")}
    for choice in wanted:
        if choice in tables:
            yield choice, tables[choice].reset_index(drop=True)


def _packed(
    drawn: go.Figure, base: go.Figure, texts: dict[str, int]
) -> tuple[dict[str, Any], dict[str, int]]:
    """A timeline as it lies in a page, and those of its texts that are not there yet.

    Of each bar in order of time: tenths of a µs from the begin of the one before, its length in
    them, its row, and the number of its text, which lacks its last line, the duration.
    """
    more: dict[str, int] = {}
    bars = []
    for bar in drawn.data:
        start = np.rint(1e4 * np.asarray(bar.base, dtype=float)).astype(np.int64)
        order = np.argsort(start, kind="stable")
        length = np.rint(1e4 * np.asarray(bar.x, dtype=float)[order]).astype(np.int64)
        rows = np.round(np.asarray(bar.y, dtype=float)[order], 2)
        codes = []
        for place in order:
            text = bar.customdata[place].rpartition("<br>")[0]
            known = texts.get(text)
            codes.append(more.setdefault(text, len(texts) + len(more)) if known is None else known)
        kept = {name: value for name, value in bar.to_plotly_json().items() if name not in _PACKED}
        if bar.text is not None:
            kept["text"] = [bar.text[place] for place in order]
        begins = np.diff(start[order], prepend=0)
        kept["packed"] = [begins.tolist(), length.tolist(), rows.tolist(), codes]
        bars.append(kept)
    before, after = (figure.layout.to_plotly_json() for figure in (base, drawn))
    changed = {
        name: after.get(name)
        for name in {**before, **after}
        if name != "template" and before.get(name) != after.get(name)
    }
    return {"data": bars, "layout": changed}, more


def _weight(text: str) -> int:
    return len(zlib.compress(text.encode()))
