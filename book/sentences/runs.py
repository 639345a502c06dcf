"""Sentences about our own runs: what the link, the batch and the second rank did."""

from __future__ import annotations

from scalebook.analysis.text import count
from scalebook.values.sentences import (
    Ledger,
    Sentence,
    apart,
    below,
    differ,
    has,
    label,
    listed,
    measured,
    number,
    spread,
    value,
)

from .reports import GPUS, ONE, TWO

#: Systems of the link experiment, from the slowest link; the last one is open.
SLOW, MIDDLE, OPEN = "mini-200mbit", "mini-1gbit", "mini-open"
#: Rate of the middle link, as its role.
RATE = value(f"cited.{MIDDLE}.link_gbit_s", "g", False)
#: Efficiency of two nodes over the middle link; of the same ranks in one node beside them; and by
#: what factor the latter differs from itself over all links, which do not change it.
RUN, CONTROL = f"ddp_2gpu.{MIDDLE}.efficiency", f"ddp_1node.{MIDDLE}.efficiency"
SPREAD = "control.ddp_1node.spread"
YARDSTICK = (
    "Over all links and blocks, the control's largest efficiency is "
    f"{value(SPREAD, '.2f', False)} times its smallest"
)


def slower(numbers: Ledger, gain: str) -> bool:
    """Whether a speed-up is below one as far as its interval goes."""
    return measured(numbers, gain) and number(numbers, f"{gain}.high") < 1.0


def link_effect(numbers: Ledger) -> Sentence:
    """Whether the loss at a limited link is the network's."""
    if not measured(numbers, RUN, CONTROL):
        return Sentence("not run", "The link experiment has not been run yet.")
    text = (
        f"At {RATE} Gbit/s two nodes reach an efficiency of {spread(RUN, '.0f')}, and the control "
        f"inside one node {spread(CONTROL, '.0f')}. "
    )
    if not differ(numbers, RUN, CONTROL, SPREAD):
        return Sentence("overlap", f"{text}{YARDSTICK}: the experiment does not separate the two.")
    case, factor = "control slower", f"ddp_2gpu.{MIDDLE}.control_ratio"
    gap = "The gap"
    if measured(numbers, factor):
        gap = f"The gap, a factor of {spread(factor, '.2f', False)},"
    effect = (
        f"{YARDSTICK}. {gap} is larger, but the control is the slower one: the network is not the "
        "cause."
    )
    if below(numbers, RUN, CONTROL):
        case = "network"
        effect = (
            f"{YARDSTICK}. {gap} is larger, and the two differ only in the path between the ranks: "
            "the network causes it, not data parallelism itself."
        )
    gain = f"ddp_2gpu.{MIDDLE}.speedup"
    if slower(numbers, gain):
        case += ", slower than one node"
        effect += (
            f" With a speed-up of {spread(gain, '.2f', False)}, the second node makes training "
            "slower than one rank alone."
        )
    slowest = f"ddp_2gpu.{SLOW}.efficiency"
    if measured(numbers, slowest):
        rate = value(f"cited.{SLOW}.link_gbit_s", "g", False)
        effect += f" At {rate} Gbit/s, {spread(slowest, '.0f')} remain."
    return Sentence(case, text + effect)


def open_link(numbers: Ledger) -> Sentence:
    """What a second node costs where the link is not limited."""
    run, control = f"ddp_2gpu.{OPEN}.efficiency", f"ddp_1node.{OPEN}.efficiency"
    if not measured(numbers, run, control):
        return Sentence("not run", "No run over an open link is evidence yet.")
    text = (
        "{numref}`fig-scaling` shows the small cluster. "
        f"Over the open link the efficiency is {spread(run, '.0f')} on two nodes and "
        f"{spread(control, '.0f')} inside one node"
    )
    if differ(numbers, run, control, SPREAD):
        return Sentence("not free", f"{text}: even a link without a limit is not free.")
    return Sentence(
        "overlap", f"{text}: a difference within the control's own spread, so no cost is shown."
    )


def weak_effect(numbers: Ledger) -> Sentence:
    """Whether a larger batch a rank helps where the link is slow."""
    weak = f"ddp_weak.{MIDDLE}.efficiency"
    if not measured(numbers, weak, RUN):
        return Sentence("not run", "No weak-scaling run on a limited link is evidence yet.")
    text = (
        f"At {RATE} Gbit/s, weak scaling reaches {spread(weak, '.0f')}, and strong scaling "
        f"{spread(RUN, '.0f')}: "
    )
    if not differ(numbers, weak, RUN, SPREAD):
        text += "no more than the control differs from itself, so that a larger batch is not shown"
        return Sentence("overlap", f"{text} to help.")
    if below(numbers, weak, RUN):
        return Sentence("worse", text + "the larger batch does worse, against expectation.")
    text += (
        "the same gradients serve twice the images. There is no control at the larger batch, so "
        "that the network's part in this is not known."
    )
    gain = f"ddp_weak.{MIDDLE}.speedup"
    if not slower(numbers, gain):
        return Sentence("helps", text)
    return Sentence(
        "helps, no faster than one",
        f"{text} Even so, two nodes train no faster than one ({spread(gain, '.2f', False)} times).",
    )


def links_compared(numbers: Ledger) -> Sentence:
    """By what factor the efficiency of each kind of run falls from link to link: A/A beside A/B."""
    kinds = {"ddp_1node": "the control", "ddp_2gpu": "strong", "ddp_weak": "weak scaling"}
    slow = value(f"cited.{SLOW}.link_gbit_s", "g", False)
    pairs = {
        (OPEN, MIDDLE): f"from full rate to {RATE} Gbit/s",
        (MIDDLE, SLOW): f"from there to {slow} Gbit/s",
    }
    keys = {(pair, kind): f"contrast.{kind}.{'.'.join(pair)}" for pair in pairs for kind in kinds}
    if not measured(numbers, *keys.values()) or not has(numbers, SPREAD):
        return Sentence("not run", "")
    first, then = ([spread(keys[pair, kind], ".2f", False) for kind in kinds] for pair in pairs)
    named = listed([f"{factor} for {kind}" for factor, kind in zip(first, kinds.values())])
    text = (
        f"Within a block, efficiency falls {pairs[OPEN, MIDDLE]} by a factor of {named}, and "
        f"{pairs[MIDDLE, SLOW]} by {listed(then)}. "
    )
    rule = f"Against {value(SPREAD, '.2f', False)}, the control's own spread, "
    small = [
        f"that of {kinds[kind].partition(' ')[0]} scaling {pairs[pair]}"
        for (pair, kind), key in keys.items()
        if kind != "ddp_1node" and number(numbers, f"{key}.median") <= number(numbers, SPREAD)
    ]
    if not small:
        return Sentence("all count", f"{text}{rule}every loss of strong and weak scaling counts.")
    return Sentence(
        f"{len(small)} too small",
        f"{text}{rule}every loss of strong and weak scaling counts but {listed(small)}.",
    )


def product(numbers: Ledger) -> Sentence:
    """Why rate times time per epoch is not quite the number of images, on one machine."""
    rate, time = "ddp_2gpu.local.efficiency", "ddp_2gpu.local.efficiency_by_epoch_time"
    if not measured(numbers, rate, time):
        return Sentence("not run", "")
    return Sentence(
        "two ways",
        f"For our runs on {label('local', 'system')} it is not exact: the time includes "
        "validation and is that of the median epoch, while the rate is over all epochs together, "
        "without warm-up and validation. By time, two ranks there have an efficiency of "
        f"{spread(time, '.0f')} instead of {spread(rate, '.0f')}.",
    )


def overlap(numbers: Ledger) -> Sentence:
    """The network's part of a step against the shortest time the exchange can take."""
    cases, parts = [], []
    for system in (MIDDLE, SLOW):
        part, floor = f"ddp_2gpu.{system}.network_ms", f"modelled.ddp_2gpu.{system}.transfer_ms"
        if not (measured(numbers, part) and has(numbers, floor)):
            continue
        case, note = "about", ""
        if number(numbers, f"{part}.high") < number(numbers, floor):
            case = "less"
            note = " (less: a part hides behind the backward pass, or is in the control already)"
        elif number(numbers, f"{part}.low") > number(numbers, floor):
            case, note = "more", " (more: latency and the work of sending come on top)"
        rate = value(f"cited.{system}.link_gbit_s", "g", False)
        cases.append(case)
        parts.append(
            f"{spread(part, ',.0f')} at {rate} Gbit/s, where a ring at the rate of the link takes "
            f"{value(floor, ',.0f')}{note}"
        )
    if not parts:
        return Sentence(
            "missing", "How long the exchange takes at least is not known for these links."
        )
    return Sentence(
        ", ".join(cases),
        "{numref}`fig-overheads` splits the step into parts. "
        f"The second node adds {', and '.join(parts)}.",
    )


def curve(numbers: Ledger) -> Sentence:
    """What the model of a link says, fitted to the measured all-reduce."""
    prefix = f"modelled.link.{MIDDLE}"
    bandwidth, latency = f"{prefix}.bandwidth_gb_s", f"{prefix}.alpha_us"
    if not has(numbers, bandwidth, latency):
        return Sentence("missing", "The all-reduce curves are shown without a fitted model.")
    bandwidth_fitted = _with_interval(numbers, bandwidth, ".3f")
    if has(numbers, f"{latency}.low") and number(numbers, f"{latency}.low") <= 0:
        latency_fitted = f", and at most {value(f'{latency}.high', ',.0f')} for $\\alpha$, which "
        latency_fitted += "messages of this size do not determine"
    else:
        latency_fitted = f" and $\\alpha$ = {_with_interval(numbers, latency, ',.0f')}"
    jobs = count(numbers[bandwidth].n, "job")
    text = (
        "{numref}`fig-allreduce` measures the exchange alone. "
        f"Fitted to messages of 1 MiB and more in {jobs} at {RATE} Gbit/s, {{eq}}`eq-ring` gives "
        f"$\\beta$ = {bandwidth_fitted}{latency_fitted}"
    )
    missed = f"modelled.ddp_2gpu.{MIDDLE}.step_error"
    if not has(numbers, missed):
        return Sentence("untested", text + ". Nothing that was not fitted has tested this yet.")
    return Sentence(
        "tested",
        f"{text}. The control's step plus this exchange, without overlap, predicts the step of two "
        f"nodes, to which nothing was fitted, with an error of {_errors(numbers)}.",
    )


def ladders(numbers: Ledger) -> Sentence:
    """Efficiency over more than two ranks, rung by rung; empty where nothing is that long."""
    rungs: dict[tuple[str, str], dict[float, str]] = {}
    for key in numbers:
        prefix, found, _ = key.partition(".efficiency.median")
        size = f"{prefix}.world_size"
        if found and has(numbers, size) and measured(numbers, f"{prefix}.efficiency"):
            experiment, system = prefix.split(".")[:2]
            rungs.setdefault((experiment, system), {})[number(numbers, size)] = prefix
    cases, parts = [], []
    for (experiment, system), rung in sorted(rungs.items()):
        if max(rung) <= GPUS:
            continue
        ranks = sorted(rung)
        shown = [
            f"{spread(f'{rung[n]}.efficiency', '.0f')} on "
            f"{value(f'{rung[n]}.world_size', '.0f', False)}"
            for n in ranks
        ]
        last, first = rung[ranks[-1]], rung[ranks[0]]
        text = f"The {label(experiment)} on {label(system, 'system')} keeps {listed(shown)} ranks"
        falls = len(ranks) > 1 and below(numbers, f"{last}.efficiency", f"{first}.efficiency")
        cases.append("falls" if falls else "holds")
        if len(ranks) > 1:
            text += (
                ": the longer it gets, the less of the ideal is left."
                if falls
                else ": no loss between its ends is shown."
            )
        parts.append(text.rstrip(".") + ".")
    return Sentence(", ".join(cases) or "none", " ".join(parts))


def options(numbers: Ledger) -> Sentence:
    """What options of DDP bring: runs compared with others of as many ranks; else empty."""
    cases, parts = [], []
    for key in sorted(numbers):
        prefix, found, _ = key.partition(".speedup.median")
        gain, size = f"{prefix}.speedup", f"{prefix}.world_size"
        if not found or not has(numbers, size) or not measured(numbers, gain):
            continue
        if number(numbers, size) < GPUS or has(numbers, f"{prefix}.efficiency.median"):
            continue
        experiment, system = prefix.split(".")[:2]
        case, verdict = "not shown", "a difference is not shown"
        if number(numbers, f"{gain}.low") > 1:
            case, verdict = "gain", "it pays"
        elif slower(numbers, gain):
            case, verdict = "loss", "it costs"
        cases.append(case)
        name = label(experiment)
        parts.append(
            f"{name[:1].upper()}{name[1:]} on {label(system, 'system')} trains "
            f"{spread(gain, '.2f', False)} times as fast as its reference, both on "
            f"{value(size, '.0f', False)} ranks: {verdict}."
        )
    return Sentence(", ".join(cases) or "none", " ".join(parts))


def _errors(numbers: Ledger) -> str:
    """Errors of the modelled step, link by link."""
    found = [
        f"{value(key, '+.0f')} on {label(name, 'system')}"
        for name in (OPEN, MIDDLE, SLOW)
        if has(numbers, key := f"modelled.ddp_2gpu.{name}.step_error")
    ]
    return listed(found)


def _with_interval(numbers: Ledger, key: str, spec: str) -> str:
    """A fitted number, with its interval where the ledger has the ends as numbers of their own."""
    if not has(numbers, f"{key}.low", f"{key}.high"):
        return value(key, spec)
    low, high = value(f"{key}.low", spec, False), value(f"{key}.high", spec, False)
    return f"{value(key, spec, False)} ({low}–{high}) {numbers[key].unit}"


def same_training(numbers: Ledger) -> Sentence:
    """Whether the link changed what was computed, by the accuracies of all runs of two ranks."""
    finals = [
        f"{kind}.{system}.final_val_acc"
        for kind in ("ddp_1node", "ddp_2gpu")
        for system in (OPEN, MIDDLE, SLOW)
    ]
    if not measured(numbers, *finals):
        return Sentence("not run", "The runs behind the different links are not all there yet.")
    ends = ("low", "median", "high")
    found = {tuple(number(numbers, f"{final}.{end}") for end in ends) for final in finals}
    if len(found) == 1:
        return Sentence(
            "same",
            "All runs of two ranks with the baseline's global batch end at the same accuracies, "
            "seed by seed, over every link: over these few steps the link changes the time of "
            "training, not its result, as it must.",
        )
    if len({number(numbers, f"{final}.n") for final in finals}) > 1:
        # With a seed missing behind one link, another median says nothing about the link.
        return Sentence(
            "runs missing",
            "The accuracies of two ranks cannot be compared between the links yet: some links have "
            "more runs than others.",
        )
    return Sentence(
        "different",
        "The accuracies of two ranks differ between the links, which they should not.",
    )


def accuracies(numbers: Ledger) -> Sentence:
    """Whether one and two ranks train to the same accuracy, measured and reported."""
    one_rank, two_ranks = "baseline.local.final_val_acc", "ddp_2gpu.local.final_val_acc"
    reported = [f"reported.{job}.final_val_acc" for job in (ONE, TWO)]
    report = (
        f"On the cluster, one GPU ended at {value(reported[0], '.2f')} and two at "
        f"{value(reported[1], '.2f')}, with one seed each"
    )
    if not measured(numbers, one_rank, two_ranks):
        return Sentence("not run", f"{report}; without a spread, that difference cannot be judged.")
    text = (
        f"On {label('local', 'system')}, one rank ends at {spread(one_rank, '.1f')} and two ranks "
        f"at {spread(two_ranks, '.1f')}, "
        f"$n$ = {value(f'{two_ranks}.n', '.0f', False)} each. "
    )
    if apart(numbers, one_rank, two_ranks):
        text += f"The ranges do not overlap: the number of ranks matters here. {report}."
        return Sentence("apart", text)
    return Sentence(
        "overlap",
        f"{text}The ranges overlap: these few seeds neither show nor exclude an effect of the "
        f"number of ranks. {report}; without a spread, that difference cannot be judged.",
    )
