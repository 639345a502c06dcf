"""What a device could do at best: arithmetic and memory.

``peaks.csv`` holds what makers state, with source and date: TFLOP/s of dense matrix
products by precision, and GB/s of memory. A CPU's peak is measured on the spot.
"""

from __future__ import annotations

import csv
import functools
import re
import time
from dataclasses import dataclass
from importlib import resources

import numpy as np


@dataclass(frozen=True)
class Peak:
    """Best rates of one device.

    Attributes
    ----------
    device : str
        Its name here.
    tflops : dict of str to float
        TFLOP/s by precision: fp32, and tf32, fp16, bf16 where the device has them.
    memory_gb_s : float
        Bandwidth of its memory.
    source, date : str
        Who says so, and when; "measured here" for a measurement.
    """

    device: str
    tflops: dict[str, float]
    memory_gb_s: float
    source: str
    date: str

    def of(self, precision: str) -> float:
        """TFLOP/s in a precision; that of fp32 where no other is stated."""
        return self.tflops.get(precision, self.tflops["fp32"])


@functools.cache
def table() -> tuple[tuple[re.Pattern[str], Peak], ...]:
    """Devices known, each with the pattern of its names; the first that fits counts."""
    text = resources.files(__package__).joinpath("peaks.csv").read_text(encoding="utf-8")
    rows = []
    for row in csv.DictReader(text.splitlines()):
        rates = {name: float(row[name]) for name in ("fp32", "tf32", "fp16", "bf16") if row[name]}
        peak = Peak(row["device"], rates, float(row["memory_gb_s"]), row["source"], row["date"])
        rows.append((re.compile(row["pattern"], re.IGNORECASE), peak))
    return tuple(rows)


def known(device: str) -> Peak | None:
    """Peak of a device by the name the driver gives it; None where it is not in the table."""
    for pattern, peak in table():
        if pattern.search(device):
            return peak
    return None


def measured_cpu(seconds: float = 1.0, size: int = 1024) -> Peak:
    """Measure this machine's CPU: matrix products in fp32, and copying what fits in no cache.

    Parameters
    ----------
    seconds : float
        About how long to measure; the best round counts.
    size : int
        Rows and columns of the matrices.
    """
    one, other = np.ones((size, size), np.float32), np.ones((size, size), np.float32)
    product = np.empty_like(one)
    rate = 2 * size**3 / _best(lambda: np.matmul(one, other, out=product), seconds / 2)
    block = np.zeros(16 << 20, np.float32)
    copy = np.empty_like(block)
    moved = 2 * block.nbytes / _best(lambda: np.copyto(copy, block), seconds / 2)
    today = time.strftime("%Y-%m-%d")
    return Peak("this machine's CPU", {"fp32": rate / 1e12}, moved / 1e9, "measured here", today)


def _best(work, seconds: float) -> float:
    """Shortest time of one round, in seconds."""
    work()
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
