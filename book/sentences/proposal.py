"""Sentences of the proposal whose meaning depends on the data: ``{study-text} proposal-…``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import Ledger, apart, has, listed, measured, number, spread, value

from . import reports as theirs
from .reports import CLUSTER, ONE, TWO
from .runs import MIDDLE, OPEN, SLOW

#: The machine that is asked for, and those that could take its place.
TARGET, OTHERS = "lumi-g", ("leonardo", "meluxina")
NAMES = {"lumi-g": "LUMI-G", "leonardo": "Leonardo Booster", "meluxina": "MeluXina"}
REQUEST = f"modelled.request.{TARGET}"
ASKED = f"{REQUEST}.asked"
#: What the brief asked for, in hours.
BRIEF = "reported.proposal.total_hours"


def gpu_runs(known: Ledger) -> str:
    """What has not been shown about GPUs, so that no one reads more into the level."""
    said = (
        "**Not shown.** The authors have made no run on a GPU of their own. Training on GPUs, "
        "mixed precision and RCCL or NCCL are in the code, and their paths are tested as far as "
        "processors allow; the port is therefore a milestone and not a formality. "
    )
    if measured(known, f"baseline.{CLUSTER}.throughput"):
        return said + (
            "Files of the reported GPU runs have arrived and were read by the same software, "
            "which supports their analysis but not its training code."
        )
    return said + (
        "GPU numbers in this document were reported by others without their files, and are marked."
    )


def measured_scaling(known: Ledger) -> str:
    """What our own points show, in one paragraph."""
    strong = {name: f"ddp_2gpu.{name}.efficiency" for name in (OPEN, MIDDLE, SLOW)}
    there = [name for name, key in strong.items() if measured(known, key)]
    if not there:
        return "No scaling point on two nodes is evidence yet."
    shown = [f"{spread(strong[name], '.0f')} on `{name}`" for name in there]
    said = f"On two nodes strong scaling keeps {listed(shown)} (medians and ranges over seeds). "
    order = [number(known, f"{strong[name]}.median") for name in there]
    if len(order) > 1 and order == sorted(order, reverse=True):
        said += "Efficiency falls with the rate of the link"
    else:
        said += "Efficiency does not follow the rate of the link"
    control = f"ddp_1node.{MIDDLE}.efficiency"
    if measured(known, control) and MIDDLE in there:
        separate = apart(known, control, strong[MIDDLE])
        said += (
            f"; on `{MIDDLE}` the control, the same two ranks in one node, keeps "
            f"{spread(control, '.0f')}, "
            + (
                "so that the difference is the network's. "
                if separate
                else "which does not differ by more than the spread. "
            )
        )
    else:
        said += ". "
    weak = f"ddp_weak.{MIDDLE}.efficiency"
    if measured(known, weak) and MIDDLE in there:
        more = number(known, f"{weak}.low") > number(known, f"{strong[MIDDLE]}.high")
        said += f"Weak scaling keeps {spread(weak, '.0f')} on `{MIDDLE}`" + (
            ", since the same gradients serve twice the images. " if more else ". "
        )
    return said + (
        "These are two ranks on processors. They validate method and software and say nothing of "
        "the efficiency on LUMI-G, which is what the time is asked for."
    )


def link_check(known: Ledger) -> str:
    """What became of the fitted link where it met training steps it had not seen."""
    rows = []
    for name in (OPEN, MIDDLE, SLOW):
        model, found = f"modelled.ddp_2gpu.{name}", f"ddp_2gpu.{name}.step_time_p50_ms.median"
        if has(known, f"{model}.step_ms", found):
            rows.append((name, f"{model}.step_ms", found, f"{model}.step_error"))
    if not rows:
        return "No training step has been measured yet that the model could be held against."
    against = [
        f"{value(step, ',.0f')} on `{name}` (measured: {value(found, ',.0f')})"
        for name, step, found, _ in rows
    ]
    said = (
        "Then it met training steps that it had not seen, on two nodes. The control's step, and "
        f"after it an exchange of which nothing hides, give {listed(against)}. "
    )
    outside = [
        f"`{name}`"
        for name, step, found, _ in rows
        if not number(known, f"{step}.low") <= number(known, found) <= number(known, f"{step}.high")
    ]
    if outside:
        said += (
            f"On {listed(outside)} the measured step is not between the cases that all and that "
            "none of the exchange hides: there the model fails. "
        )
    else:
        said += (
            "Every measured step is between the cases that all and that none of the exchange "
            "hides. "
        )
    worst = max((error for *_, error in rows), key=lambda error: abs(number(known, error)))
    return said + (
        f"The largest error of the sum is {value(worst, '+.0f')}. More than two ranks, and "
        "other networks, have not validated it."
    )


def reported_study(known: Ledger) -> str:
    """What the reported GPU numbers can and cannot support."""
    rate = value(f"reported.{TWO}.throughput", ",.0f")
    epoch = value(f"reported.{TWO}.epoch_time_s", ".0f")
    said = (
        f"One earlier study of the same task on one and two NVIDIA T4 is known by its summary. It "
        f"reports {value(f'reported.{ONE}.throughput', ',.0f')} on one GPU, and on two nodes "
        f"{rate} and {epoch} an epoch. "
    )
    case = theirs.bases(known)
    if case == "contradict":
        by_rate = value(f"modelled.{TWO}.efficiency_by_throughput", ".0f", False)
        by_time = value(f"modelled.{TWO}.efficiency_by_epoch_time", ".0f")
        said += (
            f"These exclude each other: by throughput the efficiency is {by_rate} %, by time per "
            f"epoch {by_time}. "
        )
    elif case == "agree":
        said += "The two agree within rounding. "
    elif case == "open":
        said += "The run's own file repeats both, which exclude each other in a sharded epoch. "
    else:
        said += "The run's own file has arrived and decides which holds; see the paper. "
    return said + (
        "Its batch, the rate of its network and the spread were not reported, and it has one seed, "
        "one scaling point and no weak ladder. We use it for one purpose, as the order of "
        "magnitude of the step time of one GPU with an assumed batch, and claim no scalability "
        "from it."
    )


def request(known: Ledger) -> str:
    """How the computed request compares with that of the brief, and what is asked for."""
    hours, billed = f"{ASKED}.node_hours", f"{ASKED}.billed"
    middle = f"{REQUEST}.total.node_hours"
    if not has(known, hours, billed, middle, BRIEF):
        return "The request cannot be computed yet."
    brief, asked = value(BRIEF, ",.0f", False), value(hours, ",.0f")
    said = (
        f"The middle case needs {value(middle, ',.0f')}. We ask for the high case rounded up, "
        f"**{asked}, or {value(billed, ',.0f')}** in LUMI's accounting, "
        "where a GPU is a whole module: two of the GPUs that Slurm sees and that we count. "
    )
    if number(known, hours) < number(known, BRIEF):
        said += (
            f"That is less than the {brief} hours of an earlier estimate, and we say so "
            "rather than round up to it: hundreds of steps of a small model take seconds, and most "
            "of the time is the start of many separate jobs. They are separate on purpose. Nodes, "
            "routes and clocks differ between allocations, and this spread counts too. "
        )
    else:
        said += (
            f"That is more than the {brief} hours of an earlier estimate, whose sum lacked a "
            "factor. "
        )
    return said + (
        "Every second of a step in it is modelled, not yet validated. After M1 has measured the "
        "first steps on the target, the table is computed again, and hours that turn out not to be "
        "needed are given back."
    )


def access(known: Ledger) -> str:
    """Which access mode the request fits, by the fixed amounts of the calls."""
    hours = f"{ASKED}.node_hours"
    long, small = (
        f"cited.access.{mode}.{TARGET}.node_hours" for mode in ("development", "benchmark")
    )
    said = (
        "Development access grants a fixed number of node-hours for each partition, "
        f"{value(long, ',.0f', False)} on LUMI-G, for {value('cited.access.development.months')}, "
        "after an administrative and a technical check without scientific review; Benchmark "
        f"access grants {value(small, ',.0f', False)} there for at most "
        f"{value('cited.access.benchmark.months')} {{cite:p}}`prop-trubaaccess,prop-hpccceurohpc`. "
        "Both are open continuously with a date each month. "
    )
    if not has(known, hours, long, small):
        return said
    if number(known, hours) <= number(known, small):
        said += (
            "By its hours the request fits either. Development is chosen for its length: M1 to M3 "
            "alone take longer than Benchmark access lasts"
        )
        fits = [
            NAMES[machine]
            for machine in OTHERS
            if has(known, f"modelled.request.{machine}.asked.node_hours")
            and number(known, f"modelled.request.{machine}.asked.node_hours")
            <= number(known, f"cited.access.development.{machine}.node_hours")
        ]
        said += f". By hours the same holds on {listed(fits)}." if fits else "."
    elif number(known, hours) <= number(known, long):
        said += "The request fits Development access and exceeds Benchmark access."
    else:
        said += "The request exceeds both: the ladder of the last phase is then cut first."
    return said


SENTENCES: Mapping[str, Callable[[Ledger], str]] = {
    "proposal-access": access,
    "proposal-gpu-runs": gpu_runs,
    "proposal-link-check": link_check,
    "proposal-measured": measured_scaling,
    "proposal-reported": reported_study,
    "proposal-request": request,
}
