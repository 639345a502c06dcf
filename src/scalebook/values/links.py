"""Numbers of the fitted links, and of the steps that they were held against.

=====================================================  ============================================
key                                                    value
=====================================================  ============================================
``modelled.link.<system>.<parameter>``                 ``alpha_us``, ``bandwidth_gb_s``,
                                                       ``efficiency``, ``error``, ``error_max``
``modelled.<experiment>.<system>.step_ms``             with nothing of the exchange hidden
``modelled.<experiment>.<system>.exchange_ms``         a ring all-reduce of all gradients
``modelled.<experiment>.<system>.step_error``          in percent of the measured step
=====================================================  ============================================

The ends of an interval are numbers of their own as well, with ``.low`` or ``.high`` behind the key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from scalebook.analysis.link_model import NOT_VALIDATED, LinkCheck, LinkFit, fit, link_checks
from scalebook.values.inputs import Inputs
from scalebook.values.value import Value, dotted, result_files, with_ends


def links(inputs: Inputs) -> Iterator[Value]:
    """Parameters of the fitted links, and how far steps are from what they give."""
    for link in inputs.links.values():
        yield from _of_link(link)
    for check in link_checks(inputs.step_parts, inputs.links):
        yield from _of_check(check)


def _of_link(link: LinkFit) -> Iterator[Value]:
    shares = [("error", link.error), ("error_max", link.error_max)]
    if link.efficiency:
        shares.append(("efficiency", link.efficiency))
    for metric, unit, number, low, high in (
        ("alpha_us", "µs", 1e6 * link.alpha, 1e6 * link.alpha_low, 1e6 * link.alpha_high),
        ("bandwidth_gb_s", "GB/s", 1e-9 * link.beta, 1e-9 * link.beta_low, 1e-9 * link.beta_high),
        *((name, "%", 100 * share, None, None) for name, share in shares),
    ):
        yield from with_ends(
            Value(
                key=f"modelled.link.{link.system}.{metric}",
                value=number,
                unit=unit,
                kind="modelled",
                source=(
                    "ring model 2 (n - 1) α + 2 (n - 1) / n · bytes / β, least relative errors "
                    f"over {link.points} message sizes on {link.system}; {NOT_VALIDATED} elsewhere"
                ),
                n=link.points,
                low=low,
                high=high,
                runs=link.stems,
                files=result_files("allreduce", link.stems),
                where="columns bytes and latency_us",
                code=dotted(fit),
            )
        )


def _of_check(check: LinkCheck) -> Iterator[Value]:
    one, n = check.parts.one, check.parts.parts["step"].n
    prefix = f"modelled.{one['experiment']}.{one['system']}"
    step = Value(
        key=f"{prefix}.step_ms",
        value=check.step_ms,
        unit="ms",
        kind="modelled",
        source=(
            f"modelled for {one['experiment']} on {one['system']}: step of the control, "
            f"{check.control_ms:.4g} ms, and a ring all-reduce of all gradients after it; "
            f"measured {check.measured_ms:.4g} ms, n = {n}"
        ),
        n=n,
        low=check.step_ms_low,
        high=check.step_ms_high,
        runs=(*check.parts.stems, *check.link.stems),
        files=(
            *result_files("steps", check.parts.stems),
            *result_files("allreduce", check.link.stems),
        ),
        where="column step_time_s, median of timed steps; columns bytes and latency_us",
        code=dotted(link_checks),
    )
    yield from with_ends(step)
    alone = dataclasses.replace(step, low=None, high=None)
    yield dataclasses.replace(alone, key=f"{prefix}.exchange_ms", value=check.exchange_ms)
    yield dataclasses.replace(alone, key=f"{prefix}.step_error", value=check.error, unit="%")
