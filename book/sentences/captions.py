"""Captions of the paper's figures: the message, then how to read it. See `__init__.py`."""

from __future__ import annotations

from scalebook.analysis.text import count
from scalebook.values.sentences import (
    Ledger,
    Sentence,
    apart,
    differ,
    has,
    label,
    measured,
    number,
    spread,
    value,
)

from .runs import CONTROL, MIDDLE, OPEN, RATE, RUN, SLOW, SPREAD

#: Shares of convolution in a public trace.
BY_KERNEL, BY_OPERATOR = (
    f"trace.resnet_v100_ddp_rank0.{group}.convolution_share"
    for group in ("by_kernel", "by_operator")
)


def throughput(numbers: Ledger) -> Sentence:
    """Of `throughput_comparison`."""
    two = "ddp_2gpu.local.speedup"
    case, text = "plain", "Throughput by configuration"
    if measured(numbers, two):
        case = "second rank"
        text = (
            f"A second rank brings {spread(two, '.2f', False)} times the throughput on "
            f"{label('local', 'system')}, and a second GPU "
            f"{value('reported.2649.speedup', '.2f', False)} times, as reported"
        )
    if not measured(numbers, "baseline.local.throughput"):
        return Sentence(case, f"{text}. Filled: measured; hatched: reported, no spread.")
    return Sentence(
        f"{case}, with n",
        f"{text}. Filled: measured, medians with every run ($n$ = "
        f"{value('baseline.local.throughput.n', '.0f', False)}); hatched: reported, no spread. "
        "The systems are not compared with each other.",
    )


def scaling(numbers: Ledger) -> Sentence:
    """Of `scaling_efficiency`."""
    case, text = "plain", "Parallel efficiency against the ideal"
    if measured(numbers, RUN, CONTROL) and differ(numbers, RUN, CONTROL, SPREAD):
        case, text = "other limit", "The link is not what limits the efficiency"
        if number(numbers, f"{RUN}.median") < number(numbers, f"{CONTROL}.median"):
            case = "link limits"
            text = (
                "Under strong scaling, the slower the link, the less of the ideal is left; in the "
                "control, without a network, the loss stays moderate"
            )
    return Sentence(
        case,
        f"{text}. Weak scaling has no control. Whiskers: range over blocks or runs. Reported: by "
        "rate and by time per epoch, two values for one run.",
    )


def accuracy(numbers: Ledger) -> Sentence:
    """Of `accuracy_curves`."""
    one_rank, two_ranks = "baseline.local.final_val_acc", "ddp_2gpu.local.final_val_acc"
    case, text = "plain", "Validation accuracy over epochs"
    if measured(numbers, one_rank, two_ranks):
        seeds = value(f"{two_ranks}.n", ".0f", False)
        case = "alike"
        text = f"With {seeds} seeds, an effect of the number of ranks is neither shown nor excluded"
        if apart(numbers, one_rank, two_ranks):
            case, text = "apart", "One and two ranks learn differently"
    return Sentence(
        case,
        f"{text}. Measured: thin lines are runs. Reported: final values, no curves. "
        "The two plots differ in data, epochs and machine.",
    )


def profile(numbers: Ledger) -> Sentence:
    """Of `profiling_breakdown`."""
    case, text = "plain", "Where device time goes"
    if has(numbers, BY_KERNEL, BY_OPERATOR):
        case, text = "no rise", "Grouping by operator does not raise the share of convolution"
        if number(numbers, BY_OPERATOR) > number(numbers, BY_KERNEL):
            case = "rise"
            text = (
                "How far convolution leads a profile depends on how kernels are grouped: "
                f"it takes {value(BY_KERNEL, '.0f')} by kernel name and "
                f"{value(BY_OPERATOR, '.0f')} by launching operator"
            )
    return Sentence(
        case,
        f"{text}, in a public trace of a ResNet on one V100 (bottom, not of this study). "
        "Top: as reported. Middle: our runs of one and two ranks on CPUs, which have no kernels.",
    )


def overheads(numbers: Ledger) -> Sentence:
    """Of `overheads`."""
    part = f"ddp_2gpu.{MIDDLE}.network_ms"
    case, text = "plain", "Parts of a step of two ranks"
    if measured(numbers, part):
        case = "taken apart"
        text = (
            f"Parts of a step of two ranks: at {RATE} Gbit/s the second node adds "
            f"{spread(part, ',.0f')}"
        )
    return Sentence(
        case,
        f"{text}. Medians over blocks; parts need not sum to the step. Grey: the control's step "
        "plus the exchange without overlap at the nominal rate, modelled.",
    )


def allreduce(numbers: Ledger) -> Sentence:
    """Of `allreduce_bandwidth`."""
    fitted = [f"modelled.link.{name}.bandwidth_gb_s" for name in (SLOW, MIDDLE, OPEN)]
    jobs = {numbers[key].n for key in fitted if has(numbers, key)}
    text = (
        "Large messages reach the limit that was set for the link (dashed), small ones pay "
        "latency, and a short burst passes unlimited. "
    )
    if jobs == {1}:
        return Sentence("one job", f"{text}Medians and quartiles of repetitions in one job a link.")
    if len(jobs) == 1:
        (each,) = jobs
        return Sentence("jobs", f"{text}Medians and range over {count(each, 'job')} a link.")
    return Sentence("unlike", f"{text}Medians and range over the jobs of a link.")
