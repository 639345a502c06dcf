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
    measured,
    number,
    spread,
    value,
)

from .reports import ONE, TWO

#: Systems of the link experiment, from the slowest link; the last one is open.
SLOW, MIDDLE, OPEN = "mini-200mbit", "mini-1gbit", "mini-open"
#: Rate of the middle link, as its role.
RATE = value(f"cited.{MIDDLE}.link_gbit_s", "g", False)
#: Efficiency of two nodes over the middle link; of the same ranks in one node, which no link
#: changes; and by what factor the latter differs from itself.
RUN, CONTROL = f"ddp_2gpu.{MIDDLE}.efficiency", "control.ddp_1node.efficiency"
SPREAD = "control.ddp_1node.spread"
YARDSTICK = (
    "The control is one experiment on all of these clusters, and differs from itself by a factor "
    f"of {value(SPREAD, '.2f', False)}"
)


def slower(numbers: Ledger, gain: str) -> bool:
    """Whether a speed-up is below one as far as its interval goes."""
    return measured(numbers, gain) and number(numbers, f"{gain}.high") < 1.0


def link_effect(numbers: Ledger) -> Sentence:
    """Whether the loss at a limited link is the network's."""
    if not measured(numbers, RUN, CONTROL):
        return Sentence("not run", "The link experiment has not been run yet.")
    text = (
        f"At {RATE} Gbit/s two nodes keep {spread(RUN, '.0f')}, while the control inside one node "
        f"keeps {spread(CONTROL, '.0f')}. "
    )
    if not differ(numbers, RUN, CONTROL, SPREAD):
        return Sentence("overlap", f"{text}{YARDSTICK}: the experiment does not separate the two.")
    case = "control slower"
    effect = (
        f"{YARDSTICK}; this is more, but the control is the slower one: the network is not what "
        "costs here."
    )
    if below(numbers, RUN, CONTROL):
        case = "network"
        effect = (
            f"{YARDSTICK}; this is more, and the two are set up alike but for the path between the "
            "ranks: the difference is the network's, not that of data parallelism as such."
        )
    gain = f"ddp_2gpu.{MIDDLE}.speedup"
    if slower(numbers, gain):
        case += ", slower than one node"
        effect += (
            f" With a speed-up of {spread(gain, '.2f', False)}, the second node makes training "
            "slower than one node alone."
        )
    slowest = f"ddp_2gpu.{SLOW}.efficiency"
    if measured(numbers, slowest):
        rate = value(f"cited.{SLOW}.link_gbit_s", "g", False)
        effect += f" At {rate} Gbit/s, {spread(slowest, '.0f')} remain."
    return Sentence(case, text + effect)


def open_link(numbers: Ledger) -> Sentence:
    """What a second node costs where the link is not limited."""
    run = f"ddp_2gpu.{OPEN}.efficiency"
    if not measured(numbers, run, CONTROL):
        return Sentence("not run", "No run over an open link is evidence yet.")
    text = (
        "{numref}`fig-scaling` shows the small cluster. "
        f"Over the open link two nodes keep {spread(run, '.0f')} against {spread(CONTROL, '.0f')} "
        "inside one node"
    )
    if differ(numbers, run, CONTROL, SPREAD):
        return Sentence("not free", f"{text}: even a link without a limit is not free.")
    text += ", no more than the control differs from itself"
    return Sentence("overlap", f"{text}: that it costs anything is not shown.")


def weak_effect(numbers: Ledger) -> Sentence:
    """Whether a larger batch a rank helps where the link is slow."""
    weak = f"ddp_weak.{MIDDLE}.efficiency"
    if not measured(numbers, weak, RUN):
        return Sentence("not run", "No weak-scaling run on a limited link is evidence yet.")
    text = (
        f"At {RATE} Gbit/s, weak scaling keeps {spread(weak, '.0f')} where strong scaling keeps "
        f"{spread(RUN, '.0f')}: "
    )
    if not differ(numbers, weak, RUN, SPREAD):
        text += "no more than the control differs from itself, so that a larger batch is not shown"
        return Sentence("overlap", f"{text} to help.")
    if below(numbers, weak, RUN):
        return Sentence("worse", text + "the larger batch does worse, against expectation.")
    text += (
        "the same gradients are exchanged for twice the images, and the network's share of a step "
        "falls accordingly."
    )
    gain = f"ddp_weak.{MIDDLE}.speedup"
    if not slower(numbers, gain):
        return Sentence("helps", text)
    return Sentence(
        "helps, no faster than one",
        f"{text} Even so, two nodes train no faster than one ({spread(gain, '.2f', False)} times).",
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
            f"{spread(part, ',.0f')} at {rate} Gbit/s, where a ring needs at least "
            f"{value(floor, ',.0f')}{note}"
        )
    if not parts:
        return Sentence(
            "missing", "How long the exchange takes at least is not known for these links."
        )
    return Sentence(
        ", ".join(cases),
        "{numref}`fig-overheads` takes the step apart. "
        f"The second node adds {', and '.join(parts)}.",
    )


def curve(numbers: Ledger) -> Sentence:
    """What the model of a link says, fitted to the measured all-reduce."""
    prefix = f"modelled.link.{MIDDLE}"
    bandwidth, latency = f"{prefix}.bandwidth_gb_s", f"{prefix}.alpha_us"
    if not has(numbers, bandwidth, latency):
        return Sentence("missing", "The all-reduce curves are shown without a fitted model.")
    fitted = _with_interval(numbers, bandwidth, ".3f"), _with_interval(numbers, latency, ",.0f")
    jobs = count(numbers[bandwidth].n, "job")
    text = (
        "{numref}`fig-allreduce` measures the exchange alone. "
        f"Fitted to messages of 1 MiB and more in {jobs} at {RATE} Gbit/s, {{eq}}`eq-ring` gives "
        f"$\\beta$ = {fitted[0]} and $\\alpha$ = {fitted[1]}"
    )
    missed = f"modelled.ddp_2gpu.{MIDDLE}.step_error"
    if not has(numbers, missed):
        return Sentence("untested", text + ". Nothing that was not fitted has tested this yet.")
    return Sentence(
        "tested",
        f"{text}. Put after the control's step, with nothing hidden, it misses the step of two "
        f"nodes by {value(missed, '+.0f')}, to which it was not fitted.",
    )


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
            "seed by seed, whatever lies between the ranks: the link changes when the numbers "
            "arrive, not which.",
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
    one, two = "baseline.local.final_val_acc", "ddp_2gpu.local.final_val_acc"
    reported = [f"reported.{job}.final_val_acc" for job in (ONE, TWO)]
    report = (
        f"The report has {value(reported[0], '.2f')} for one GPU and {value(reported[1], '.2f')} "
        "for two, from one seed each"
    )
    if not measured(numbers, one, two):
        return Sentence("not run", f"{report}; without a spread, that difference cannot be judged.")
    text = (
        f"On {label('local', 'system')}, one rank ends at {spread(one, '.1f')} and two ranks "
        f"at {spread(two, '.1f')}, "
        f"$n$ = {value(f'{two}.n', '.0f', False)} each. "
    )
    if apart(numbers, one, two):
        text += f"The ranges do not overlap: the number of ranks matters here. {report}."
        return Sentence("apart", text)
    gap = number(numbers, reported[0]) - number(numbers, reported[1])
    width = number(numbers, f"{one}.high") - number(numbers, f"{one}.low")
    case, size = "no effect, reported within", "no larger than our spread between seeds"
    if abs(gap) > width:
        case = "no effect, reported beyond"
        size = "larger than our spread between seeds, but with an unknown spread of its own"
    return Sentence(
        case,
        f"{text}The ranges overlap, so these few seeds show no effect of the number of ranks. "
        f"{report}: a difference {size}.",
    )
