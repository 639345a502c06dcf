"""The link model held against training steps, which it was not fitted to.

`linkmodel` is fitted to all-reduces with nothing beside them. A training step on as many nodes as
ranks gives the model something to fail at: with t_c the step of the control (the same ranks and
batches on one node) and T the modelled all-reduce of all gradients, a step takes

=================  =====================  ====================================================
case               step                   meaning
=================  =====================  ====================================================
everything hides   max(t_c, T)            the exchange runs behind the backward pass
nothing hides      t_c + T                the backward pass ends before the exchange begins
=================  =====================  ====================================================

and a measured step belongs between the two, T at the ends of the fit's interval. The second is the
middle case of `steptime`, so its error here is what is known about that model. The control has an
exchange of its own, inside the node, so that "nothing hides" counts a little too much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pandas as pd

from scalebook.analysis import linkmodel
from scalebook.analysis.comparable import plain
from scalebook.analysis.step_parts import overheads
from scalebook.values.value import Value, result_files

COLUMNS = (
    "experiment", "system", "world_size", "n", "measured_ms", "control_ms", "exchange_ms",
    "step_ms", "step_ms_low", "step_ms_high", "error", "inside", "stems", "curves",
)  # fmt: skip


def link_check() -> pd.DataFrame:
    """Hold every fitted link against the parallel steps measured on it.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, a row a configuration with one rank a node and a control: times in ms,
        ``step_ms`` with nothing hidden and, in ``_low`` and ``_high``, the two cases at the ends of
        the fit's interval; ``error`` of ``step_ms`` against the measured step in percent; whether
        the measured step is ``inside``.
    """
    links = linkmodel.fits()
    rows = []
    for row in overheads().to_dict("records"):
        link = links.get(row["system"])
        known = plain(row["control_ms"]) and plain(row["gradient_bytes"])
        # With several ranks on a node, only some hops of the ring cross the link.
        if link is None or not known or row["nodes"] != row["world_size"]:
            continue
        rows.append(_row(row, link))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(row: dict, link: linkmodel.LinkFit) -> dict:
    ranks, size, control = row["world_size"], row["gradient_bytes"], row["control_ms"]
    exchange, fast, slow = (
        1e3 * linkmodel.ring_seconds(ranks, size, alpha, beta)
        for alpha, beta in (
            (link.alpha, link.beta),
            (link.alpha_low, link.beta_high),
            (link.alpha_high, link.beta_low),
        )
    )
    low, high = max(control, fast), control + slow
    return {
        **{name: row[name] for name in ("experiment", "system", "world_size", "n", "stems")},
        "measured_ms": row["step_ms"],
        "control_ms": control,
        "exchange_ms": exchange,
        "step_ms": control + exchange,
        "step_ms_low": low,
        "step_ms_high": high,
        "error": 100 * ((control + exchange) / row["step_ms"] - 1),
        "inside": low <= row["step_ms"] <= high,
        "curves": list(link.stems),
    }


def values() -> Iterator[Value]:
    """Numbers of the check.

    Yields
    ------
    Value
        ``modelled.<experiment>.<system>.step_ms``, its ends with ``.low`` and ``.high``,
        ``.exchange_ms``, and ``.step_error`` in percent of the measured step.
    """
    for row in link_check().to_dict("records"):
        source = (
            f"modelled for {row['experiment']} on {row['system']}: step of the control, "
            f"{row['control_ms']:.4g} ms, and a ring all-reduce of all gradients after it; "
            f"measured {row['measured_ms']:.4g} ms, n = {row['n']}"
        )
        step = Value(
            key=f"modelled.{row['experiment']}.{row['system']}.step_ms",
            value=float(row["step_ms"]),
            unit="ms",
            kind="modelled",
            source=source,
            n=int(row["n"]),
            low=float(row["step_ms_low"]),
            high=float(row["step_ms_high"]),
            runs=(*row["stems"], *row["curves"]),
            files=(
                *result_files("steps", row["stems"], ".csv.gz"),
                *result_files("allreduce", row["curves"], ".csv"),
            ),
            where="column step_time_s, median of timed steps; columns bytes and latency_us",
            code="scalebook.analysis.linkcheck.link_check",
        )
        yield step
        prefix = step.key.removesuffix(".step_ms")
        for key, number, unit in (
            (f"{step.key}.low", row["step_ms_low"], "ms"),
            (f"{step.key}.high", row["step_ms_high"], "ms"),
            (f"{prefix}.exchange_ms", row["exchange_ms"], "ms"),
            (f"{prefix}.step_error", row["error"], "%"),
        ):
            yield dataclasses.replace(
                step, key=key, value=float(number), unit=unit, low=None, high=None
            )
