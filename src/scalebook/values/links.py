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

import dataclasses
from collections.abc import Iterator

from scalebook.analysis.link_model import NOT_VALIDATED, LinkCheck, LinkFit, fit, link_checks
from scalebook.analysis.study_queries import label
from scalebook.values.inputs import Inputs
from scalebook.values.value import Value, origin, result_files, with_ends


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
    make = origin(
        "link", fit, link.stems, link=link, not_validated=NOT_VALIDATED,
        machine=label(link.system, "system"),
    )  # fmt: skip
    prefix, jobs = f"modelled.link.{link.system}", link.beta.n
    for metric, unit, summary in (
        ("alpha_us", "µs", link.alpha.times(1e6)),
        ("bandwidth_gb_s", "GB/s", link.beta.times(1e-9)),
    ):
        value = make(f"{prefix}.{metric}", summary.median, unit, n=jobs)
        if link.has_interval:
            value = dataclasses.replace(value, low=summary.low, high=summary.high)
        yield from with_ends(value)
    for name, share in shares:
        yield make(f"{prefix}.{name}", 100 * share, "%", n=jobs)


def _of_check(check: LinkCheck) -> Iterator[Value]:
    configuration, n = check.parts.one, check.parts.parts["step"].n
    prefix = f"modelled.{configuration['experiment']}.{configuration['system']}"
    runs = (*check.parts.stems, *check.link.stems)
    make = origin("step on a link", link_checks, runs, check=check, one=configuration, n=n)
    files = (
        *result_files("steps", tuple(check.parts.stems)),
        *result_files("allreduce", tuple(check.link.stems)),
    )
    ends = {"low": check.step_ms_low, "high": check.step_ms_high}
    step = make(f"{prefix}.step_ms", check.step_ms, n=n, files=files, **ends)
    yield from with_ends(step)
    alone = dataclasses.replace(step, low=None, high=None)
    yield dataclasses.replace(alone, key=f"{prefix}.exchange_ms", value=check.exchange_ms)
    yield dataclasses.replace(alone, key=f"{prefix}.step_error", value=check.error, unit="%")
