"""Sentences whose meaning depends on the data: ``{study-text} NAME``.

Each is a function from the ledger to a case and its MyST text. It chooses by comparing numbers, and
names the numbers by key. Where a number is missing it says what is missing, so that the documents
can be built before a run is made, and say something else once a file arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import Ledger, Sentence, below, differ, has, measured, spread, value

from . import captions, proposal
from . import reports as theirs
from . import runs as ours
from .captions import BY_KERNEL, BY_OPERATOR
from .reports import TWO
from .runs import CONTROL, RATE, RUN, SPREAD


def _link(numbers: Ledger) -> str:
    """What the link experiment shows, as far as the abstract and the conclusion need it."""
    if not measured(numbers, RUN, CONTROL):
        return "not run"
    slower = below(numbers, RUN, CONTROL) and differ(numbers, RUN, CONTROL, SPREAD)
    return "link" if slower else "not shown"


def abstract_results(numbers: Ledger) -> Sentence:
    """The results in the abstract."""
    case, link = theirs.bases(numbers), _link(numbers)
    by_rate = value(f"modelled.{TWO}.speedup_by_throughput", ".2f", False)
    by_time = value(f"modelled.{TWO}.speedup_by_epoch_time", ".2f", False)
    text = f"**Results.** By reported throughput two GPUs are {by_rate} times as fast as one, "
    text += f"by reported time per epoch {by_time} times; "
    text += {
        "contradict": "both cannot describe the same epoch, and the summary does not tell which "
        "holds.",
        "agree": "within rounding, the two agree.",
        "arrived": "the run's own file, now at hand, decides between them.",
        "open": "the run's own file repeats both, and does not tell how they go together.",
    }[case]
    if link != "not run":
        text += (
            f" In our experiment, two ranks in one node keep an efficiency of "
            f"{spread(CONTROL, '.0f')}, and the same ranks on two nodes at {RATE} Gbit/s "
            f"{spread(RUN, '.0f')} (medians with their intervals, $n$ = "
            f"{value(f'{CONTROL}.n', '.0f', False)} and {value(f'{RUN}.n', '.0f', False)}): "
        )
        text += (
            "a slow link alone is enough to undo the scaling of so small a model."
            if link == "link"
            else "a loss by the network is not shown."
        )
    if has(numbers, BY_KERNEL, BY_OPERATOR):
        text += (
            f" In a public trace of a similar model, convolution takes {value(BY_KERNEL, '.0f')} "
            f"of device time by kernel name and {value(BY_OPERATOR, '.0f')} by launching operator."
        )
    return Sentence(f"{case}, {link}", text)


def conclusion(numbers: Ledger) -> Sentence:
    """The first paragraph of the conclusion."""
    case, link = theirs.bases(numbers), _link(numbers)
    text = {
        "contradict": "The reported throughput and the reported time per epoch of two GPUs exclude "
        "each other, so the efficiency that was concluded from one of them is undetermined.",
        "agree": "The reported throughput and time per epoch agree, so the reported efficiency "
        "stands as one run's result.",
        "arrived": "The report's two readings of the two-GPU run are now decided by that run's own "
        "file.",
        "open": "The run's own file repeats the report's two readings of the two-GPU run without "
        "counting its images, so the efficiency that was concluded from one is undetermined.",
    }[case]
    text += {
        "not run": "",
        "link": " The controlled experiment shows that a slow link is enough for a loss of that "
        "size, not that it was the cause on the reported cluster.",
        "not shown": " The controlled experiment does not separate the network from data "
        "parallelism.",
    }[link]
    return Sentence(f"{case}, {link}", text)


def at_hand(numbers: Ledger) -> Sentence:
    """What of the reported study we have, and the kinds of numbers that follow from it."""
    case = "arrived" if theirs.arrived(numbers) else "summary"
    having = {
        "arrived": "Its summary is at hand, and files of its own for part of it.",
        "summary": "Its summary is at hand, its per-epoch files and profiler traces are not.",
    }[case]
    return Sentence(
        case,
        f"{having} We therefore keep four kinds of numbers apart: *reported* by that study and "
        "unverified; *measured* in runs whose files we hold; *modelled*, that is computed from "
        "other numbers by a named formula; and *cited*.",
    )


def own_gpu(numbers: Ledger) -> Sentence:
    """Whether any measured number comes from a GPU."""
    if theirs.arrived(numbers):
        return Sentence(
            "arrived",
            "Numbers measured on GPUs come from the reported study's own files, which have "
            "arrived; we made no GPU run ourselves.",
        )
    return Sentence(
        "none",
        "We made no measurement on a GPU: whatever is said here about GPUs is reported or cited.",
    )


#: Every computed sentence by its name in ``{study-text} NAME``.
SENTENCES: Mapping[str, Callable[[Ledger], Sentence]] = {
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
