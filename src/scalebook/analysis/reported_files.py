"""What a reported job's own file counts, once it is here, and what that settles.

A rate, a time per epoch and the images of an epoch are three numbers with one equation. Where a
report tells two of them and they do not fit a pass over the training set, the file decides if it
counts images and times them:

===============  ==================================================================================
finding          the file counts …
===============  ==================================================================================
all-images       as many passes over the training set as there are ranks
multiplied       one pass, at the claimed rate divided by the ranks
untimed          one pass at the claimed rate, in a part of each epoch
slower           one pass, at another rate than the claimed one
===============  ==================================================================================
"""

from dataclasses import dataclass
from pathlib import Path

from scalebook import contract, results
from scalebook.analysis.reported_jobs import Job, agree
from scalebook.analysis.text import number
from scalebook.contract import ScalebookError

ALL_IMAGES, MULTIPLIED, UNTIMED, SLOWER = "all-images", "multiplied", "untimed", "slower"

_COLUMNS = ("images", "train_time_s", "throughput", "epoch_time_s")


@dataclass(frozen=True)
class Counts:
    """What a file counts, medians over its epochs.

    Attributes
    ----------
    file : str
        The CSV, relative to the study's root.
    rate : float
        Images a second: counted where the file tells images and their time, warm-up left out
        where it tells that too; else as the file has it.
    images, train_time_s : float or None
        Images of an epoch over all ranks, and the seconds they took; None where not counted.
    epoch_time_s : float or None
        Seconds of the whole epoch.
    """

    file: str
    rate: float
    images: float | None
    train_time_s: float | None
    epoch_time_s: float | None

    @property
    def text(self) -> str:
        """What it counts, to follow "the file"."""
        if self.images is None:
            return (
                f"records {number(self.rate)} images/s and {number(self.epoch_time_s)} s an epoch"
            )
        return f"counts {number(self.images)} images in {number(self.train_time_s)} s"


def counts(job: Job) -> Counts | None:
    """What the file of a job counts; None where there is none, or it holds no rate."""
    stem = job.measured.get("stem")
    if not stem:
        return None
    try:
        epochs = results.epochs(stem)
    except ScalebookError:
        return None
    folder = contract.TRIALS if job.measured.get("local") else contract.EVIDENCE
    medians = {name: float(epochs[name].median()) for name in _COLUMNS if name in epochs}
    medians = {name: value for name, value in medians.items() if value == value}
    rate = results.throughput(epochs)
    if rate != rate:
        return None
    counted = {"images", "train_time_s"} <= set(medians)
    return Counts(
        contract.RunFiles(Path(folder), stem).csv.as_posix(),
        rate,
        medians["images"] if counted else None,
        medians["train_time_s"] if counted else None,
        medians.get("epoch_time_s"),
    )


def finding(images: float, rate: float, claimed: float, in_set: float, ranks: float) -> str:
    """What the counts say of a claimed rate: a word of the table above, empty where none fits.

    Parameters
    ----------
    images, rate : float
        Images of an epoch and images/s, as the file counts them.
    claimed : float
        The reported images/s.
    in_set : float
        Images of the training set.
    ranks : float
        Number of ranks.
    """
    if ranks > 1 and agree(images, ranks * in_set):
        return ALL_IMAGES if agree(claimed, rate) else ""
    if not agree(images, in_set):
        return ""
    if agree(claimed, rate):
        return UNTIMED
    return MULTIPLIED if ranks > 1 and agree(claimed, ranks * rate) else SLOWER


def settled(job: Job) -> tuple[Counts, str] | None:
    """What a job's file counts, and the `finding`; None where it settles nothing.

    A file that has a rate and a time per epoch, but counts no images, settles it only if the two
    make one pass over the training set.
    """
    counted, in_set, claimed = counts(job), job.dataset[0], job.values.get("throughput")
    if counted is None or not in_set or not claimed:
        return None
    images = counted.images
    if images is None:
        images = counted.rate * (counted.epoch_time_s or 0.0)
        if not agree(images, in_set):
            return None
    found = finding(images, counted.rate, claimed, in_set, job.ranks)
    return (counted, found) if found else None
