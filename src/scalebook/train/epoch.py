"""An epoch under way: its sums and step times, which a stop within it must not lose."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from scalebook.train import metrics
from scalebook.train.distributed import Ranks

#: Columns of the table of steps, one row a step.
IMAGES, STEP_TIME, DATA_WAIT, WARMUP, ATTEMPT = range(5)


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
    sums : metrics.EpochSums
        Loss and hits of those.
    """

    def __init__(self, number: int, steps: int, attempt: int, ranks: Ranks) -> None:
        self.number, self.attempt, self.done = number, attempt, 0
        self.sums = metrics.EpochSums(steps, ranks.device)
        self._ranks = ranks
        self._clock = metrics.StepClock(ranks.device)
        self._own: list[tuple[int, bool]] = []  # images and warm-up of this attempt's steps
        # Of earlier attempts: their steps, the time they spent, the memory they took.
        self._before = torch.zeros(0, 5, dtype=torch.float64)
        self._time_before = self._memory_before = 0.0
        self._began = time.perf_counter()
        self._trained_s: float | None = None
        self._table: Tensor | None = None

    # ------------------------------------------------------------------ within the steps

    def begin(self) -> None:
        """Start the epoch's clock in this attempt."""
        self._began = time.perf_counter()

    def begin_step(self) -> None:
        """Mark that a step begins."""
        self._clock.start()

    def batch_ready(self) -> None:
        """Mark that the step's batch is made."""
        self._clock.batch_ready()

    def end_step(self, images: int, warmup: bool) -> None:
        """Count a step of this rank, with its images, and whether it is left out of the rates."""
        self._own.append((images, warmup))
        self.done += 1

    # ------------------------------------------------------------------ after them

    def table(self) -> Tensor:
        """Rows of all steps done so far; the first call ends the last of them."""
        if self._table is None:
            self._clock.start()
            times = self._clock.read()
            images, warmup = (
                torch.tensor(column, dtype=torch.float64).view(-1, 1)
                for column in ([one[0] for one in self._own], [one[1] for one in self._own])
            )
            attempts = torch.full_like(images, self.attempt)
            rows = torch.cat([images, times, warmup, attempts], dim=1)
            self._table = torch.cat([self._before, rows])
            self._trained_s = time.perf_counter() - self._began
        return self._table

    def elapsed_s(self) -> float:
        """Wall time spent on the epoch; an earlier attempt's ends with its last step."""
        return self._time_before + time.perf_counter() - self._began

    def peak_memory_mb(self) -> float:
        """Highest memory use so far, in MiB."""
        return max(self._memory_before, metrics.peak_memory_mb(self._ranks.device))

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
