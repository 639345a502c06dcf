"""The timeline of one step: what ran when, on which stream and thread."""

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scalebook import traces
from scalebook.figures import captions, registry, theme
from scalebook.figures.profile import choices, families

TITLE = "Timeline of one step"

#: Height of a row and of the gap between two lanes, in CSS pixels.
ROW, GAP = 15, 0.8
#: Width of a small letter, in CSS pixels, and the part of a figure's width that its plot takes.
LETTER, PLOT = 6.5, 0.8
#: Characters of a name that are shown, and of all that is said: they decide how large a page is.
WIDTHS, MOST_TEXT = (72, 48, 32, 20, 8), 1_100_000
#: Work for other steps than the one shown.
ELSEWHERE = "another step"
#: What only encloses work: steps, phases and modules, whose names are written into their bars.
AROUND = "phases and modules"
DARK = "#5c5c5c"
#: A thread is named after the phase that takes this share of its time.
MOSTLY = 2 / 3


@registry.figure(TITLE, lenient=True)
def timeline(file: str | None, step: int | None = None, others: Sequence[str] = ()) -> go.Figure:
    """Bars of all events of a step, on a lane for each stream and thread.

    Parameters
    ----------
    file : str, optional
        A trace, relative to the study's root; a sentence is drawn where there is none.
    step : int, optional
        Number of a step; the middle one where left out.
    others : sequence of str
        Traces whose steps a page offers instead; see `choices.offer`.
    """
    if file is None:
        return theme.empty("No trace is in results/profiling/ yet.")
    events = traces.trace_timelines(file, [step])
    if events.empty:
        return theme.empty(f"{file} holds no events to show.")
    figure = _drawn(events, file, middle=step is None)
    choices.offer(figure, file, step, others, _drawn)
    return figure


def _drawn(events: pd.DataFrame, file: str, middle: bool) -> go.Figure:
    """The figure of a step's events; `middle` says that it is the middle one of its trace."""
    events = events.assign(row=_rows(events), own=_own(events))
    ends = events.loc[events["own"], "start_us"] + events.loc[events["own"], "dur_us"]
    last = max(float(ends.max()) / 1e3, 0.001)
    figure, hovers = go.Figure(), _hovers(events)
    for name, mine in _groups(events):
        _draw(figure, name, mine, hovers, last)
    lanes = events.groupby("lane", sort=True)
    rows = float(events["row"].max()) + 1
    for lane, top in lanes["row"].min().items():
        if lane:
            edge = top - (1 + GAP) / 2
            figure.add_shape(
                type="line", xref="paper", x0=0, x1=1, y0=edge, y1=edge, layer="below",
                line={"color": theme.GREY, "width": 1, "dash": "dot"},
            )  # fmt: skip
    figure.update_xaxes(title_text="time since the step began (ms)", range=[0, 1.005 * last])
    figure.update_yaxes(
        tickvals=[float(mine["row"].min()) for _, mine in lanes],
        ticktext=[_lane(mine) for _, mine in lanes],
        range=[rows - 0.4, -0.6], fixedrange=True, showgrid=False, zeroline=False, ticks="",
    )  # fmt: skip
    theme.leave_room(figure, ROW * rows)
    figure.update_layout(barmode="overlay", bargap=0, hovermode="closest", dragmode="zoom")
    sentences = _sentences(events, file, middle)
    return theme.finish(
        figure,
        _title(events),
        alt=_alt(events, file, last),
        caption=sentences[0],
        details=" ".join(sentences[1:]),
        stacks=False,
        sources=[file],
    )


def _rows(events: pd.DataFrame) -> pd.Series:
    """Vertical place of each event: lanes below each other, within one the outer ones above."""
    depths = events.groupby("lane", sort=True)["depth"].max() + 1 + GAP
    return events["lane"].map(depths.cumsum() - depths) + events["depth"]


def _own(events: pd.DataFrame) -> pd.Series:
    """Which events belong to the step that is shown; on a thread all do."""
    gpu = events["kind"].isin(["kernel", "copy", "set"])
    step = events.loc[~gpu, "step"]
    number = step.iloc[0] if len(step) else events["step"].mode().iloc[0]
    return ~gpu | (events["step"] == number)


def _groups(events: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Events by family, longest first, then what encloses them, and last those of other steps."""
    encloses = events["kind"].isin(["annotation", "module"]) & (events["family"] == "other")
    own, around = events[events["own"] & ~encloses], events[events["own"] & encloses]
    order = own.groupby("family")["dur_us"].sum().sort_values(ascending=False, kind="stable")
    groups = [(str(family), own[own["family"] == family]) for family in order.index]
    groups += [(AROUND, around), (ELSEWHERE, events[~events["own"]])]
    return [(name, mine) for name, mine in groups if len(mine)]


def _draw(
    figure: go.Figure, name: str, events: pd.DataFrame, hovers: pd.Series, last: float
) -> None:
    start, length = events["start_us"].to_numpy() / 1e3, events["dur_us"].to_numpy() / 1e3
    # Single precision halves the page, and is exact to a tenth of a µs in a step of this length.
    exact = np.float32 if float((start + length).max(initial=0)) < 1000 else np.float64
    unnamed = name in (AROUND, ELSEWHERE)
    named = {}
    if name == AROUND:
        named = {
            "text": _fitting(events["name"], length / last),
            "textposition": "inside",
            "insidetextanchor": "start",
            "constraintext": "none",
            "textfont": {"color": "#ffffff", "size": 10},
            "textangle": 0,
        }
    colours = {AROUND: DARK, ELSEWHERE: theme.faded(theme.GREY, 0.35)}
    figure.add_bar(
        orientation="h",
        base=start.astype(exact),
        x=length.astype(exact),
        y=events["row"].to_numpy(np.float32),
        width=0.86,
        name=name if unnamed else theme.escape(families.title(name), 30),
        marker={
            "color": colours.get(name) or families.colour(name),
            "line": {"width": 0},
        },
        **named,
        customdata=list(hovers[events.index]),
        hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
    )


def _fitting(names: pd.Series, shares: np.ndarray) -> list[str]:
    """Names for those bars that are long enough for them; the share is of the whole width."""
    room = shares * theme.WIDTH * PLOT
    texts = [_escaped(name, WIDTHS[-2]) for name in names]
    return [text if LETTER * (len(text) + 1) < pixels else "" for text, pixels in zip(texts, room)]


def _hovers(events: pd.DataFrame) -> pd.Series:
    """What is written of each event; names are cut further where all together are too long."""
    for width in WIDTHS:
        texts = [_hover(event, width) for event in events.itertuples()]
        if len(json.dumps(texts)) <= MOST_TEXT:
            break
    return pd.Series(texts, index=events.index, dtype=object)


def _hover(event: Any, width: int) -> str:
    """Name, operator, shapes and, last, duration of an event; names are untrusted."""
    lines = [f"<b>{_escaped(event.name, width)}</b>"]
    if event.operator and event.operator != event.name:
        lines.append(f"launched by {_escaped(event.operator, width)}")
    if event.shapes:
        lines.append(_escaped(event.shapes, width))
    about = [event.phase] if event.phase not in ("other", "") else []
    if not event.own:
        about.append(f"step {event.step}" if event.step >= 0 else "in no step")
    if about:
        lines.append(", ".join(about))
    return "<br>".join([*lines, families.duration(event.dur_us)])


@functools.lru_cache(maxsize=8192)
def _escaped(text: str, width: int) -> str:
    return theme.escape(text, width)


def _lane(events: pd.DataFrame) -> str:
    """Name of a lane: what it is, and for a thread what it does for most of its time."""
    name = theme.escape(events["lane_name"].iloc[0], 30)
    if not name.startswith("thread"):
        return name
    phased = events[~events["phase"].isin(["other", ""])]
    phase = phased.groupby("phase")["dur_us"].sum()
    if phase.empty or events["depth"].max() == 0 or phase.max() < MOSTLY * phase.sum():
        return name
    return f"{name}<br>{phase.idxmax()}"


def _number(events: pd.DataFrame) -> int:
    return int(events.loc[events["own"], "step"].iloc[0])


def _title(events: pd.DataFrame) -> str:
    step = _number(events)
    return f"{TITLE}, number {step}" if step >= 0 else "Timeline of the whole trace"


def _alt(events: pd.DataFrame, file: str, last: float) -> str:
    lanes = []
    for _, mine in events[events["own"]].groupby("lane", sort=True):
        outer = mine[mine["depth"] == 0]["dur_us"].sum()
        leaders = mine[mine["family"] != "other"].groupby("family")["dur_us"].sum()
        most = f", most of it {families.title(leaders.idxmax())}" if len(leaders) else ""
        name = mine["lane_name"].iloc[0]
        lanes.append(f"{name}: {len(mine):,} events in {families.ms(outer)}{most}")
    step = _number(events)
    what = f"step {step}" if step >= 0 else "all"
    return f"Timeline of {what} of {file}, {last:,.1f} ms long. {'; '.join(lanes)}."


def _sentences(events: pd.DataFrame, file: str, middle: bool) -> list[str]:
    step = _number(events)
    left_out = int(events.groupby("lane")["left_out"].first().sum())
    shown = {
        "middle": step >= 0 and middle,
        "step": step >= 0 and not middle,
        "whole": step < 0,
        "gpu": events["kind"].isin(["kernel", "copy", "set"]).any(),
        "elsewhere": (~events["own"]).any(),
        "below": True,
        "left out": left_out,
        "use": True,
    }
    about = {"step": step, "file": file, "left_out": left_out}
    return [captions.text("timeline", part, **about) for part, on in shown.items() if on]
