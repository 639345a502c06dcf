"""What a device could do at best: arithmetic and memory.

``peaks.csv`` holds what makers state, with source and date: TFLOP/s of dense matrix products by
precision, and GB/s of memory. Where ``tf32`` is empty the device has no such mode: NVIDIA's matrix
units have it from Ampere (A100) on, AMD's from CDNA 3 on, MI250X and MI210 are CDNA 2. Turing and
Volta (T4, V100) have no ``bf16`` either, ``fp8`` began with Hopper, Ada and CDNA 3. For AMD
``fp32`` is the rate of the matrix units, which products in fp32 use. ``vector`` is the rate in
fp32 of everything else, which has no matrix unit to run on; where it is empty it is that of
``fp32``. A pattern fits the names that drivers give to exactly these models; others, like those
made for one machine (A100 with 64 GB), are unknown rather than taken for one of them. A CPU's peak
is measured: by the run that was profiled, or on the spot.
"""

import csv
import functools
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8")


@dataclass(frozen=True)
class Peak:
    """Best rates of one device.

    Attributes
    ----------
    device : str
        Its name here.
    tflops : dict of str to float
        TFLOP/s of products by precision: fp32, and tf32, fp16, bf16, fp8 where the device has them.
    memory_gb_s : float
        Bandwidth of its memory.
    source, date : str
        Who says so, and when; begins with "measured" for a measurement.
    vector : float or None
        TFLOP/s of all that is no product; None where it is that of products in fp32.
    """

    device: str
    tflops: dict[str, float] = field(hash=False)
    memory_gb_s: float
    source: str
    date: str
    vector: float | None = None

    def of(self, precision: str, product: bool = True) -> float:
        """TFLOP/s of matrix products in a precision, else in fp32; or of other operations."""
        if not product:
            return self.vector or self.tflops["fp32"]
        return self.tflops.get(precision, self.tflops["fp32"])


@functools.cache
def table() -> tuple[tuple[re.Pattern[str], Peak], ...]:
    """Devices known, each with the pattern of its names; the first that fits counts."""
    text = resources.files(__package__).joinpath("peaks.csv").read_text(encoding="utf-8")
    rows = []
    for row in csv.DictReader(text.splitlines()):
        rates = {name: float(row[name]) for name in PRECISIONS if row[name]}
        vector = float(row["vector"]) if row["vector"] else None
        memory = float(row["memory_gb_s"])
        peak = Peak(row["device"], rates, memory, row["source"], row["date"], vector)
        rows.append((re.compile(row["pattern"], re.IGNORECASE), peak))
    return tuple(rows)


def known(device: str) -> Peak | None:
    """Peak of a device by the name the driver gives it; None where it is not in the table."""
    return next((peak for pattern, peak in table() if pattern.search(device)), None)


def measured_cpu() -> Peak:
    """Measure this machine's CPU, with the threads that PyTorch takes here."""
    from scalebook.train.tools import cpu_peak  # which imports torch

    measured = cpu_peak.measure()
    return cpu(measured, "this machine's CPU", "measured here", time.strftime("%Y-%m-%d"))


def cpu(measured: Mapping[str, float], whose: str, source: str, date: str) -> Peak:
    """Peak of a CPU from what `scalebook.train.tools.cpu_peak.measure` answered."""
    threads = round(measured["threads"])
    device = f"{threads} thread{'s' * (threads != 1)} of {whose}"
    rates = {"fp32": float(measured["fp32_tflops"])}
    return Peak(device, rates, float(measured["memory_gb_s"]), source, date)


# --------------------------------------------------------------------------- what a run measured

KEYS = (
    "recorded_steps", "recorded_step_time_s", "other_steps", "other_step_time_s", "ratio",
)  # fmt: skip
PEAK_KEYS = ("fp32_tflops", "memory_gb_s", "threads")


def get_overhead(path: Path) -> dict[str, Any] | None:
    """Compare steps with and without the profiler, from the manifest beside a trace of ours.

    Parameters
    ----------
    path : Path
        ``results/**/profiling/<stem>_rank<n>.pt.trace.json.gz``.

    Returns
    -------
    dict or None
        ``recorded_step_time_s`` and ``other_step_time_s``: median times of a step that was
        recorded and of one without the profiler, of how many steps, and their ``ratio``. None
        where the manifest is not there or does not say.
    """
    attempt = _last_attempt(path, "profiler", KEYS)
    return {key: attempt["profiler"][key] for key in KEYS} if attempt else None


def get_run_peak(path: Path) -> Peak | None:
    """Peak of the CPU that a trace of ours was recorded on, as the run measured it.

    Parameters
    ----------
    path : Path
        As of `get_overhead`.

    Returns
    -------
    Peak or None
        Of the cores that one rank computed on; None where the manifest is not there or does not
        say.
    """
    attempt = _last_attempt(path, "cpu_peak", PEAK_KEYS)
    if attempt is None:
        return None
    day = str(attempt.get("start"))[:10]
    return cpu(attempt["cpu_peak"], "the run's CPU", "measured by the run", day)


def _last_attempt(path: Path, what: str, keys: Sequence[str]) -> dict[str, Any] | None:
    """The last attempt of a trace's run that measured this, usable under all keys; None: none."""
    stem, mark, _ = path.name.rpartition("_rank")
    if not mark or path.parent.name != "profiling":
        return None
    try:
        document = contract.read_json(path.parent.parent / "manifests" / f"{stem}.json")
    except ScalebookError:
        return None
    for attempt in contract.attempts_of(document)[::-1]:
        measured = attempt.get(what)
        if isinstance(measured, dict) and all(_usable(measured.get(key)) for key in keys):
            return attempt
    return None


def _usable(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0
