"""Sentences whose meaning depends on the data: ``{study-text} NAME``.

Each is a function from the ledger to MyST text. It chooses its words by comparing numbers, and
names the numbers by key. Where a number is missing it says what is missing, so that the documents
can be built before a run is made, and say something else once a file arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import Ledger, below, has, measured, spread, value

from . import captions, proposal
from . import reports as theirs
from . import runs as ours
from .reports import TWO
from .runs import MIDDLE


def abstract_results(known: Ledger) -> str:
    """The results in the abstract."""
    case = theirs.bases(known)
    by_rate = value(f"modelled.{TWO}.speedup_by_throughput", ".2f", False)
    by_time = value(f"modelled.{TWO}.speedup_by_epoch_time", ".2f", False)
    said = f"**Results.** By reported throughput two GPUs are {by_rate} times as fast as one, "
    said += f"by reported time per epoch {by_time} times; "
    said += {
        "contradict": "both cannot describe the same epoch, and the summary does not tell which "
        "holds.",
        "agree": "within rounding, the two agree.",
        "arrived": "the run's own file, now at hand, decides between them.",
        "open": "the run's own file repeats both, and does not tell how they go together.",
    }[case]
    run, control = f"ddp_2gpu.{MIDDLE}.efficiency", f"ddp_1node.{MIDDLE}.efficiency"
    if measured(known, run, control):
        rate = value(f"cited.{MIDDLE}.link_gbit_s", "g", False)
        said += (
            f" In our experiment, two ranks in one node keep an efficiency of "
            f"{spread(control, '.0f')}, and the same ranks on two nodes at {rate} Gbit/s "
            f"{spread(run, '.0f')} (medians and ranges, $n$ = "
            f"{value(f'{run}.n', '.0f', False)}): "
        )
        said += (
            "a slow link alone is enough to undo the scaling of so small a model."
            if below(known, run, control)
            else "a loss by the network is not shown."
        )
    by_name, by_operator = (
        f"trace.resnet_v100_ddp_rank0.{group}.convolution_share"
        for group in ("by_kernel", "by_operator")
    )
    if has(known, by_name, by_operator):
        said += (
            f" In a public trace of a similar model, convolution takes {value(by_name, '.0f')} of "
            f"device time by kernel name and {value(by_operator, '.0f')} by launching operator."
        )
    return said


def conclusion(known: Ledger) -> str:
    """The first paragraph of the conclusion."""
    case = theirs.bases(known)
    first = {
        "contradict": "The reported throughput and the reported time per epoch of two GPUs exclude "
        "each other, so the efficiency that was concluded from one of them is undetermined.",
        "agree": "The reported throughput and time per epoch agree, so the reported efficiency "
        "stands as one run's result.",
        "arrived": "The report's two readings of the two-GPU run are now decided by that run's own "
        "file.",
        "open": "The run's own file repeats the report's two readings of the two-GPU run without "
        "counting its images, so the efficiency that was concluded from one is undetermined.",
    }[case]
    run, control = f"ddp_2gpu.{MIDDLE}.efficiency", f"ddp_1node.{MIDDLE}.efficiency"
    if not measured(known, run, control):
        return first
    second = (
        "The controlled experiment shows that a slow link is enough for a loss of that size, not "
        "that it was the cause on the reported cluster."
        if below(known, run, control)
        else "The controlled experiment does not separate the network from data parallelism."
    )
    return f"{first} {second}"


def at_hand(known: Ledger) -> str:
    """What of the reported study we have, and the kinds of numbers that follow from it."""
    found = theirs.arrived(known)
    having = (
        "Its summary is at hand, and files of its own for part of it."
        if found
        else "Its summary is at hand, its per-epoch files and profiler traces are not."
    )
    return (
        f"{having} We therefore keep four kinds of numbers apart: *reported* by that study and "
        "unverified; *measured* in runs whose files we hold; *modelled*, that is computed from "
        "other numbers by a named formula; and *cited*."
    )


def own_gpu(known: Ledger) -> str:
    """Whether any measured number comes from a GPU."""
    if theirs.arrived(known):
        return (
            "Numbers measured on GPUs come from the reported study's own files, which have "
            "arrived; we made no GPU run ourselves."
        )
    return "We made no measurement on a GPU: whatever is said here about GPUs is reported or cited."


#: Every computed sentence by its name in ``{study-text} NAME``.
SENTENCES: Mapping[str, Callable[[Ledger], str]] = {
    "abstract-results": abstract_results,
    "accuracies": ours.accuracies,
    "at-hand": at_hand,
    "batch-norm": theirs.batch_norm,
    "conclusion": conclusion,
    "curve": ours.curve,
    "exchange": theirs.exchange,
    "half-precision": theirs.half_precision,
    "link-effect": ours.link_effect,
    "open-link": ours.open_link,
    "overlap": ours.overlap,
    "own-gpu": own_gpu,
    "same-training": ours.same_training,
    "stem": theirs.stem,
    "two-bases": theirs.two_bases,
    "weak-effect": ours.weak_effect,
    "caption-accuracy": captions.accuracy,
    "caption-allreduce": captions.allreduce,
    "caption-overheads": captions.overheads,
    "caption-profile": captions.profile,
    "caption-scaling": captions.scaling,
    "caption-throughput": captions.throughput,
    **proposal.SENTENCES,
}
