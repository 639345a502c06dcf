"""How busy the devices of a job were over time, as they said themselves."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.text import count, listed
from scalebook.figures import captions, registry, theme

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
_DIRECTIONS = {"rx": "received", "tx": "sent"}


def job_with_readings(job: str | None) -> str | None:
    """The job itself where its devices were watched, else the first one that was; None for none."""
    files = results.utilisation_files()
    return job if job in files else next(iter(files), None)


@registry.figure(TITLE, lenient=True)
def utilisation(job: str | None) -> go.Figure:
    """Lines of what the devices of a job reported, a plot for each quantity.

    Parameters
    ----------
    job : str, optional
        Job id; a sentence is drawn where there is none.
    """
    if job is None:
        return theme.empty(captions.text("utilisation", "empty"))
    table = results.utilisation(job)
    panels = {
        title: mine
        for title, names in PANELS.items()
        if (mine := [name for name in names if name in table and table[name].notna().any()])
    }
    panels = dict(list(panels.items())[:MOST_PANELS])
    if not panels:
        return theme.empty(f"Of job {job} times were recorded, but no quantities.")
    devices = list(table.groupby(["node", "device"], sort=True))
    drawn = devices[:MOST_DEVICES]
    figure = theme.stacked(
        [1] * len(panels), list(map(theme.escape, panels)), bar=110, gap=54, shared_xaxes=True
    )
    for position, names in enumerate(panels.values(), 1):
        for order, (key, mine) in enumerate(drawn):
            for name in names:
                _draw(figure, position, order, _device(key, table), mine, name)
        figure.update_yaxes(rangemode="tozero", row=position, col=1)
    figure.update_xaxes(title_text="time (s)", row=len(panels), col=1)
    more = 40
    figure.update_layout(
        height=figure.layout.height + more, margin_b=theme.MARGIN["b"] + more, hovermode="closest"
    )
    each = captions.capitalised("; ".join(_sentence(key, mine, table) for key, mine in drawn))
    rest = len(devices) - len(drawn)
    left_out = f" {count(rest, 'further device')} not drawn." if rest else ""
    thinned = max(len(mine) for _, mine in drawn) > MOST_POINTS
    file = results.utilisation_files().get(job, job)
    on_gpu = table["device"].str.startswith("gpu").any()
    return theme.finish(
        figure,
        f"{TITLE}, job {theme.escape(job, 40)}",
        **captions.texts(
            "utilisation",
            each=each,
            file=file,
            any_kernel=f" {captions.text('utilisation', 'any kernel')}" if on_gpu else "",
            thinned=" Points are means of several readings." if thinned else "",
            left_out=left_out,
        ),
        sources=[file],
    )


def _device(key: tuple[object, object], table: pd.DataFrame) -> str:
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
        showlegend=theme.is_new(figure, shown),
        line={
            "color": theme.cycled(theme.PALETTE, order),
            "width": 2,
            "dash": "dot" if sent else theme.DASHES[order // len(theme.PALETTE)],
        },
        hovertemplate=f"%{{x:.0f}} s: %{{y:,.4g}}{f' {way}' if way else ''}"
        "<extra>%{fullData.name}</extra>",
        row=row,
        col=1,
    )


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Points of a line: all of them, or means of as many neighbours as needed."""
    step = -(-len(x) // MOST_POINTS)
    if step > 1:
        edges = np.arange(0, len(x), step)
        sizes = np.diff(np.append(edges, len(x)))
        x, y = np.add.reduceat(x, edges) / sizes, np.add.reduceat(y, edges) / sizes
    return x.tolist(), np.round(y, 4).tolist()


def _sentence(key: tuple[object, object], mine: pd.DataFrame, table: pd.DataFrame) -> str:
    parts = []
    for name, text in (
        ("utilisation_percent", "was {:.0f} % busy (median)"),
        ("memory_used_mib", "used up to {:,.0f} MiB"),
        ("power_w", "drew {:.0f} W (median)"),
        ("temperature_c", "reached {:.0f} °C"),
    ):
        if name in mine and mine[name].notna().any():
            value = mine[name].median() if "median" in text else mine[name].max()
            parts.append(text.format(value))
    span = table["time_s"].max()
    device = _device(key, table)
    device = "the host" if device == "host" else device
    return f"{device} {listed(parts) or 'has no summary'} over {span:,.0f} s"
