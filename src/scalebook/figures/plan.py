"""`gantt` and `risk_matrix`: the plan of ``data/plan.yaml`` as pictures."""

import plotly.graph_objects as go

from scalebook import study
from scalebook.figures import registry, theme
from scalebook.study.plan import FILE, Milestone, Risk

#: Product of likelihood and impact from which a risk is called so, and its colour.
LEVELS = {
    "low": (1, theme.PALETTE[2], 0.22),
    "medium": (5, theme.PALETTE[4], 0.32),
    "high": (10, theme.PALETTE[1], 0.45),
}
STEPS = range(1, 6)


@registry.figure("Milestones over the months of the project", plot=True)
def gantt() -> go.Figure:
    """Milestones as bars over the months, with what each takes in person-months."""
    plan = study.load().plan
    if plan is None or not plan.milestones:
        return theme.empty(f"No milestones: {FILE} names none.")
    milestones = plan.milestones
    figure = go.Figure()
    figure.add_bar(
        orientation="h",
        y=[_label(milestone) for milestone in milestones],
        base=[milestone.start - 1 for milestone in milestones],
        x=[milestone.end - milestone.start + 1 for milestone in milestones],
        text=[f"{milestone.effort:g} PM" for milestone in milestones],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={"color": "#ffffff"},
        marker={"color": theme.PALETTE[0]},
        customdata=[
            f"<b>{theme.escape(milestone.id)}</b>, {_months(milestone)}<br>"
            f"{theme.wrap(milestone.deliverable, 60)}<br>"
            f"shown by: {theme.wrap(milestone.shown_by, 60)}"
            for milestone in milestones
        ],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    figure.add_scatter(
        x=[milestone.end for milestone in milestones],
        y=[_label(milestone) for milestone in milestones],
        mode="markers",
        marker={"symbol": "diamond", "size": 15, "color": theme.PALETTE[1]},
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )
    figure.update_yaxes(autorange="reversed", ticks="", showgrid=False)
    # A month is a column; its number stands in the middle of it.
    figure.update_xaxes(
        range=[0, plan.months + 0.2], tickvals=[month - 0.5 for month in range(1, plan.months + 1)],
        ticktext=[str(month) for month in range(1, plan.months + 1)], ticks="", showgrid=False,
        title_text="month", zeroline=False, tickangle=0,
    )  # fmt: skip
    for month in range(plan.months + 1):
        figure.add_vline(
            x=month, line_width=1, line_color=theme.faded(theme.GREY, 0.3), layer="below"
        )
    figure.update_layout(height=44 * len(milestones) + 52 + 60, margin={"t": 52}, bargap=0.3)
    each = "; ".join(
        f"{milestone.id} {milestone.title}, {_months(milestone)}, "
        f"{milestone.effort:g} person-months"
        for milestone in milestones
    )
    return theme.finish(
        figure,
        alt=f"Gantt chart of {plan.months} months. {each}.",
        caption=(
            f"{plan.effort:g} person-months (PM) in {plan.months} months; a diamond is the "
            "deliverable of a milestone."
        ),
        details=f"Planned: {FILE}.",
        sources=[FILE],
    )


def _label(milestone: Milestone) -> str:
    title = milestone.title.partition(",")[0]
    return f"<b>{theme.escape(milestone.id)}</b> {theme.escape(title, 28)} "


def _months(milestone: Milestone) -> str:
    start, end = milestone.start, milestone.end
    return f"month {start}" if start == end else f"months {start} to {end}"


@registry.figure("Risks by likelihood and impact", plot=True)
def risk_matrix() -> go.Figure:
    """Risks by their numbers in a field of likelihood and impact, five steps each."""
    plan = study.load().plan
    risks = plan.risks if plan else []
    if not risks:
        return theme.empty(f"No risks: {FILE} names none.")
    figure = go.Figure()
    for likelihood in STEPS:
        for impact in STEPS:
            _, hue, alpha = LEVELS[level(likelihood, impact)]
            figure.add_shape(
                type="rect", x0=impact - 0.48, x1=impact + 0.48, y0=likelihood - 0.46,
                y1=likelihood + 0.46, line_width=0, layer="below",
                fillcolor=theme.faded(hue, alpha),
            )  # fmt: skip
    for name, (corner, anchor) in {"low": (1, "bottom"), "high": (5, "top")}.items():
        # In the corner of the field, where no risk's number stands.
        figure.add_annotation(
            text=f"<i>{name}</i>",
            x=corner,
            y=corner + (0.46 if anchor == "top" else -0.46),
            yanchor=anchor,
            font_size=11,
        )
    cells: dict[tuple[int, int], list[Risk]] = {}
    for risk in risks:
        cells.setdefault((risk.likelihood, risk.impact), []).append(risk)
    figure.add_scatter(
        x=[impact for _, impact in cells],
        y=[likelihood for likelihood, _ in cells],
        mode="text",
        text=[
            f"<b>{theme.escape(' '.join(risk.id for risk in group))}</b>"
            for group in cells.values()
        ],
        textfont_size=13,
        customdata=[
            "<br>".join(
                f"<b>{theme.escape(risk.id)}</b> {theme.wrap(risk.text, 60)}<br>"
                f"answer: {theme.wrap(risk.mitigation, 60)}"
                for risk in group
            )
            for group in cells.values()
        ],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    axis = {"range": [0.5, 5.5], "tickvals": list(STEPS), "ticks": "", "showgrid": False,
            "zeroline": False, "showline": False}  # fmt: skip
    figure.update_xaxes(title_text="impact", **axis)
    figure.update_yaxes(title_text="likelihood", **axis)
    figure.update_layout(height=400, margin={"t": 52})
    each = "; ".join(
        f"{risk.id} ({risk.likelihood} × {risk.impact}, {level(risk.likelihood, risk.impact)}): "
        f"{risk.text}"
        for risk in risks
    )
    bounds = f"high from {LEVELS['high'][0]}, medium from {LEVELS['medium'][0]}"
    return theme.finish(
        figure,
        alt=f"Matrix of likelihood and impact, each from 1 to 5. {each}.",
        caption=(
            f"{len(risks)} risks by likelihood and impact, each from 1 (low) to 5 (high), shaded "
            f"by the product of the two: {bounds}."
        ),
        details=f"Planned: {FILE}.",
        sources=[FILE],
        min_width=290,
    )


def level(likelihood: int, impact: int) -> str:
    """``low``, ``medium`` or ``high``, by the product of the two."""
    product = likelihood * impact
    return next(name for name in reversed(LEVELS) if product >= LEVELS[name][0])
