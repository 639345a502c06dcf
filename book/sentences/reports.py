"""Sentences about the reported numbers: what they say together, and what they leave open."""

from __future__ import annotations

from scalebook.analysis import checking, recorded
from scalebook.values.sentences import Ledger, agree, has, listed, measured, number, value

#: Reported jobs the paper is about: one GPU, two GPUs, half precision, profile.
ONE, TWO, HALF, PROFILE = "2644", "2649", "2650", "2915"
#: Ranks of job `TWO`.
GPUS = 2
#: Where the reported jobs ran.
CLUSTER = "magic-castle"
#: Below this share of its arithmetic peak, in percent, a device is not limited by arithmetic.
FAR_FROM_PEAK = 30.0


def arrived(known: Ledger) -> bool:
    """Whether any file of the reported study itself is here."""
    return any(f".{CLUSTER}." in key and known[key].kind == "measured" for key in known)


def bases(known: Ledger) -> str:
    """How throughput and time per epoch of two GPUs stand to each other.

    ``agree`` or ``contradict`` by the report alone; ``arrived`` if the run's own file decides,
    ``open`` if it is here and confirms both without counting images, so that it does not.
    """
    rate, epoch = f"ddp_2gpu.{CLUSTER}.throughput", f"ddp_2gpu.{CLUSTER}.epoch_time_s"
    if measured(known, rate):
        told = (rate, f"reported.{TWO}.throughput"), (epoch, f"reported.{TWO}.epoch_time_s")
        both = all(has(known, f"{one}.median", other) and agree(known, f"{one}.median", other)
                   for one, other in told)  # fmt: skip
        return "open" if both and not _finding(known) else "arrived"
    same = agree(known, f"reported.{TWO}.throughput", f"modelled.{TWO}.throughput_by_epoch_time")
    return "agree" if same else "contradict"


def two_bases(known: Ledger) -> str:
    """What the two columns of the contradiction table say, and what settles it."""
    case = bases(known)
    if case == "agree":
        return (
            "The columns of {numref}`tab-contradiction` agree within the rounding of the report: "
            "throughput and time per epoch describe the same epoch, and either may be used."
        )
    if case in ("arrived", "open"):
        return _settled(known)
    images = value(f"modelled.{TWO}.images_by_throughput", ",.0f")
    ranks = number(known, f"reported.{TWO}.throughput") / number(
        known, f"modelled.{TWO}.throughput_by_epoch_time"
    )
    twice = checking.agree(ranks, 2.0)
    causes = (
        "The two can be reconciled if every rank trained on the whole set instead of its share, "
        "if a rate was multiplied by the number of ranks, or if half of each epoch lay outside the "
        "timed part. In the first case each rank's pass takes longer than on one GPU, though "
        "both together process more images a second; in the second, two GPUs are slower than one; "
        "in the third, the untimed half decides."
        if twice
        else "No simple slip, such as counting an image once per rank, gives that factor."
    )
    return (
        "{numref}`tab-contradiction` forms the speed-up of two GPUs in both ways. "
        "The two exclude each other: at the reported rate, "
        f"{images} pass in the reported time, {'twice' if twice else 'not once'} the training set. "
        f"{causes} {_undecided(known)}"
        f"{_single_gpus(known)}"
    )


def _undecided(known: Ledger) -> str:
    if has(known, f"ddp_2gpu.{CLUSTER}.final_val_acc.median"):
        return "The run's own file has arrived, but it records no rate and so does not tell which."
    return (
        "The summary cannot tell which; the run's own file would, if it records images and times."
    )


def _single_gpus(known: Ledger) -> str:
    """Whether the same check holds for the runs on one GPU, which have no ranks to confuse."""
    pairs = [
        (f"reported.{job}.throughput", f"modelled.{job}.throughput_by_epoch_time")
        for job in (ONE, HALF)
    ]
    if not all(has(known, *pair) for pair in pairs) or not all(agree(known, *p) for p in pairs):
        return ""
    return " For both runs on one GPU, rate and time agree within rounding."


def _settled(known: Ledger) -> str:
    """What the job's own file says, once it is there."""
    rate, epoch = f"ddp_2gpu.{CLUSTER}.throughput", f"ddp_2gpu.{CLUSTER}.epoch_time_s"
    said = "{numref}`tab-contradiction` forms the speed-up of two GPUs in both ways. "
    said += f"The run's own file has arrived: it records {value(f'{rate}.median', ',.0f')}"
    verdicts = [("throughput", f"{rate}.median", f"reported.{TWO}.throughput")]
    if has(known, f"{epoch}.median"):
        said += f" and {value(f'{epoch}.median', '.1f')} an epoch"
        verdicts.append(("time per epoch", f"{epoch}.median", f"reported.{TWO}.epoch_time_s"))
    holds = [name for name, found, told in verdicts if agree(known, found, told)]
    fails = [name for name, found, told in verdicts if not agree(known, found, told)]
    parts = [f"confirms the reported {listed(holds)}"] if holds else []
    parts += [f"does not confirm the reported {listed(fails)}"] if fails else []
    return f"{said}. It {' and '.join(parts)}.{_why(known)}"


def _finding(known: Ledger) -> str:
    """What the file's counts say of the reported rate; empty where it counts nothing."""
    keys = [f"recorded.{TWO}.{metric}" for metric in ("images", "rate")]
    told = [f"reported.{TWO}.throughput", f"reported.{TWO}.epoch_time_s",
            f"modelled.{TWO}.throughput_by_epoch_time"]  # fmt: skip
    if not has(known, *keys, *told):
        return ""
    images, rate = (number(known, key) for key in keys)
    claimed, epoch, by_epoch = (number(known, key) for key in told)
    return recorded.finding(images, rate, claimed, epoch * by_epoch, GPUS)


def _why(known: Ledger) -> str:
    """How the two reported numbers go together, where the file counts images and times them."""
    images = value(f"recorded.{TWO}.images", ",.0f")
    seconds = value(f"recorded.{TWO}.train_time_s", ".1f")
    rate = value(f"recorded.{TWO}.rate", ",.0f")
    counts = f" It counts {images} in {seconds} of an epoch: "
    found = _finding(known)
    if found == recorded.ALL_IMAGES:
        return f"{counts}every rank trained on the whole set, so an epoch is twice the work."
    if found == recorded.MULTIPLIED:
        return f"{counts}{rate}; the reported rate is that times the number of ranks."
    if found == recorded.UNTIMED:
        return f"{counts}the reported rate is that of the timed part alone."
    if found == recorded.SLOWER:
        return f"{counts}{rate}."
    if bases(known) == "open":
        return (
            " It does not count the images of an epoch, so how the two can both hold stays "
            "undetermined."
        )
    return ""


def stem(known: Ledger) -> str:
    """Which stem the reported model can have had, by the arithmetic it implies."""
    small, large = f"modelled.{ONE}.peak_share_cifar", f"modelled.{ONE}.peak_share_imagenet"
    if not has(known, small, large):
        return "The arithmetic of the reported model is not known."
    said = (
        "The stem of the model was not reported either. "
        f"With a stem for small images, the reported rate of one GPU would need "
        f"{value(small, '.0f')} of its FP32 peak; with torchvision's own stem, for large images, "
        f"it needs {value(large, '.0f')}."
    )
    possible = [number(known, key) <= 100.0 for key in (small, large)]
    if possible == [False, True]:
        said += (
            " The former is out of reach of direct convolution, and a fast algorithm would have to "
            "save the excess while running at the peak; so the stem almost certainly "
            "reduced the image early, as torchvision's does"
        )
        if number(known, large) < FAR_FROM_PEAK:
            return said + ", and the run was far from being limited by arithmetic."
        return said + "."
    if possible == [True, True]:
        return said + " Both are possible, so the stem remains open."
    return said + " The rate itself is therefore in doubt."


def half_precision(known: Ledger) -> str:
    """What bounds the reported FP16 run."""
    share, gain = f"modelled.{HALF}.peak_share_imagenet", f"reported.{HALF}.speedup"
    if not has(known, share, gain):
        return "No FP16 run was reported."
    said = (
        f"The reported FP16 run is {value(gain, '.2f', False)} times as fast as FP32, and uses "
        f"{value(share, '.1f')} of the GPU's FP16 peak."
    )
    if number(known, share) < FAR_FROM_PEAK:
        return (
            f"{said} A job that far below the peak is limited by the launching of kernels, by "
            "kernels too small to fill the device, by memory traffic or by its input, not by "
            "arithmetic: reduced precision shrinks the data that is moved, and its gain cannot "
            "show what the arithmetic units could give."
        )
    return f"{said} Arithmetic may be what limits it."


def batch_norm(known: Ledger) -> str:
    """Whether the reported bottleneck is one, from the job's own trace where there is one."""
    own = next(
        (
            key.removesuffix("batch_norm_share")
            for key in known
            if key.startswith("trace.") and PROFILE in key and ".by_operator." in key
            and key.endswith("batch_norm_share")
        ),
        None,
    )  # fmt: skip
    if own is None:
        other, norm = f"reported.{PROFILE}.share.other", f"reported.{PROFILE}.share.batch_norm"
        said = "How the reported shares were grouped is not stated"
        if has(known, other, norm) and number(known, other) > number(known, norm):
            said += f", and {value(other, '.1f')} of the time is in no named group, where a larger "
            said += "consumer may hide"
        return f"{said}. Without the trace, the claim stays undetermined."
    norm, other = f"{own}batch_norm_share", f"{own}convolution_share"
    said = f"The trace of the reported run has arrived. By operator, {value(norm, '.1f')} of its "
    said += f"device time belongs to batch normalisation and {value(other, '.1f')} to convolution: "
    holds = number(known, norm) > number(known, other)
    return said + ("the claim holds." if holds else "the claim does not hold.")


def exchange(known: Ledger) -> str:
    """For which batches the network can explain the reported loss."""
    gap, batch = f"modelled.{TWO}.gap_us_per_image", f"modelled.{TWO}.matching_batch_10gbit"
    if not has(known, gap, batch):
        return "The report leaves no loss for the network to explain."
    return (
        "The report calls the run network-limited. "
        f"Taken at its word, the reported throughput of two GPUs loses {value(gap, '.0f')} an "
        f"image against a perfect division of labour. The gradients of the model are "
        f"{value(f'modelled.{TWO}.gradient_mb', '.1f')}; at the full rate of ten-gigabit Ethernet "
        f"their exchange takes {value(f'modelled.{TWO}.exchange_ms_10gbit', '.0f')} a step, which "
        f"is that loss at a global batch of {value(batch, ',.0f', False)}; on gigabit Ethernet, at "
        f"{value(f'modelled.{TWO}.matching_batch_1gbit', ',.0f', False)}. A larger batch needs "
        "another cause besides, a smaller one an exchange that hides behind the backward pass. "
        "Neither the batch nor the rate of the link was reported, so the network is a possible "
        "cause, not a shown one."
    )
