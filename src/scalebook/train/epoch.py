"""An epoch under way: its sums, its step times and its rates.

Nothing here makes the host wait for a GPU inside the epoch: losses and hits are added up on
the device, and times are events that are read when the epoch is over.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from typing import Any

import torch
from torch import Tensor

from scalebook.contract import ScalebookError
from scalebook.train.distributed import Ranks

#: Columns of the table of steps, one row a step.
IMAGES, STEP_TIME, DATA_WAIT, WARMUP, ATTEMPT = range(5)


class StepClock:
    """Times each step, and the part of it that went into making its batch.

    A step lasts until the next one starts, so that whatever happens between two steps counts.
    On a GPU the marks are CUDA events, on a CPU readings of a monotonic clock.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        # Events on a GPU, else seconds of the clock.
        self._starts: list[Any] = []
        self._ready: list[Any] = []

    def start(self) -> None:
        """Mark that a step begins; called once more after the last step."""
        self._starts.append(self._mark())

    def batch_ready(self) -> None:
        """Mark that the step's batch is made."""
        self._ready.append(self._mark())

    def read(self) -> list[tuple[float, float]]:
        """Step time and data time of each step in seconds."""
        if self._cuda:
            torch.cuda.synchronize()
        return [
            (self._between(begin, end), self._between(begin, ready))
            for begin, ready, end in zip(self._starts, self._ready, self._starts[1:])
        ]

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, begin: Any, end: Any) -> float:
        """Seconds from one mark to another."""
        return float(begin.elapsed_time(end) / 1e3 if self._cuda else end - begin)


class LossOnItsWay:
    """A sum of losses that goes from the device to the host, which never waits for it.

    Parameters
    ----------
    losses : Tensor
        Summed up on their device.
    images : int
        Images of the sum.
    """

    def __init__(self, losses: Tensor, images: int) -> None:
        self._images = images
        self._value = losses.sum()
        self._arrived: Any = None
        if self._value.is_cuda:
            on_host = torch.empty((), dtype=self._value.dtype, pin_memory=True)
            on_host.copy_(self._value, non_blocking=True)
            self._value = on_host
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    @property
    def is_here(self) -> bool:
        """Whether `mean` can be read."""
        return self._arrived is None or bool(self._arrived.query())

    def mean(self) -> float | None:
        """Mean loss of an image; None where there was none, or it is no number."""
        value = self._value.item() / self._images if self._images else math.nan
        return value if math.isfinite(value) else None


class EpochSums:
    """Loss and hits of the training steps, added up on the device.

    Parameters
    ----------
    steps : int
        Steps of the epoch.
    device : torch.device
        Where the losses are.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        #: Sum of losses in each step, and last the hits of all.
        self.values = torch.zeros(steps + 1, dtype=torch.float64, device=device)

    def add(self, step: int, loss_sum: Tensor, hits: Tensor) -> None:
        """Add this rank's sum of losses and its number of right answers in `step`."""
        self.values[step] = loss_sum
        self.values[-1] += hits

    def peek(self, begin: int, end: int, images: int) -> LossOnItsWay:
        """Ask for this rank's loss in the steps from `begin` up to `end`, on that many images."""
        return LossOnItsWay(self.values[begin:end], images)

    def read(self, images: int, epoch: int, ranks: Ranks) -> tuple[float, float]:
        """Mean loss and accuracy (percent) over all ranks.

        Raises
        ------
        ScalebookError
            If a loss was not finite; on every rank, naming the first such step.
        """
        both = ranks.sum(self.values.clone()).cpu()
        losses, hits = both[:-1], both[-1].item()
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            raise ScalebookError(
                f"epoch {epoch}, step {int(bad[0]) + 1}: the training loss is not finite: lower "
                "lr, lengthen warmup_epochs, or use another precision"
            )
        return losses.sum().item() / images, 100 * hits / images


class EpochSoFar:
    """What one rank has measured of an epoch, over all attempts that worked on it.

    Parameters
    ----------
    number : int
        Of the epoch, from 1.
    steps : int
        Steps of a whole epoch.
    attempt : int
        Number of this attempt.

    Attributes
    ----------
    done : int
        Steps of the epoch that are done.
    sums : EpochSums
        Loss and hits of those.
    clock : StepClock
        Times this attempt's steps.
    """

    def __init__(self, number: int, steps: int, attempt: int, ranks: Ranks) -> None:
        self.number, self.attempt, self.done = number, attempt, 0
        self.sums = EpochSums(steps, ranks.device)
        self._ranks = ranks
        self.clock = StepClock(ranks.device)
        self._own: list[tuple[int, bool]] = []  # images and warm-up of this attempt's steps
        # Of earlier attempts: their steps, the time they spent, the memory they took.
        self._before = torch.zeros(0, 5, dtype=torch.float64)
        self._time_before = self._memory_before = 0.0
        self._began = time.perf_counter()
        self._trained_s = 0.0
        self._table: Tensor | None = None

    # ------------------------------------------------------------------ within the steps

    def begin(self) -> None:
        """Start the epoch's clock in this attempt."""
        self._began = time.perf_counter()

    def end_step(self, images: int, warmup: bool) -> None:
        """Count a step of this rank, with its images, and whether it is left out of the rates."""
        self._own.append((images, warmup))
        self.done += 1

    # ------------------------------------------------------------------ after them

    def table(self) -> Tensor:
        """Rows of all steps done so far; the first call ends the last of them."""
        if self._table is None:
            self.clock.start()
            times = self.clock.read()
            rows = torch.tensor(
                [
                    (images, step_time, data_wait, warmup, self.attempt)
                    for (images, warmup), (step_time, data_wait) in zip(self._own, times)
                ],
                dtype=torch.float64,
            ).view(-1, 5)
            self._table = torch.cat([self._before, rows])
            self._trained_s = time.perf_counter() - self._began
        return self._table

    def elapsed_s(self) -> float:
        """Wall time spent on the epoch; an earlier attempt's ends with its last step."""
        return self._time_before + time.perf_counter() - self._began

    def peak_memory_mb(self) -> float:
        """Highest memory use so far, in MiB."""
        return max(self._memory_before, peak_memory_mb(self._ranks.device))

    # ------------------------------------------------------------------ over a stop

    def capture(self) -> dict[str, Any]:
        """State for a checkpoint; all ranks call this, and each gets that of all."""
        table, ranks = self.table(), self._ranks
        elapsed, memory = ranks.max([self._time_before + self._trained_s, self.peak_memory_mb()])
        return {
            "done": self.done,
            "tables": ranks.gather(table),
            "sums": ranks.gather(self.sums.values),
            "elapsed_s": elapsed,
            "peak_memory_mb": memory,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of `capture`."""
        self.done = int(state["done"])
        self._before = state["tables"][self._ranks.rank]
        self.sums.values.copy_(state["sums"][self._ranks.rank])
        self._time_before = state["elapsed_s"]
        self._memory_before = state["peak_memory_mb"]


def epoch_rates(
    times: Tensor, sizes: list[int], warmup: Tensor, ranks: Ranks
) -> dict[str, float | None]:
    """How long the training steps of an epoch took, as the CSV has it; the slowest rank counts.

    Parameters
    ----------
    times : Tensor
        This rank's step times in seconds, shape (steps,).
    sizes : list of int
        Images over all ranks in each step.
    warmup : Tensor
        Whether each step is left out of the rate.

    Returns
    -------
    dict
        ``throughput``, ``train_time_s``, ``warmup_time_s`` and ``warmup_images``; no throughput
        where all steps are left out.
    """
    total, timed = ranks.max([times.sum().item(), times[~warmup].sum().item()])
    warmup_images = sum(size for size, out in zip(sizes, warmup.tolist()) if out)
    images = sum(sizes) - warmup_images
    return {
        "throughput": images / timed if images else None,
        "train_time_s": total,
        "warmup_time_s": total - timed,
        "warmup_images": warmup_images,
    }


def step_rows(gathered: list[Tensor], epoch: int) -> list[dict[str, float]]:
    """Rows of the steps file; `gathered` holds the table of `EpochSoFar` of each rank."""
    return [
        {
            "attempt": int(attempt), "epoch": epoch, "step": step + 1, "rank": rank,
            "images": int(images), "step_time_s": step_time, "data_wait_s": data_wait,
            "warmup": int(warmup),
        }
        for step in range(len(gathered[0]))
        for rank, table in enumerate(gathered)
        for images, step_time, data_wait, warmup, attempt in [table[step].tolist()]
    ]  # fmt: skip


def peak_memory_mb(device: torch.device) -> float:
    """Highest memory use so far in MiB: of the GPU's tensors, or of the process on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**20)
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, else KiB
