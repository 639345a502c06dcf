"""How busy the devices of a job were over time, as they said themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.text import count
from scalebook.contract import ScalebookError
from scalebook.figures import theme

TITLE = "Utilisation over time"

#: Panels, in their order: heading with unit, and the columns drawn into one.
PANELS = {
    "utilisation (%)": ("utilisation_percent",),
    "memory used (MiB)": ("memory_used_mib",),
    "power (W)": ("power_w",),
    "temperature (°C)": ("temperature_c",),
    "clock (MHz)": ("clock_mhz",),
    "CPU of the run's processes (%, 100 for one core)": ("process_cpu_percent",),
    "memory of the run's processes (MiB)": ("process_memory_mib",),
    "PCIe (MB/s)": ("pcie_rx_mb_s", "pcie_tx_mb_s"),
    "network (MB/s)": ("network_rx_mb_s", "network_tx_mb_s"),
}
#: Most panels, devices, and points of a line; of more points, means are drawn.
MOST_PANELS, MOST_DEVICES, MOST_POINTS = 6, 8, 1500
_ANY_KERNEL = (
    " The utilisation of a GPU is the share of time in which any kernel ran on it, however little "
    "of it that kernel used: 100 % does not mean that it works at its peak."
)
_DIRECTIONS = {"rx": "received", "tx": "sent"}


def job_with_readings(job: str | None) -> str | None:
    """The job itself where its devices were watched, else the first one that was; None for none."""
    files = results.utilisation_files()
    return job if job in files else next(iter(files), None)


def utilisation(job: str | None) -> go.Figure:
    """Lines of what the devices of a job reported, a plot for each quantity.

    Parameters
    ----------
    job : str, optional
        Job id; a sentence is drawn where there is none.
    """
    if job is None:
        return theme.empty(
            TITLE, "No utilisation was recorded yet: drop a gpu_util_<job>.log into "
            "results/profiling/, or run with `--set profile=true`.",
        )  # fmt: skip
    try:
        table = results.utilisation(job)
    except ScalebookError as error:
        return theme.empty(TITLE, str(error))
    panels = {
        title: mine
        for title, names in PANELS.items()
        if (mine := [name for name in names if name in table and table[name].notna().any()])
    }
    panels = dict(list(panels.items())[:MOST_PANELS])
    if not panels:
        return theme.empty(TITLE, f"Of job {job} times were recorded, but no quantities.")
    devices = list(table.groupby(["node", "device"], sort=True))
    drawn = devices[:MOST_DEVICES]
    row, gap = 110, 54
    inner = row * len(panels) + gap * (len(panels) - 1)
    figure = theme.subplots(
        len(panels), 1, [theme.escape(title) for title in panels], shared_xaxes=True,
        vertical_spacing=gap / inner if len(panels) > 1 else 0,
    )  # fmt: skip
    for position, names in enumerate(panels.values(), 1):
        for order, (key, mine) in enumerate(drawn):
            for name in names:
                _draw(figure, position, order, _device(key, table), mine, name)
        figure.update_yaxes(rangemode="tozero", row=position, col=1)
    figure.update_xaxes(title_text="time (s)", row=len(panels), col=1)
    bottom = theme.MARGIN["b"] + 40
    figure.update_layout(
        height=inner + theme.MARGIN["t"] + bottom, margin_b=bottom, hovermode="closest"
    )
    said = "; ".join(_said(key, mine, table) for key, mine in drawn)
    more = len(devices) - len(drawn)
    left_out = f" {count(more, 'further device')} not drawn." if more else ""
    thinned = max(len(mine) for _, mine in drawn) > MOST_POINTS
    file = results.utilisation_files().get(job, job)
    return theme.finish(
        figure,
        f"{TITLE}, job {theme.escape(job, 40)}",
        alt=f"Lines of what devices reported over time. {said}.",
        caption=(
            f"{said}. Measured by the devices themselves, read about once a second ({file})."
            f"{_ANY_KERNEL if table['device'].str.startswith('gpu').any() else ''}"
            f"{' Points are means of several readings.' if thinned else ''}"
            f"{left_out}"
        ),
        sources=[file],
    )


def _device(key: tuple, table: pd.DataFrame) -> str:
    node, device = key
    name = "host" if device == "host" else str(device).replace("gpu", "GPU ")
    return f"node {node}, {name}" if table["node"].nunique() > 1 else name


def _draw(
    figure: go.Figure, row: int, order: int, device: str, table: pd.DataFrame, name: str
) -> None:
    mine = table[table[name].notna()]
    if mine.empty:
        return
    x, y = _thinned(mine["time_s"].to_numpy(float), mine[name].to_numpy(float))
    way = _DIRECTIONS.get(name.split("_")[1], "")
    sent = way == "sent"
    shown = theme.escape(f"{device}{', sent' if sent else ''}", 40)
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers" if len(x) < 3 else "lines",
        name=shown,
        legendgroup=shown,
        showlegend=not any(trace.name == shown for trace in figure.data),
        line={
            "color": theme.PALETTE[order % len(theme.PALETTE)], "width": 2,
            "dash": "dot" if sent else theme.DASHES[order // len(theme.PALETTE)],
        },
        hovertemplate=f"%{{x:.0f}} s: %{{y:,.4g}}{f' {way}' if way else ''}"
        "<extra>%{fullData.name}</extra>",
        row=row,
        col=1,
    )  # fmt: skip


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Points of a line: all of them, or means of as many neighbours as needed."""
    step = -(-len(x) // MOST_POINTS)
    if step > 1:
        edges = np.arange(0, len(x), step)
        sizes = np.diff(np.append(edges, len(x)))
        x, y = np.add.reduceat(x, edges) / sizes, np.add.reduceat(y, edges) / sizes
    return x.tolist(), np.round(y, 4).tolist()


def _said(key: tuple, mine: pd.DataFrame, table: pd.DataFrame) -> str:
    said = []
    for name, words in (
        ("utilisation_percent", "{:.0f} % busy (median)"),
        ("memory_used_mib", "up to {:,.0f} MiB used"),
        ("power_w", "{:.0f} W (median)"),
        ("temperature_c", "up to {:.0f} °C"),
    ):
        if name in mine and mine[name].notna().any():
            value = mine[name].max() if "up to" in words else mine[name].median()
            said.append(words.format(value))
    span = table["time_s"].max()
    return f"{_device(key, table)}: {', '.join(said) or 'no summary'} over {span:,.0f} s"
