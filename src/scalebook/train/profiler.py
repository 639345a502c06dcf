"""A short profile of some training steps: one trace a rank, cleaned of who and where."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, UsageError
from scalebook.train.distributed import Ranks
from scalebook.train.privacy import clean_folders, clean_text
from scalebook.train.settings import Settings

# Steps that pass before the recorded ones: one that is skipped, then two that are thrown
# away, because starting the profiler slows its first steps.
_SKIPPED, _DISCARDED = 1, 2

# What PyTorch itself writes for calls of modules where it records Python's stack: readers of
# traces know the name and the category.
_MODULE, _MODULE_CATEGORY = "nn.Module: ", "python_function"

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
    model : nn.Module
        Whose modules the trace names.

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
        model: nn.Module,
    ) -> None:
        training = settings.training
        self._profiler: Any = None
        self._first = self._last = -1
        self._files, self._ranks, self._root = files, ranks, root
        self._count = training.profile_steps
        self._times: list[tuple[float, int]] = []  # of this attempt's steps, and their warm-up
        self._cost_given = False
        # A compiled model has no calls of modules, and hooks would have it compiled again.
        self._calls = None if training.compile else _Calls(model)
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
                skip_first=self._first,
                wait=_SKIPPED,
                warmup=_DISCARDED,
                active=training.profile_steps,
                repeat=1,
            ),
            record_shapes=True,
            profile_memory=True,
            on_trace_ready=self._write,
        )

    def __enter__(self) -> StepProfiler:
        if self._profiler:
            self._name_calls()
            self._profiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def step(self) -> None:
        """Tell that a step is over."""
        if self._profiler:
            self._done += 1
            self._name_calls()
            self._profiler.step()
            if self._done >= self._last:
                self._stop()

    @property
    def recorded(self) -> bool:
        """Whether this attempt records, or has recorded, a trace."""
        return self._first >= 0

    def disturbs(self, step: int) -> bool:
        """Whether `step` of the attempt, from 0, runs under the profiler."""
        return self._first <= step < self._last

    def phase(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """Give a part of the step a name in the trace."""
        if not self._profiler:
            return contextlib.nullcontext()
        named: contextlib.AbstractContextManager[Any] = torch.profiler.record_function(name)
        return named

    def cost(self, rows: list[dict[str, Any]], attempt: int) -> dict[str, Any] | None:
        """Compare the steps that were recorded with those that were not.

        Parameters
        ----------
        rows : list of dict
            Rows of the steps file of one epoch; each epoch in turn.
        attempt : int
            Number of this attempt.

        Returns
        -------
        dict or None
            ``recorded_steps``, ``recorded_step_time_s``, ``other_steps``, ``other_step_time_s``
            and their ``ratio``; times are medians over steps of the slowest rank's. The last
            recorded step is left out, because the trace is written in it. None as long as there
            are fewer others than recorded ones, and once it was given.
        """
        if not self.recorded or self._cost_given:
            return None
        slowest: dict[int, tuple[float, int]] = {}
        for row in rows:
            if row["attempt"] == attempt:
                known = slowest.get(row["step"], (0.0, 0))
                slowest[row["step"]] = max(known, (row["step_time_s"], row["warmup"]))
        self._times += slowest.values()
        if len(self._times) < self._last:
            return None
        recorded = [time for time, _ in self._times[self._last - self._count : self._last - 1]]
        others = [time for time, warmup in self._times if not warmup]
        if not recorded or len(others) < len(recorded):
            return None
        self._cost_given = True
        slow, plain = statistics.median(recorded), statistics.median(others)
        return {
            "recorded_steps": len(recorded),
            "recorded_step_time_s": round(slow, 6),
            "other_steps": len(others),
            "other_step_time_s": round(plain, 6),
            "ratio": round(slow / plain, 4),
        }

    def _name_calls(self) -> None:
        """From the first step on that is not timed, so that a hook slows no other."""
        if self._calls and self._done == self._first:
            self._calls.attach()

    def _stop(self) -> None:
        if self._profiler:
            profiler, self._profiler = self._profiler, None
            profiler.stop()
            if self._calls:
                self._calls.detach()

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


class _Calls:
    """Puts every call of a module into the trace, by its name within the module around it.

    Recording Python's stack would tell only the types, as ``Conv2d_3``, with some twenty times as
    many events, each of which names a file.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._hooks: list[Any] = []
        self._open: list[Any] = []

    def attach(self) -> None:
        for path, module in self._model.named_modules():
            name = path.rpartition(".")[2] or type(module).__name__
            self._hooks += [
                module.register_forward_pre_hook(functools.partial(self._enter, name)),
                module.register_forward_hook(self._leave),
            ]

    def detach(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _enter(self, name: str, *_: Any) -> None:
        call = torch.profiler.record_function(_MODULE + name)
        call.__enter__()
        self._open.append(call)

    def _leave(self, *_: Any) -> None:
        self._open.pop().__exit__(None, None, None)


def clean_trace(trace: dict[str, Any], root: Path) -> str:
    """JSON of a trace without hosts, users and absolute paths.

    Events hold the user and hosts in paths and addresses alone. Elsewhere these are words: a user
    may be called "data", as a phase of a step is.
    """
    about = {key: value for key, value in trace.items() if key in _KEPT and key != "traceEvents"}
    events = list(_named(trace.get("traceEvents", [])))
    return (
        clean_text(_json(about), root)[:-1]
        + ("," if about else "")
        + f'"traceEvents":{clean_folders(_json(events), root)}}}'
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _named(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Events with calls of modules in the category readers look for, and not once more on a GPU."""
    for event in events:
        if str(event.get("name", "")).startswith(_MODULE):
            if event.get("cat") == "gpu_user_annotation":
                continue
            event = {**event, "cat": _MODULE_CATEGORY}
        yield event
