"""Sentences about the reported numbers: what they say together, and what they leave open."""

from __future__ import annotations

from typing import NamedTuple

from scalebook.analysis import reported_files, reported_jobs
from scalebook.values.sentences import (
    Ledger,
    Sentence,
    agree,
    has,
    listed,
    measured,
    number,
    value,
)

#: Reported jobs the paper is about: one GPU, two GPUs, half precision, profile.
ONE, TWO, HALF, PROFILE = "2644", "2649", "2650", "2915"
#: Ranks of job `TWO`.
GPUS = 2
#: Where the reported jobs ran.
CLUSTER = "magic-castle"
#: Throughput and time per epoch that the own file of `TWO` holds.
RATE, EPOCH = f"ddp_2gpu.{CLUSTER}.throughput", f"ddp_2gpu.{CLUSTER}.epoch_time_s"
#: Below this share of its arithmetic peak, in percent, a device is not limited by arithmetic.
FAR_FROM_PEAK = 30.0


def arrived(numbers: Ledger) -> bool:
    """Whether any file of the reported study itself is here."""
    return any(f".{CLUSTER}." in key and numbers[key].kind == "measured" for key in numbers)


def bases(numbers: Ledger) -> str:
    """How throughput and time per epoch of two GPUs stand to each other.

    ``agree`` or ``contradict`` by the report alone; ``arrived`` if the run's own file decides,
    ``open`` if it is here and confirms both without counting images, so that it does not.
    """
    if measured(numbers, RATE):
        both = _confirmed(numbers, RATE, "throughput") and _confirmed(
            numbers, EPOCH, "epoch_time_s"
        )
        return "open" if both and not finding(numbers) else "arrived"
    by_epoch = f"modelled.{TWO}.throughput_by_epoch_time"
    return "agree" if agree(numbers, f"reported.{TWO}.throughput", by_epoch) else "contradict"


def _confirmed(numbers: Ledger, own: str, metric: str) -> bool:
    own, reported = f"{own}.median", f"reported.{TWO}.{metric}"
    return has(numbers, own, reported) and agree(numbers, own, reported)


def finding(numbers: Ledger) -> str:
    """What the counts of the file say of the reported rate; empty where it counts nothing."""
    counts = [f"recorded.{TWO}.{metric}" for metric in ("images", "rate")]
    reported = [f"reported.{TWO}.throughput", f"reported.{TWO}.epoch_time_s"]
    reported.append(f"modelled.{TWO}.throughput_by_epoch_time")
    if not has(numbers, *counts, *reported):
        return ""
    images, rate = (number(numbers, key) for key in counts)
    claimed, epoch, by_epoch = (number(numbers, key) for key in reported)
    return reported_files.finding(images, rate, claimed, epoch * by_epoch, GPUS)


class Decision(NamedTuple):
    """Which speed-up of two GPUs holds: of `throughput` or `epoch_time`; and why, as a clause."""

    basis: str
    why: str


def decision(numbers: Ledger) -> Decision | None:
    """What the own file of two GPUs decides; None while it is not here, or decides nothing."""
    if bases(numbers) != "arrived":
        return None
    by_rate, by_time = "throughput", "epoch_time"
    shows = "the run's own file shows that"
    found = {
        reported_files.ALL_IMAGES: Decision(
            by_rate, f"{shows} each GPU trained on all images, so that an epoch did twice the work"
        ),
        reported_files.MULTIPLIED: Decision(
            by_time,
            f"{shows} the GPUs shared the images, and that the reported rate is the true one times "
            "the number of GPUs",
        ),
        reported_files.SLOWER: Decision(
            by_time, f"{shows} the GPUs shared the images, and that the reported rate is too high"
        ),
        reported_files.UNTIMED: Decision(
            by_time, f"{shows} the reported rate leaves out a part of the epoch"
        ),
    }.get(finding(numbers))
    if found or finding(numbers):
        return found
    rate, time = _confirmed(numbers, RATE, "throughput"), _confirmed(numbers, EPOCH, "epoch_time_s")
    if rate == time:
        return None
    return (
        Decision(by_rate, "the run's own file confirms the rate and not the time per epoch")
        if rate
        else Decision(by_time, "the run's own file confirms the time per epoch and not the rate")
    )


def two_bases(numbers: Ledger) -> Sentence:
    """What the two columns of the contradiction table say, and what settles it."""
    case = bases(numbers)
    if case == "agree":
        return Sentence(
            case,
            "The columns of {numref}`tab-contradiction` agree within the rounding of the report: "
            "throughput and time per epoch describe the same epoch, and either may be used.",
        )
    if case in ("arrived", "open"):
        return _settled(numbers)
    images = value(f"modelled.{TWO}.images_by_throughput", ",.0f")
    by_epoch = number(numbers, f"modelled.{TWO}.throughput_by_epoch_time")
    ranks = number(numbers, f"reported.{TWO}.throughput") / by_epoch
    twice = reported_jobs.agree(ranks, 2.0)
    causes = (
        "The two can be reconciled if every rank trained on the whole set instead of its share, "
        "if a rate was multiplied by the number of ranks, or if half of each epoch lay outside the "
        "timed part. In the first case each rank's pass takes longer than on one GPU, though "
        "both together process more images a second; in the second, two GPUs are slower than one; "
        "in the third, the untimed half decides."
        if twice
        else "No simple slip, such as counting an image once per rank, gives that factor."
    )
    without_rate = has(numbers, f"ddp_2gpu.{CLUSTER}.final_val_acc.median")
    undecided = (
        "The run's own file has arrived, but it records no rate and so does not tell which."
        if without_rate
        else "The summary cannot tell which; the run's own file would, if it records images and "
        "times."
    )
    also = single_gpus(numbers)
    cases = ["contradict", "twice" if twice else "no simple slip"]
    cases += ["no rate in the file"] if without_rate else []
    cases += ["single GPUs agree"] if also else []
    return Sentence(
        ", ".join(cases),
        "{numref}`tab-contradiction` forms the speed-up of two GPUs in both ways. "
        "The two are incompatible: at the reported rate, "
        f"{images} pass in the reported time, {'twice' if twice else 'not once'} the training set. "
        f"{causes} {undecided}{also}",
    )


def single_gpus(numbers: Ledger) -> str:
    """That the same check holds for the runs on one GPU, which have no ranks; empty if not."""
    pairs = [
        (f"reported.{job}.throughput", f"modelled.{job}.throughput_by_epoch_time")
        for job in (ONE, HALF)
    ]
    holds = all(has(numbers, *pair) and agree(numbers, *pair) for pair in pairs)
    return " For both runs on one GPU, rate and time agree within rounding." if holds else ""


def far_from_peak(numbers: Ledger, share: str) -> bool:
    """Whether a share of a device's peak is too small for its arithmetic to be the limit."""
    return number(numbers, share) < FAR_FROM_PEAK


def _settled(numbers: Ledger) -> Sentence:
    """What the job's own file says, once it is there."""
    text = "{numref}`tab-contradiction` forms the speed-up of two GPUs in both ways. "
    text += f"The run's own file has arrived: it records {value(f'{RATE}.median', ',.0f')}"
    confirmed = {"throughput": _confirmed(numbers, RATE, "throughput")}
    if has(numbers, f"{EPOCH}.median"):
        text += f" and {value(f'{EPOCH}.median', '.1f')} an epoch"
        confirmed["time per epoch"] = _confirmed(numbers, EPOCH, "epoch_time_s")
    holds = [name for name, holds in confirmed.items() if holds]
    fails = [name for name, holds in confirmed.items() if not holds]
    parts = [f"confirms the reported {listed(holds)}"] if holds else []
    parts += [f"does not confirm the reported {listed(fails)}"] if fails else []
    case, why = _why(numbers)
    return Sentence(
        f"confirms {listed(holds or ['none'])}, {case}", f"{text}. It {' and '.join(parts)}.{why}"
    )


def _why(numbers: Ledger) -> tuple[str, str]:
    """How the two reported numbers go together, where the file counts images and times them."""
    images = value(f"recorded.{TWO}.images", ",.0f")
    seconds = value(f"recorded.{TWO}.train_time_s", ".1f")
    rate = value(f"recorded.{TWO}.rate", ",.0f")
    reasons = {
        reported_files.ALL_IMAGES: "every rank trained on the whole set, so an epoch is twice the "
        "work.",
        reported_files.MULTIPLIED: f"{rate}; the reported rate is that times the number of ranks.",
        reported_files.UNTIMED: "the reported rate is that of the timed part alone.",
        reported_files.SLOWER: f"{rate}.",
    }
    found = finding(numbers)
    if found in reasons:
        return found, f" It counts {images} in {seconds} of an epoch: {reasons[found]}"
    if bases(numbers) == "open":
        return "open", (
            " It does not count the images of an epoch, so how the two can both hold stays "
            "undetermined."
        )
    return "settled", ""


def stem(numbers: Ledger) -> Sentence:
    """Which stem the reported model can have had, by the arithmetic it implies."""
    small, large = f"modelled.{ONE}.peak_share_cifar", f"modelled.{ONE}.peak_share_imagenet"
    if not has(numbers, small, large):
        return Sentence("missing", "The arithmetic of the reported model is not known.")
    text = (
        "The stem of the model was not reported. "
        f"With a stem for small images, the reported rate of one GPU would need "
        f"{value(small, '.0f')} of its FP32 peak; with torchvision's own stem, for large images, "
        f"it needs {value(large, '.0f')}."
    )
    possible = [number(numbers, key) <= 100.0 for key in (small, large)]
    if possible == [False, True]:
        text += (
            " The former is out of reach of direct convolution, and a fast algorithm would have to "
            "save the excess while running at the peak. So the stem almost certainly reduced the "
            "image early, as torchvision's does"
        )
        if far_from_peak(numbers, large):
            return Sentence(
                "large, far from the peak",
                text + ", and arithmetic was far from limiting the run.",
            )
        return Sentence("large", text + ".")
    if possible == [True, True]:
        return Sentence("open", text + " Both are possible, so the stem remains open.")
    return Sentence("impossible", text + " The rate itself is therefore in doubt.")


def half_precision(numbers: Ledger) -> Sentence:
    """What bounds the reported FP16 run."""
    share, gain = f"modelled.{HALF}.peak_share_imagenet", f"reported.{HALF}.speedup"
    if not has(numbers, share, gain):
        return Sentence("missing", "No FP16 run was reported.")
    text = (
        f"The FP16 run is {value(gain, '.2f', False)} times as fast as FP32, and uses "
        f"{value(share, '.1f')} of the GPU's FP16 peak if its stem is torchvision's."
    )
    if far_from_peak(numbers, share):
        return Sentence(
            "far from the peak",
            f"{text} A job so far below the peak is limited by the launching of kernels, by "
            "kernels too small to fill the device, by memory traffic or by its input, not by "
            "arithmetic. FP16 about halves the activations that are moved; its gain does not show "
            "what the arithmetic units could give.",
        )
    return Sentence("near the peak", f"{text} Arithmetic may be what limits it.")


def batch_norm(numbers: Ledger) -> Sentence:
    """Whether the reported bottleneck is one, from the job's own trace where there is one."""
    end = "batch_norm_share"
    own = [key for key in numbers if key.startswith("trace.") and PROFILE in key]
    own = [key.removesuffix(end) for key in own if ".by_operator." in key and key.endswith(end)]
    if not own:
        other, norm = f"reported.{PROFILE}.share.other", f"reported.{PROFILE}.share.batch_norm"
        case, text = "undetermined", "How the profile grouped its kernels was not reported"
        if has(numbers, other, norm) and number(numbers, other) > number(numbers, norm):
            case = "undetermined, a larger one may hide"
            text += f", and {value(other, '.1f')} of the time is in no named group, where a larger "
            text += "share may hide"
        claim = "whether batch normalisation is the bottleneck remains open"
        return Sentence(case, f"{text}. Without the trace, {claim}.")
    norm, convolution = f"{own[0]}{end}", f"{own[0]}convolution_share"
    holds = number(numbers, norm) > number(numbers, convolution)
    return Sentence(
        "holds" if holds else "contradicted",
        f"The trace of the reported run has arrived. By operator, {value(norm, '.1f')} of its "
        f"device time belongs to batch normalisation and {value(convolution, '.1f')} to "
        f"convolution: the claim {'holds' if holds else 'does not hold'}.",
    )


#: End of the key of a trace's share of convolution.
CONVOLUTION = ".by_operator.convolution_share"


def convolution_leads(numbers: Ledger) -> bool:
    """Whether convolution has the largest share, by operator, in every profile that is here."""
    groups = [key.removesuffix("convolution_share") for key in numbers if key.endswith(CONVOLUTION)]
    return bool(groups) and all(
        number(numbers, f"{group}convolution_share")
        >= max(number(numbers, key) for key in numbers if key.startswith(group))
        for group in groups
    )


def cpu_profile(numbers: Ledger) -> Sentence:
    """What our own profiles on CPUs say; empty where there is none of one rank."""
    found = [key.removesuffix(CONVOLUTION) for key in numbers if key.endswith(CONVOLUTION)]
    one_rank, two_ranks = (
        next(
            (key for key in found if key.startswith("trace.profile_") and f"_{ranks}cpu" in key), ""
        )
        for ranks in (1, GPUS)
    )
    if not one_rank:
        return Sentence("none", "")
    text = (
        "Our own profiles on CPUs ({numref}`fig-profile`) are no evidence about the GPU: by "
        f"operator, convolution takes {value(f'{one_rank}{CONVOLUTION}', '.0f')} of the time of "
        "one rank"
    )
    exchanged = f"{two_ranks}.by_operator.communication_share"
    if not two_ranks or not has(numbers, exchanged):
        return Sentence("one rank", f"{text}.")
    return Sentence(
        "one and two ranks",
        f"{text}, and {value(f'{two_ranks}{CONVOLUTION}', '.0f')} of that of two, beside "
        f"{value(exchanged, '.0f')} for communication.",
    )


def exchange(numbers: Ledger) -> Sentence:
    """For which batches the network can explain the reported loss."""
    gap, batch = f"modelled.{TWO}.gap_us_per_image", f"modelled.{TWO}.matching_batch_10gbit"
    if not has(numbers, gap, batch):
        return Sentence("no loss", "The report leaves no loss for the network to explain.")
    if bases(numbers) == "contradict" and has(numbers, f"modelled.{TWO}.sharded_gap_us_per_image"):
        return Sentence(
            "possible, by both readings",
            "Under either reading the network could be the cause, at a suitable batch. Neither the "
            "batch nor the rate of the link was written down, so that it is a possible cause, not "
            "a shown one.",
        )
    settled = decision(numbers)
    shared = "sharded_" if settled and settled.basis == "epoch_time" else ""
    gap, batch, slow = (
        f"modelled.{TWO}.{shared}{name}"
        for name in ("gap_us_per_image", "matching_batch_10gbit", "matching_batch_1gbit")
    )
    read = "By its rate" if not shared else "By its time per epoch"
    return Sentence(
        f"possible{', by time' if shared else ''}",
        f"{read}, the run on two GPUs loses {value(gap, '.0f')} an image against two GPUs without "
        f"loss. The gradients of the model are {value(f'modelled.{TWO}.gradient_mb', '.1f')}; at "
        "the full rate of ten-gigabit Ethernet their exchange takes "
        f"{value(f'modelled.{TWO}.exchange_ms_10gbit', '.0f')} a step, which is that loss at a "
        f"global batch of {value(batch, ',.0f', False)}; on gigabit Ethernet, at "
        f"{value(slow, ',.0f', False)}. At a larger batch another cause must add to it; at a "
        "smaller one, part of the exchange hides behind the backward pass. Neither the batch nor "
        "the rate of the link was written down, so that the network is a possible cause, not a "
        "shown one.",
    )
