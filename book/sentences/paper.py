"""The paper's abstract and conclusion, and what it says of its own numbers."""

from __future__ import annotations

from scalebook.contract import find_root
from scalebook.study import citation
from scalebook.values.sentences import Ledger, Sentence, below, differ, has, measured, spread, value

from . import reports
from .captions import BY_KERNEL, BY_OPERATOR
from .reports import HALF, PROFILE, TWO
from .runs import CONTROL, RATE, RUN, SPREAD


def _link(numbers: Ledger) -> str:
    """What the link experiment shows, as far as the abstract and the conclusion need it."""
    if not measured(numbers, RUN, CONTROL):
        return "not run"
    slower = below(numbers, RUN, CONTROL) and differ(numbers, RUN, CONTROL, SPREAD)
    return "link" if slower else "not shown"


def _scaling(numbers: Ledger) -> str:
    """How two GPUs compare with one, by rate and by time."""
    by_rate, by_time = (
        (
            value(f"modelled.{TWO}.speedup_by_{basis}", ".2f", False),
            value(f"modelled.{TWO}.efficiency_by_{basis}", ".0f"),
        )
        for basis in ("throughput", "epoch_time")
    )
    if settled := reports.decision(numbers):
        times, share = by_rate if settled.basis == "throughput" else by_time
        return (
            f"Two GPUs on two nodes train {times} times as fast as one, an efficiency of {share}: "
            f"{settled.why}."
        )
    return {
        "contradict": f"By images per second, two GPUs on two nodes train {by_rate[0]} times as "
        f"fast as one (an efficiency of {by_rate[1]}); by time per epoch, {by_time[0]} times "
        f"({by_time[1]}). The two are incompatible if each GPU takes its share of an epoch; the "
        "run's own file will decide.",
        "agree": f"Two GPUs on two nodes train {by_rate[0]} times as fast as one, an efficiency of "
        f"{by_rate[1]}, by rate and by time alike.",
        "arrived": f"By images per second, two GPUs on two nodes train {by_rate[0]} times as fast "
        f"as one; by time per epoch, {by_time[0]} times. The run's own file confirms neither.",
        "open": f"By images per second, two GPUs on two nodes train {by_rate[0]} times as fast as "
        f"one; by time per epoch, {by_time[0]} times. The run's own file repeats both, and does "
        "not tell how they go together.",
    }[reports.bases(numbers)]


def _precision(numbers: Ledger) -> str:
    """What mixed precision brings; empty where no such run is reported."""
    gain, share = f"reported.{HALF}.speedup", f"modelled.{HALF}.peak_share_imagenet"
    if not has(numbers, gain, share):
        return ""
    text = f" Mixed precision trains {value(gain, '.2f', False)} times as fast on one GPU; if the "
    text += f"stem is torchvision's, at {value(share, '.1f')} of its FP16 peak"
    far = reports.far_from_peak(numbers, share)
    return f"{text}{', so that arithmetic is not what limits it' if far else ''}."


def _bottleneck(numbers: Ledger) -> str:
    """Which operation takes the time, by either grouping; empty where no profile is reported."""
    norm = f"reported.{PROFILE}.share.batch_norm"
    text = ""
    if has(numbers, norm):
        text = (
            " Of the named groups of our profile, batch normalisation is the largest, with "
            f"{value(norm, '.0f')} of GPU time, by a grouping that was not reported"
        )
    if has(numbers, BY_KERNEL, BY_OPERATOR):
        text = f"{text}. In" if text else " In"
        text += (
            " a public trace of a similar network, convolution takes "
            f"{value(BY_KERNEL, '.0f')} by kernel name and {value(BY_OPERATOR, '.0f')} by the "
            "operator that launched the kernels"
        )
    return f"{text}." if text else ""


def abstract_results(numbers: Ledger) -> Sentence:
    """The results in the abstract."""
    link = _link(numbers)
    text = f"**Results.** {_scaling(numbers)}{_precision(numbers)}{_bottleneck(numbers)}"
    if link != "not run":
        text += (
            " In the experiment, two ranks in one node have an efficiency of "
            f"{spread(CONTROL, '.0f')}; on two emulated nodes at {RATE} Gbit/s it is "
            f"{spread(RUN, '.0f')}"
        )
        text += (
            ": on CPUs, a slow link alone is enough to undo the scaling of so small a network."
            if link == "link"
            else ": a loss by the network is not shown."
        )
    return Sentence(f"{reports.bases(numbers)}, {link}", text)


def conclusion(numbers: Ledger) -> Sentence:
    """The answers to the three questions."""
    case, link = reports.bases(numbers), _link(numbers)
    by_rate = value(f"modelled.{TWO}.speedup_by_throughput", ".2f", False)
    by_time = value(f"modelled.{TWO}.speedup_by_epoch_time", ".2f", False)
    both = f"{by_rate} times by rate and {by_time} times by time per epoch"
    text = {
        "contradict": f"*Scaling.* A second node brought {both}. Which of them holds stays open "
        "until the file of that run is here.",
        "agree": f"*Scaling.* A second node brought {by_rate} times, in one run.",
        "arrived": f"*Scaling.* A second node brought {both}; the run's own file confirms neither.",
        "open": f"*Scaling.* A second node brought {both}; the run's own file repeats both and "
        "does not count its images.",
    }[case]
    if settled := reports.decision(numbers):
        times = by_rate if settled.basis == "throughput" else by_time
        text = f"*Scaling.* A second node brought {times} times: {settled.why}."
    text += {
        "not run": "",
        "link": " The experiment shows that a slow link is enough for such a loss, not that it was "
        "the cause on our cluster.",
        "not shown": " The experiment does not separate the network from data parallelism itself.",
    }[link]
    gain, share = f"reported.{HALF}.speedup", f"modelled.{HALF}.peak_share_imagenet"
    if has(numbers, gain, share):
        text += (
            f" *Mixed precision.* FP16 on one GPU brought {value(gain, '.2f', False)} times, at "
            f"{value(share, '.1f')} of its peak if the stem is torchvision's."
        )
    norm = f"reported.{PROFILE}.share.batch_norm"
    if has(numbers, norm):
        found = reports.batch_norm(numbers).case.partition(",")[0]
        text += " *Bottleneck.* " + {
            "holds": "It is batch normalisation, as the trace confirms.",
            "contradicted": "It is not batch normalisation, as the trace shows.",
        }.get(
            found,
            _undetermined(numbers),
        )
    return Sentence(f"{case}, {link}", text)


def _undetermined(numbers: Ledger) -> str:
    """What is known of the bottleneck while the trace of the profiled run is not here."""
    other, text = f"reported.{PROFILE}.share.other", "Undetermined"
    if has(numbers, other):
        text += f": {value(other, '.0f')} of the time is in no named group"
    if reports.convolution_leads(numbers):
        text += (
            "; by operator, convolution leads in every profile whose file is here, none of them "
        )
        text += "of that run"
    norm = f"reported.{PROFILE}.share.batch_norm"
    return f"{text}. The largest named group is batch normalisation, with {value(norm, '.0f')}."


def repository(numbers: Ledger) -> Sentence:
    """Where all of this lies."""
    address = citation.repository(find_root())
    if not address:
        return Sentence("to fill", "All of these files lie in the repository of this paper.")
    return Sentence(
        "address", f"All of these files lie in the repository of this paper, <{address}>."
    )


def at_hand(numbers: Ledger) -> Sentence:
    """What of the runs on GPUs is here, and the kinds of numbers that follow from it."""
    case = "arrived" if reports.arrived(numbers) else "summary"
    having = {
        "arrived": "Of the runs on GPUs, some files are here, and for the others their summary "
        "numbers, which we mark",
        "summary": "Of the runs on GPUs, this edition has the summary numbers, which we mark",
    }[case]
    later = "" if case == "arrived" else "; their per-epoch files and traces are to follow"
    return Sentence(
        case,
        f"{having} *reported*{later}. Numbers of runs whose files are here are *measured*, those "
        "computed from others by a named formula *modelled*, and those of publications *cited*.",
    )


def own_gpu(numbers: Ledger) -> Sentence:
    """Whether any measured number comes from a GPU."""
    if reports.arrived(numbers):
        return Sentence("arrived", "What is measured on GPUs comes from the cluster alone.")
    return Sentence("none", "Nothing in this part is a statement about GPUs.")


def readings(numbers: Ledger) -> Sentence:
    """Both readings of the run on two GPUs, and what each says of the network."""
    case = reports.bases(numbers)
    shared = f"modelled.{TWO}.sharded_"
    names = ("gap_us_per_image", "matching_batch_10gbit", "epoch_s_10gbit")
    needed = [f"{shared}{name}" for name in names]
    if case != "contradict" or not has(numbers, *needed, f"modelled.{TWO}.gap_us_per_image"):
        return Sentence(case, reports.two_bases(numbers).text)
    exchange = value(f"modelled.{TWO}.exchange_ms_10gbit", ".0f")
    megabytes = value(f"modelled.{TWO}.gradient_mb", ".1f")
    return Sentence(
        "two readings",
        "{numref}`tab-contradiction` reads the run in both ways. *Sharded*: each GPU trains on its "
        f"half of the images, and an epoch takes {value(f'reported.{TWO}.epoch_time_s', '.0f')}. "
        f"Compared with two GPUs without loss, {value(needed[0], '.0f')} an image are lost. On "
        f"ten-gigabit Ethernet the gradients of {megabytes} need {exchange} a step, which equals "
        f"that loss at a global batch of {value(needed[1], '.0f', False)}; at the "
        f"experiment's {value('study.baseline.global_batch', '.0f', False)} the model predicts an "
        f"epoch of {value(f'{shared}epoch_s_10gbit', '.1f')}. Then the network explains the time, "
        f"and the reported {value(f'reported.{TWO}.throughput', ',.0f')} are wrong. "
        "*Unsharded*: each GPU trains on all images, so that an epoch processes the training set "
        "twice. Then both numbers are right, and the loss is "
        f"{value(f'modelled.{TWO}.gap_us_per_image', '.0f')} an image, which the same link causes "
        f"at a batch of {value(f'modelled.{TWO}.matching_batch_10gbit', ',.0f', False)}. "
        "Other errors are possible: a rate multiplied by the number of ranks, or half of each "
        "epoch outside the timed part. The run's file `baseline_2649_2gpu_2649.csv` decides, if it "
        "has images and times."
        f"{reports.single_gpus(numbers)}",
    )


SENTENCES = {
    "abstract-results": abstract_results,
    "at-hand": at_hand,
    "conclusion": conclusion,
    "own-gpu": own_gpu,
    "readings": readings,
    "repository": repository,
}
