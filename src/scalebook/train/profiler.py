"""A short profile of some training steps: one trace a rank, cleaned of who and where."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, UsageError
from scalebook.train.distributed import Ranks
from scalebook.train.privacy import clean_text
from scalebook.train.settings import Settings

# Steps that pass before the recorded ones: one that is skipped, then two that are thrown
# away, because starting the profiler slows its first steps.
_SKIPPED, _DISCARDED = 1, 2

# Keys of a trace's head that are kept; others may name hosts and folders.
_KEPT = {
    "schemaVersion", "deviceProperties", "traceEvents", "distributedInfo", "displayTimeUnit",
    "baseTimeNanoseconds", "record_shapes", "profile_memory", "with_stack", "with_flops",
    "with_modules", "cuda_runtime_version", "cuda_driver_version", "cupti_version",
    "hip_runtime_version", "hip_driver_version",
}  # fmt: skip


class StepProfiler:
    """Records ``profile_steps`` steps of a run; does nothing where no profile is asked for.

    Parameters
    ----------
    settings : Settings
        With ``profile``, ``profile_steps`` and ``untimed_steps``.
    steps : int
        Steps this attempt will do in all.
    whole : int
        Steps of the whole run. The rest of one may be too short for a profile.
    files : RunFiles
        Where the trace goes.
    root : Path
        The study's folder; its name is taken out of the trace.

    Raises
    ------
    UsageError
        If the run has too few steps to profile.
    """

    def __init__(
        self,
        settings: Settings,
        steps: int,
        whole: int,
        ranks: Ranks,
        files: RunFiles,
        root: Path,
    ) -> None:
        training = settings.training
        self._profiler: Any = None
        self._first = self._last = -1
        self._files, self._ranks, self._root = files, ranks, root
        needed = _SKIPPED + _DISCARDED + training.profile_steps
        if not training.profile or steps < needed <= whole:
            return
        if whole < needed:
            raise UsageError(
                f"profile: the run has {whole} steps and {needed} are needed for profile_steps="
                f"{training.profile_steps}: use more images or fewer profile_steps"
            )
        # After the steps that are left out of every rate, where there are enough.
        self._first = min(training.untimed_steps, steps - needed)
        self._last = self._first + needed
        self._done = 0
        activities = [torch.profiler.ProfilerActivity.CPU]
        if ranks.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profiler = torch.profiler.profile(
            activities=activities,
            schedule=torch.profiler.schedule(
                skip_first=self._first, wait=_SKIPPED, warmup=_DISCARDED,
                active=training.profile_steps, repeat=1,
            ),
            on_trace_ready=self._write,
        )  # fmt: skip

    def __enter__(self) -> StepProfiler:
        if self._profiler:
            self._profiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def step(self) -> None:
        """Tell that a step is over."""
        if self._profiler:
            self._done += 1
            self._profiler.step()
            if self._done >= self._last:
                self._stop()

    def disturbs(self, step: int) -> bool:
        """Whether `step` of the attempt, from 0, runs under the profiler."""
        return self._first <= step < self._last

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Give a part of the step a name in the trace."""
        if not self._profiler:
            yield
            return
        with torch.profiler.record_function(name):
            yield

    def _stop(self) -> None:
        if self._profiler:
            profiler, self._profiler = self._profiler, None
            profiler.stop()

    def _write(self, profiler: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(raw))
            try:
                trace = json.loads(raw.read_text(errors="replace"))
            except (OSError, ValueError) as error:
                raise ScalebookError(
                    f"the profiler wrote no readable trace ({type(error).__name__}): is the disk "
                    "full?"
                ) from None
        text = clean_trace(trace, self._root)
        contract.write_whole(
            self._files.trace(self._ranks.rank), gzip.compress(text.encode(), mtime=0)
        )


def clean_trace(trace: dict[str, Any], root: Path) -> str:
    """JSON of a trace without hosts, users and absolute paths."""
    kept = {key: value for key, value in trace.items() if key in _KEPT}
    text = json.dumps(kept, separators=(",", ":"))
    return clean_text(text, root)
