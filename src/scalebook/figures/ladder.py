"""`machine_ladder`: what the model expects of a target, before anything was measured there."""

import pandas as pd
import plotly.graph_objects as go

from scalebook import study
from scalebook.analysis import study_queries
from scalebook.analysis.link_model import NOT_VALIDATED
from scalebook.analysis.text import number
from scalebook.contract import ScalebookError
from scalebook.figures import registry, theme
from scalebook.proposal.request import request_of
from scalebook.study.plan import FILE

#: Kinds of scaling, with colour, dash and marker.
KINDS = {
    "strong": (theme.PALETTE[0], "solid", "circle"),
    "weak": (theme.PALETTE[1], "dash", "square"),
}
#: What is drawn over the number of GPUs: title, column, and settings of the axis.
PANELS = (
    ("<b>time of a step</b> (ms)", "step_ms", {"type": "log", "dtick": 1}),
    ("<b>parallel efficiency</b> (%)", "efficiency", {"range": [0, 108], "dtick": 25}),
)


@registry.figure("Modelled scaling on the target, not yet validated", plot=True)
def machine_ladder(machine: str | None = None) -> go.Figure:
    """Step time and efficiency over the rungs of the plan, strong and weak, with the interval.

    Parameters
    ----------
    machine : str, optional
        A target of the plan; the first where left out.
    """
    plan = study.load().plan
    if plan is None:
        return theme.empty(f"No ladder: {FILE} is not there.")
    machine = machine or plan.machines[0]
    try:
        request = request_of(machine)
        tables = {kind: request.ladder(kind) for kind in KINDS}
    except ScalebookError as error:  # a number that the model starts from is not there
        return theme.empty(str(error))
    figure, cells = theme.grid([title for title, _, _ in PANELS])
    for kind, table in tables.items():
        for (_, column, _), cell in zip(PANELS, cells):
            _draw(figure, kind, table, column, cell)
    for (_, _, axis), cell in zip(PANELS, cells):
        figure.update_yaxes(**axis, **cell)
        figure.update_xaxes(
            type="log", tickvals=plan.ladder, ticktext=[str(gpus) for gpus in plan.ladder],
            title_text="GPUs", minor_ticks="", **cell,
        )  # fmt: skip
    each = "; ".join(f"{kind} scaling {_sentence(table)}" for kind, table in tables.items())
    name = theme.escape(study_queries.facts(machine).title or machine)
    return theme.finish(
        figure,
        alt=f"Time of a step and parallel efficiency over GPUs of {name}, {NOT_VALIDATED}. {each}.",
        caption=(f"{name}, {NOT_VALIDATED}: {each}."),
        details=(
            "Lines are the middle case, shaded from the low to the high one; every assumption is "
            f"in {FILE}."
        ),
        sources=[FILE],
    )


def _draw(
    figure: go.Figure, kind: str, table: pd.DataFrame, column: str, cell: dict[str, int]
) -> None:
    hue, dash, marker = KINDS[kind]
    gpus = table["gpus"].tolist()
    low, high = table[f"{column}_low"].tolist(), table[f"{column}_high"].tolist()
    theme.add_band(figure, gpus, low, high, hue, 0.16, **cell)
    figure.add_scatter(
        x=gpus,
        y=table[column].tolist(),
        mode="lines+markers",
        name=f"{kind} scaling",
        legendgroup=kind,
        showlegend=column == PANELS[0][1],
        line={"color": hue, "dash": dash, "width": 2},
        marker={"symbol": f"{marker}-open", "size": 8, "line": {"width": 2}},
        customdata=[f"{number(a)} to {number(b)}" for a, b in zip(low, high)],
        hovertemplate=f"%{{x}} GPUs, {kind}: %{{y:.3g}} (%{{customdata}})<extra></extra>",
        cliponaxis=False,
        **cell,
    )


def _sentence(table: pd.DataFrame) -> str:
    last = table.iloc[-1]
    return (
        f"keeps {number(last['efficiency'])} % ({number(last['efficiency_low'])} to "
        f"{number(last['efficiency_high'])}) on {last['gpus']:.0f} GPUs, with a step of "
        f"{number(last['step_ms'])} ms ({number(last['step_ms_low'])} to "
        f"{number(last['step_ms_high'])})"
    )
