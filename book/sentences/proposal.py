"""Sentences of the proposal whose meaning depends on the data: ``{study-text} proposal-…``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import (
    Ledger,
    Sentence,
    differ,
    has,
    label,
    listed,
    measured,
    number,
    spread,
    value,
)

from . import reports as theirs
from .reports import CLUSTER, HALF, ONE, PROFILE, TWO
from .runs import CONTROL, MIDDLE, OPEN, SLOW, SPREAD

#: The machine that is asked for, and those that could take its place.
TARGET, OTHERS = "lumi-g", ("leonardo", "meluxina")
NAMES = {"lumi-g": "LUMI-G", "leonardo": "Leonardo Booster", "meluxina": "MeluXina"}
REQUEST = f"modelled.request.{TARGET}"
ASKED = f"{REQUEST}.asked"
#: What the brief asked for, in hours.
BRIEF = "reported.proposal.total_hours"


def gpu_runs(numbers: Ledger) -> Sentence:
    """What has not been shown about GPUs, so that no one reads more into the level."""
    arrived = measured(numbers, f"baseline.{CLUSTER}.throughput")
    files = (
        "Files of our GPU runs have been read by the same software, which shows that it can "
        "analyse them, not that it can train on a GPU."
        if arrived
        else "Our GPU runs are known here by summary numbers, marked *reported*."
    )
    return Sentence(
        "arrived" if arrived else "reported",
        f"**Not shown.** {files} Training on GPUs, mixed precision and RCCL or NCCL are in the "
        "code, and are tested as far as CPUs allow. The port is therefore a milestone of its own.",
    )


def measured_scaling(numbers: Ledger) -> Sentence:
    """What our own points show, in one paragraph."""
    strong = {name: f"ddp_2gpu.{name}.efficiency" for name in (OPEN, MIDDLE, SLOW)}
    there = [name for name, key in strong.items() if measured(numbers, key)]
    if not there:
        return Sentence("not run", "No scaling point on two nodes is evidence yet.")
    shown = [f"{spread(strong[name], '.0f')} on {label(name, 'system')}" for name in there]
    text = (
        f"Strong scaling keeps {listed(shown)} (medians and their intervals over "
        f"{value(f'{strong[there[0]]}.n', '.0f', False)} randomised blocks). "
    )
    order = [number(numbers, f"{strong[name]}.median") for name in there]
    falls = len(order) > 1 and order == sorted(order, reverse=True)
    text += f"Efficiency {'falls with' if falls else 'does not follow'} the rate of the link"
    cases = ["falls" if falls else "does not follow"]
    if MIDDLE in there and measured(numbers, CONTROL):
        separate = differ(numbers, CONTROL, strong[MIDDLE], SPREAD)
        cases.append("network" if separate else "overlap")
        text += (
            f"; on {label(MIDDLE, 'system')} the control, the same two ranks in one node, keeps "
            f"{spread(CONTROL, '.0f')}, "
        )
        text += (
            "and the gap is larger than the control's own spread over all links: it is the "
            "network's"
            if separate
            else "which is within the control's own spread"
        )
    text += ". "
    weak = f"ddp_weak.{MIDDLE}.efficiency"
    if MIDDLE in there and measured(numbers, weak):
        text += f"Weak scaling keeps {spread(weak, '.0f')} on {label(MIDDLE, 'system')}"
        if number(numbers, f"{weak}.low") > number(numbers, f"{strong[MIDDLE]}.high"):
            cases.append("weak helps")
            text += ": the same gradients serve twice the images"
        text += ". "
    return Sentence(
        ", ".join(cases),
        text + "These are two ranks on CPUs. They validate method and software. They say nothing "
        "of the efficiency on LUMI-G, which is what we ask the time for.",
    )


def link_check(numbers: Ledger) -> Sentence:
    """What became of the fitted link where it met training steps it had not seen."""
    rows = []
    for name in (OPEN, MIDDLE, SLOW):
        model, observed = f"modelled.ddp_2gpu.{name}", f"ddp_2gpu.{name}.step_time_p50_ms.median"
        if has(numbers, f"{model}.step_ms", observed):
            rows.append((name, f"{model}.step_ms", observed, f"{model}.step_error"))
    if not rows:
        return Sentence(
            "not run",
            "No training step has been measured yet that the model could be held against.",
        )
    against = [
        f"{value(step, ',.0f')} on {label(name, 'system')} (measured: {value(observed, ',.0f')})"
        for name, step, observed, _ in rows
    ]
    outside = [label(name, "system") for name, *_ in rows if _is_outside(numbers, name)]
    worst = max((error for *_, error in rows), key=lambda error: abs(number(numbers, error)))
    where = (
        f"On {listed(outside)} the measured step lies outside the range from full to no overlap: "
        "either the exchange is lost in the noise there, or the model fails. "
        if outside
        else "Every measured step lies between full and no overlap. "
    )
    return Sentence(
        "outside" if outside else "inside",
        "Fitted link by link, the model was tested on training steps that the fit had not used. "
        f"The control's step plus an exchange that hides nothing gives {listed(against)}. {where}"
        f"The largest error of the sum is {value(worst, '+.0f')}. The model has not been "
        "validated on more than two ranks or on other networks.",
    )


def reported_study(numbers: Ledger) -> Sentence:
    """What our runs on GPUs can and cannot support."""
    case = theirs.bases(numbers)
    by_rate = value(f"modelled.{TWO}.efficiency_by_throughput", ".0f", False)
    by_time = value(f"modelled.{TWO}.efficiency_by_epoch_time", ".0f")
    together = {
        "contradict": "These are incompatible if each GPU takes its share of an epoch: the "
        f"efficiency is {by_rate} % by rate and {by_time} by time per epoch. Rate times time is "
        "twice the training set, as if each GPU had trained on all of it. ",
        "agree": "The two agree within rounding. ",
        "open": "The run's own file repeats both, which are incompatible in a sharded epoch. ",
        "arrived": "The run's own file confirms neither. ",
    }[case]
    if settled := theirs.decision(numbers):
        share = by_time if settled.basis == "epoch_time" else f"{by_rate} %"
        together = f"The efficiency is {share}: {settled.why}. "
    return Sentence(
        case,
        "Our runs of the same task on NVIDIA T4, reported here by their summary numbers, give "
        f"{value(f'reported.{ONE}.throughput', ',.0f')} on one GPU, and on two nodes "
        f"{value(f'reported.{TWO}.throughput', ',.0f')} and "
        f"{value(f'reported.{TWO}.epoch_time_s', '.0f')} an epoch. {together}"
        f"{_own_file(numbers)}They have one seed, one scaling point and no weak scaling, and "
        "neither the batch nor the rate of the network was written down. We use them for the order "
        "of magnitude of a step on one GPU, with an assumed batch, and claim no scalability from "
        f"them.{_one_gpu(numbers)}",
    )


def _own_file(numbers: Ledger) -> str:
    """Which file decides a contradiction, while it is not here."""
    if theirs.bases(numbers) != "contradict":
        return ""
    return (
        "The file of that run, `baseline_2649_2gpu_2649.csv`, decides, if it has images and times. "
    )


def _one_gpu(numbers: Ledger) -> str:
    """What mixed precision brought on one GPU, and what its profile names."""
    gain, rate = f"reported.{HALF}.speedup", f"reported.{HALF}.throughput"
    norm, other = (f"reported.{PROFILE}.share.{group}" for group in ("batch_norm", "other"))
    if not has(numbers, gain, rate, norm, other):
        return ""
    return (
        f" In mixed precision one GPU reached {value(rate, ',.0f')}, "
        f"{value(gain, '.2f', False)} times its rate in FP32. Its profile names batch "
        f"normalisation as the largest group, with {value(norm, '.0f')} of the time, and leaves "
        f"{value(other, '.0f')} in no named group, so that the bottleneck is not known."
    )


def evidence(numbers: Ledger) -> Sentence:
    """What has been measured so far, for the abstract."""
    shown = [
        f"{value(f'ddp_2gpu.{name}.efficiency.median', '.0f', True)} of the ideal rate on "
        f"{label(name, 'system')}"
        for name in (MIDDLE, SLOW)
        if measured(numbers, f"ddp_2gpu.{name}.efficiency")
    ]
    if not shown or not measured(numbers, CONTROL):
        text = f"{_gpu_evidence(numbers)}Scaling over a link of known rate is not measured yet."
        return Sentence("not run", text)
    errors = [
        key
        for name in (OPEN, MIDDLE, SLOW)
        if has(numbers, key := f"modelled.ddp_2gpu.{name}.step_error")
    ]
    text = _gpu_evidence(numbers) + (
        "Measured on a Slurm cluster of two emulated nodes without GPUs, two ranks reach "
        f"{listed(shown)}, and {value(f'{CONTROL}.median', '.0f', True)} inside one node"
    )
    if not errors:
        return Sentence("runs", f"{text}.")
    return Sentence(
        "runs and model",
        f"{text}; {_model(numbers, errors)}.",
    )


def _model(numbers: Ledger, errors: list[str]) -> str:
    """What a model of the exchange, which was not fitted to these steps, makes of them."""
    text = "a model of the exchange, fitted to the links alone, "
    least, *_, most = sorted([*errors, errors[0]], key=lambda key: number(numbers, key))
    if number(numbers, least) > 0:
        text += f"overestimates these steps by {value(least, '.0f', False)} to {value(most, '.0f')}"
    else:
        text += f"misses these steps by {value(least, '+.0f', False)} to {value(most, '+.0f')}"
    outside = [name for name in (OPEN, MIDDLE, SLOW) if _is_outside(numbers, name)]
    if outside:
        where = listed([label(name, "system") for name in outside])
        text += f", and on {where} the measured step is outside its range"
    return text


def _is_outside(numbers: Ledger, name: str) -> bool:
    """Whether the measured step lies outside the model's range from full to no overlap."""
    step, observed = f"modelled.ddp_2gpu.{name}.step_ms", f"ddp_2gpu.{name}.step_time_p50_ms.median"
    if not has(numbers, f"{step}.low", f"{step}.high", observed):
        return False
    return (
        not number(numbers, f"{step}.low")
        <= number(numbers, observed)
        <= number(numbers, f"{step}.high")
    )


def _gpu_evidence(numbers: Ledger) -> str:
    """What our runs on two GPUs gave, in a sentence; empty where they are not known."""
    by_rate, by_time = (
        f"modelled.{TWO}.efficiency_by_{basis}" for basis in ("throughput", "epoch_time")
    )
    if not has(numbers, by_rate, by_time):
        return ""
    if settled := theirs.decision(numbers):
        share = by_rate if settled.basis == "throughput" else by_time
        return f"Our runs on two Tesla T4 GPUs have an efficiency of {value(share, '.0f')}. "
    return (
        f"Our runs on two Tesla T4 GPUs have an efficiency of {value(by_rate, '.0f')} by rate and "
        f"{value(by_time, '.0f')} by time per epoch, and the cause is not known. "
    )


def request(numbers: Ledger) -> Sentence:
    """What the core takes, what the rest buys, and how both compare with the hours of the brief."""
    hours, billed = f"{ASKED}.node_hours", f"{ASKED}.billed"
    core, total = f"{REQUEST}.core.node_hours", f"{REQUEST}.total.node_hours"
    outside = f"{REQUEST}.total.overhead_share"
    if not has(numbers, hours, billed, core, total, BRIEF):
        return Sentence("missing", "The request cannot be computed yet.")
    text = (
        f"The core, ResNet-18 on both ladders, needs {value(core, ',.0f')} in the middle case. "
        "ResNet-50, with another ratio of exchange to computation, and a rung of "
        f"{value('plan.gpus.most', '.0f', True)} bring it to {value(total, ',.0f')}. We ask for "
        f"the high case rounded up, **{value(hours, ',.0f')}, or {value(billed, ',.0f')}** in "
        "LUMI's accounting. In the middle case "
        f"{value(outside, '.0f')} of the hours pass outside the steps, in the assumed minutes that "
        "jobs and runs take to start; M1 measures these first. "
    )
    less = number(numbers, hours) < number(numbers, BRIEF)
    brief = value(BRIEF, ",.0f", False)
    strong = [f"modelled.request.{OTHERS[0]}.{phase}.node_hours" for phase in ("port", "strong")]
    if less and has(numbers, *strong):
        port, ladder = (value(key, ",.0f", False) for key in strong)
        text += (
            f"Our first estimate was {brief} GPU-node-hours. Read as node-hours, the rest of "
            f"it would repeat the strong ladder on a second machine: on {NAMES[OTHERS[0]]} the "
            f"port and the ladder need {port} and {ladder} node-hours, for which a second "
            "application would ask. "
        )
    else:
        text += f"Our first estimate was {brief} GPU-node-hours. "
    return Sentence(
        "less" if less else "more",
        f"{text}Every step time is modelled, not yet validated. After M1 has measured the first "
        "steps on the target, the request is computed again, and hours that are not needed are "
        "given back.",
    )


def access(numbers: Ledger) -> Sentence:
    """Which access mode the request fits, by the fixed amounts of the calls."""
    hours = f"{ASKED}.node_hours"
    long, small = (
        f"cited.access.{mode}.{TARGET}.node_hours" for mode in ("development", "benchmark")
    )
    granted = value("cited.access.granted.months", ".0f", False)
    text = (
        "Development access grants a fixed number of node-hours on each partition, "
        f"{value(long, ',.0f', False)} on LUMI-G, after an administrative and a technical check "
        "without scientific review {cite:p}`prop-trubaaccess`. It lasted "
        f"{value('cited.access.development.months')} under the calls of 2025, and {granted} for a "
        "project that began in September 2026 {cite:p}`prop-eullmgrant`. Benchmark access grants "
        f"{value(small, ',.0f', False)} there for at most "
        f"{value('cited.access.benchmark.months')}. Whether less than the fixed number may be "
        "asked for is to be agreed with the site. The call in force "
        "{cite:p}`prop-eurohpcdevelopment` decides; we read it again before we apply. "
    )
    if not has(numbers, hours, long, small):
        return Sentence("missing", text)
    if number(numbers, hours) > number(numbers, long):
        return Sentence(
            "neither",
            text + "The request exceeds both: the rung of the last phase is then cut first.",
        )
    if number(numbers, hours) > number(numbers, small):
        return Sentence(
            "development",
            text + "The request fits Development access and exceeds Benchmark access.",
        )
    fits = [
        f"{NAMES[machine]} ({value(f'modelled.request.{machine}.asked.node_hours', ',.0f')})"
        for machine in OTHERS
        if fits_development(numbers, machine)
    ]
    also = f" The whole plan also fits the grant of {listed(fits)}." if fits else ""
    return Sentence(
        "either",
        f"{text}By its hours the request fits either. We choose Development for its length: M1 to "
        f"M3 alone take longer than Benchmark access lasts.{also}",
    )


def fits_development(numbers: Ledger, machine: str) -> bool:
    """Whether a Development grant on a machine is enough for the hours asked for there."""
    asked = f"modelled.request.{machine}.asked.node_hours"
    granted = f"cited.access.development.{machine}.node_hours"
    return asked in numbers and number(numbers, asked) <= number(numbers, granted)


SENTENCES: Mapping[str, Callable[[Ledger], Sentence]] = {
    "proposal-access": access,
    "proposal-evidence": evidence,
    "proposal-gpu-runs": gpu_runs,
    "proposal-link-check": link_check,
    "proposal-measured": measured_scaling,
    "proposal-reported": reported_study,
    "proposal-request": request,
}
