"""Step times and sums of one epoch, read once at its end.

Nothing here makes the host wait for a GPU inside the epoch: losses and hits are added up on
the device, and times are events that are read when the epoch is over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from scalebook.contract import ScalebookError
from scalebook.train.distributed import Ranks


class StepClock:
    """Times each step, and the part of it that went into making its batch.

    A step lasts until the next one starts, so that whatever happens between two steps counts.
    On a GPU the marks are CUDA events, on a CPU readings of a monotonic clock.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._starts: list = []
        self._ready: list = []

    def start(self) -> None:
        """Mark that a step begins; called once more after the last step."""
        self._starts.append(self._mark())

    def batch_ready(self) -> None:
        """Mark that the step's batch is made."""
        self._ready.append(self._mark())

    def read(self) -> Tensor:
        """Step time and data time of each step in seconds, float64, shape (steps, 2)."""
        if self._cuda:
            torch.cuda.synchronize()
        rows = [
            (self._between(begin, end), self._between(begin, ready))
            for begin, ready, end in zip(self._starts, self._ready, self._starts[1:])
        ]
        return torch.tensor(rows, dtype=torch.float64).view(-1, 2)

    def _mark(self) -> torch.cuda.Event | float:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, begin: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
        return begin.elapsed_time(end) / 1e3 if self._cuda else end - begin


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


@dataclass(frozen=True)
class Rates:
    """How long the training steps of an epoch took; the slowest rank counts.

    Attributes
    ----------
    train_time_s, warmup_time_s : float
        All steps, and those left out of the rate.
    warmup_images : int
        Images over all ranks in the steps left out.
    throughput : float or None
        Images per second over all ranks in the other steps; None where there are none.
    """

    train_time_s: float
    warmup_time_s: float
    warmup_images: int
    throughput: float | None


def rates(times: Tensor, sizes: list[int], warmup: Tensor, ranks: Ranks) -> Rates:
    """Rates of an epoch.

    Parameters
    ----------
    times : Tensor
        This rank's step times in seconds, shape (steps,).
    sizes : list of int
        Images over all ranks in each step.
    warmup : Tensor
        Whether each step is left out of the rate.
    """
    total, timed = ranks.max([times.sum().item(), times[~warmup].sum().item()])
    warmup_images = sum(size for size, out in zip(sizes, warmup.tolist()) if out)
    images = sum(sizes) - warmup_images
    return Rates(total, total - timed, warmup_images, images / timed if images else None)


def step_rows(gathered: list[Tensor], epoch: int) -> list[dict[str, float]]:
    """Rows of the steps file; `gathered` holds the table of `epoch.EpochSoFar` of each rank."""
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
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
