"""Sentences about our own runs: what the link, the batch and the second rank did."""

from __future__ import annotations

from scalebook.values.sentences import Ledger, apart, below, has, measured, number, spread, value

from .reports import ONE, TWO

#: Systems of the link experiment, from the slowest link; the last one is open.
SLOW, MIDDLE, OPEN = "mini-200mbit", "mini-1gbit", "mini-open"


def link_effect(known: Ledger) -> str:
    """Whether the loss at a limited link is the network's."""
    run, control = f"ddp_2gpu.{MIDDLE}.efficiency", f"ddp_1node.{MIDDLE}.efficiency"
    if not measured(known, run, control):
        return "The link experiment has not been run yet."
    said = (
        f"At {value(f'cited.{MIDDLE}.link_gbit_s', 'g', False)} Gbit/s two nodes keep "
        f"{spread(run, '.0f')}, while the control inside one node keeps {spread(control, '.0f')}. "
    )
    if not apart(known, run, control):
        return said + "The ranges overlap, so the experiment does not separate the two."
    lower = below(known, run, control)
    said += (
        "The ranges do not overlap, and the two are set up alike but for the path between the "
        "ranks: the difference is the network's, not that of data parallelism as such."
        if lower
        else "The ranges do not overlap, but the control is the slower one: the network is not "
        "what costs here."
    )
    gain = f"ddp_2gpu.{MIDDLE}.speedup"
    if measured(known, gain) and number(known, f"{gain}.high") < 1.0:
        said += (
            f" With a speed-up of {spread(gain, '.2f', False)}, the second node makes training "
            "slower than one node alone."
        )
    slowest = f"ddp_2gpu.{SLOW}.efficiency"
    if measured(known, slowest):
        rate = value(f"cited.{SLOW}.link_gbit_s", "g", False)
        said += f" At {rate} Gbit/s, {spread(slowest, '.0f')} remain."
    return said


def open_link(known: Ledger) -> str:
    """What a second node costs where the link is not limited."""
    run, control = f"ddp_2gpu.{OPEN}.efficiency", f"ddp_1node.{OPEN}.efficiency"
    if not measured(known, run, control):
        return "No run over an open link is evidence yet."
    said = (
        "{numref}`fig-scaling` shows the small cluster. "
        f"Over the open link two nodes keep {spread(run, '.0f')} against {spread(control, '.0f')} "
    )
    if apart(known, run, control):
        return said + "inside one node: even a link without a limit is not free."
    return said + "inside one node; the ranges overlap."


def weak_effect(known: Ledger) -> str:
    """Whether a larger batch a rank helps where the link is slow."""
    weak, strong = f"ddp_weak.{MIDDLE}.efficiency", f"ddp_2gpu.{MIDDLE}.efficiency"
    if not measured(known, weak, strong):
        return "No weak-scaling run on a limited link is evidence yet."
    said = (
        f"At {value(f'cited.{MIDDLE}.link_gbit_s', 'g', False)} Gbit/s, weak scaling keeps "
        f"{spread(weak, '.0f')} where strong scaling keeps {spread(strong, '.0f')}: "
    )
    if not apart(known, weak, strong):
        return said + "the ranges overlap, and a larger batch is not shown to help."
    if below(known, strong, weak):
        return said + (
            "the same gradients are exchanged for twice the images, and the network's share of a "
            f"step falls accordingly.{_still_slower(known)}"
        )
    return said + "the larger batch does worse, against expectation."


def _still_slower(known: Ledger) -> str:
    """That even weak scaling brings nothing, where it does not."""
    gain = f"ddp_weak.{MIDDLE}.speedup"
    if not measured(known, gain) or number(known, f"{gain}.high") >= 1.0:
        return ""
    return f" Even so, two nodes train no faster than one ({spread(gain, '.2f', False)} times)."


def overlap(known: Ledger) -> str:
    """The network's part of a step against the shortest time the exchange can take."""
    said = []
    for system in (MIDDLE, SLOW):
        part, floor = f"ddp_2gpu.{system}.network_ms", f"modelled.ddp_2gpu.{system}.transfer_ms"
        if not (measured(known, part) and has(known, floor)):
            continue
        rate = value(f"cited.{system}.link_gbit_s", "g", False)
        shown = f"{spread(part, ',.0f')} at {rate} Gbit/s, where a ring needs at least"
        shown += f" {value(floor, ',.0f')}"
        if number(known, f"{part}.high") < number(known, floor):
            shown += " (less: a part hides behind the backward pass, or is in the control already)"
        elif number(known, f"{part}.low") > number(known, floor):
            shown += " (more: latency and the work of sending come on top)"
        said.append(shown)
    if not said:
        return "How long the exchange takes at least is not known for these links."
    lead = "{numref}`fig-overheads` takes the step apart."
    return f"{lead} The second node adds {', and '.join(said)}."


def curve(known: Ledger) -> str:
    """What the model of a link says, fitted to the measured all-reduce."""
    prefix = f"modelled.link.{MIDDLE}"
    if not has(known, f"{prefix}.bandwidth_gb_s", f"{prefix}.alpha_us"):
        return "The all-reduce curves are shown without a fitted model."
    band, wait = f"{prefix}.bandwidth_gb_s", f"{prefix}.alpha_us"
    said = (
        "{numref}`fig-allreduce` measures the exchange alone. "
        f"Fitted to the measured curve at {value(f'cited.{MIDDLE}.link_gbit_s', 'g', False)} "
        f"Gbit/s, {{eq}}`eq-ring` gives $\\beta$ = {_with_interval(known, band, '.3f')} and "
        f"$\\alpha$ = {_with_interval(known, wait, ',.0f')}"
    )
    low, high = known[wait].low, known[wait].high
    if low is not None and high is not None and high > 2.0 * max(low, 1e-9):
        said += "; the latency is poorly determined, for small messages scatter widely"
    missed = f"modelled.ddp_2gpu.{MIDDLE}.step_error"
    if not has(known, missed):
        return said + ". Nothing that was not fitted has tested this yet."
    return said + (
        ". Put after the control's step, with nothing hidden, it misses the step of two nodes by "
        f"{value(missed, '+.0f')}, to which it was not fitted."
    )


def _with_interval(known: Ledger, key: str, spec: str) -> str:
    """A fitted number, with its interval where the ledger has the ends as numbers of their own."""
    if not has(known, f"{key}.low", f"{key}.high"):
        return value(key, spec)
    low, high = value(f"{key}.low", spec, False), value(f"{key}.high", spec, False)
    return f"{value(key, spec, False)} ({low}–{high}) {known[key].unit}"


def same_training(known: Ledger) -> str:
    """Whether the link changed what was computed, by the accuracies of all runs of two ranks."""
    systems = (OPEN, MIDDLE, SLOW)
    names = [f"{kind}.{system}" for kind in ("ddp_1node", "ddp_2gpu") for system in systems]
    finals = [f"{name}.final_val_acc" for name in names]
    if not measured(known, *finals):
        return "The runs behind the different links are not all there yet."
    ends = ("low", "median", "high")
    found = {tuple(number(known, f"{final}.{end}") for end in ends) for final in finals}
    if len(found) == 1:
        return (
            "All runs of two ranks with the baseline's global batch end at the same accuracies, "
            "seed by seed, whatever lies between the ranks: the link changes when the numbers "
            "arrive, not which."
        )
    if len({number(known, f"{final}.n") for final in finals}) > 1:
        # With a seed missing behind one link, another median says nothing about the link.
        return (
            "The accuracies of two ranks cannot be compared between the links yet: some links have "
            "more runs than others."
        )
    return "The accuracies of two ranks differ between the links, which they should not."


def accuracies(known: Ledger) -> str:
    """Whether one and two ranks train to the same accuracy, measured and reported."""
    one, two = "baseline.local.final_val_acc", "ddp_2gpu.local.final_val_acc"
    told = (
        f"The report has {value(f'reported.{ONE}.final_val_acc', '.2f')} for one GPU and "
        f"{value(f'reported.{TWO}.final_val_acc', '.2f')} for two, from one seed each"
    )
    if not measured(known, one, two):
        return f"{told}; without a spread, that difference cannot be judged."
    n = value(f"{two}.n", ".0f", False)
    said = (
        f"On `local`, one rank ends at {spread(one, '.1f')} and two ranks at {spread(two, '.1f')}, "
        f"$n$ = {n} each. "
    )
    if apart(known, one, two):
        return said + f"The ranges do not overlap: the number of ranks matters here. {told}."
    gap = number(known, f"reported.{ONE}.final_val_acc") - number(
        known, f"reported.{TWO}.final_val_acc"
    )
    width = number(known, f"{one}.high") - number(known, f"{one}.low")
    wide = (
        "a difference larger than our spread between seeds, but with an unknown spread of its own"
        if abs(gap) > width
        else "a difference no larger than our spread between seeds"
    )
    return said + (
        "The ranges overlap, so these few seeds show no effect of the number of ranks. "
        f"{told}: {wide}."
    )
