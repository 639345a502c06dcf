"""Captions of the paper's figures: the message, then how to read it. See `__init__.py`."""

from __future__ import annotations

from scalebook.values.sentences import Ledger, apart, measured, number, spread, value

from .runs import MIDDLE


def throughput(known: Ledger) -> str:
    """Of `throughput_comparison`."""
    two = "ddp_2gpu.local.speedup"
    said = "Throughput by configuration"
    if measured(known, two):
        said = (
            f"A second rank brings {spread(two, '.2f', False)} times the throughput on `local`, "
            f"and {value('reported.2649.speedup', '.2f', False)} times as reported"
        )
    return (
        f"{said}. Filled: measured, medians with every run ($n$ = "
        f"{value('baseline.local.throughput.n', '.0f', False)}); hatched: reported, no spread. "
        "The systems are not compared with each other."
        if measured(known, "baseline.local.throughput")
        else f"{said}. Filled: measured; hatched: reported, no spread."
    )


def scaling(known: Ledger) -> str:
    """Of `scaling_efficiency`."""
    run, control = f"ddp_2gpu.{MIDDLE}.efficiency", f"ddp_1node.{MIDDLE}.efficiency"
    said = "Parallel efficiency against the ideal"
    if measured(known, run, control) and apart(known, run, control):
        worse = number(known, f"{run}.median") < number(known, f"{control}.median")
        said = (
            "The slower the link, the less of the ideal is left; without a network the loss stays "
            "moderate"
            if worse
            else "The link is not what limits the efficiency"
        )
    return (
        f"{said}. Whiskers: range over seeds. Reported: by throughput and by time per epoch, two "
        "values for one run."
    )


def accuracy(known: Ledger) -> str:
    """Of `accuracy_curves`."""
    one, two = "baseline.local.final_val_acc", "ddp_2gpu.local.final_val_acc"
    said = "Validation accuracy over epochs"
    if measured(known, one, two):
        said = (
            "One and two ranks learn differently"
            if apart(known, one, two)
            else "One and two ranks learn alike, within the spread between seeds"
        )
    return (
        f"{said}. Measured: thin lines are runs. Reported: final values, no curves. "
        "The two plots differ in data, epochs and machine."
    )


def profile(known: Ledger) -> str:
    """Of `profiling_breakdown`."""
    by_name, by_operator = (
        f"trace.resnet_v100_ddp_rank0.{group}.convolution_share"
        for group in ("by_kernel", "by_operator")
    )
    said = "Where device time goes"
    if by_name in known and by_operator in known:
        grows = number(known, by_operator) > number(known, by_name)
        said = (
            "How far convolution leads a profile depends on how kernels are grouped: "
            f"it takes {value(by_name, '.0f')} by kernel name and "
            f"{value(by_operator, '.0f')} by launching operator"
            if grows
            else "Grouping by operator does not raise the share of convolution"
        )
    return (
        f"{said}, in a public trace of a ResNet on one V100 (bottom, not of this study). "
        "Top: as reported, grouping unknown. Middle: our runs of one and two ranks on a "
        "processor, which has no kernels."
    )


def overheads(known: Ledger) -> str:
    """Of `overheads`."""
    part = f"ddp_2gpu.{MIDDLE}.network_ms"
    said = "Parts of a step of two ranks"
    if measured(known, part):
        said = (
            "A step of two ranks, taken apart with the control: at "
            f"{value(f'cited.{MIDDLE}.link_gbit_s', 'g', False)} Gbit/s the second node adds "
            f"{spread(part, ',.0f')}"
        )
    return f"{said}. Grey: one node's step plus the shortest possible exchange, modelled."


def allreduce(known: Ledger) -> str:
    """Of `allreduce_bandwidth`."""
    return (
        "Large messages reach the limit that was set for the link (dashed), small ones pay "
        "latency, and a short burst passes unlimited. Medians and quartiles of repetitions in one "
        "job a link."
    )
