"""One attempt at a run, from the resolved experiment to its closed manifest."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem
from scalebook.train import checkpoint, machine, manifest, model, records, stop
from scalebook.train.distributed import Ranks
from scalebook.train.epoch import EpochSoFar
from scalebook.train.failures import SharedFailure, Watchdog, first_line, known_cause
from scalebook.train.images import dataset, finding
from scalebook.train.loop import Trainer
from scalebook.train.privacy import clean_text
from scalebook.train.profiler import StepProfiler
from scalebook.train.settings import Settings
from scalebook.train.tools import allreduce, cpu_peak
from scalebook.train.tools.sampler import Sampler

Answer = TypeVar("Answer")


@dataclass
class Attempt:
    """What must be known to end an attempt, whatever happens.

    Attributes
    ----------
    files : RunFiles or None
        Set once the run has a manifest.
    where : str
        What is being done, for messages.
    """

    settings: Settings
    ranks: Ranks
    root: Path
    command: list[str]
    resume: str | None
    files: RunFiles | None = None
    checkpoints: checkpoint.Folder | None = None
    where: str = "start"

    @property
    def run_files(self) -> RunFiles:
        """Files of the run, once it has a manifest."""
        assert self.files is not None
        return self.files

    @property
    def checkpoint_folder(self) -> checkpoint.Folder:
        """Folder of the checkpoints, once it is locked."""
        assert self.checkpoints is not None
        return self.checkpoints


def execute(attempt: Attempt, expired: Callable[[], None]) -> None:
    """Train to the end.

    Parameters
    ----------
    attempt : Attempt
        Filled in along the way.
    expired : callable
        Called by the watchdog where no progress is made; ends the process.

    Raises
    ------
    ScalebookError
        One line that says what went wrong.
    """
    settings, ranks, root = attempt.settings, attempt.ranks, attempt.root
    training = settings.training
    progress = records.Progress(ranks.first, training.epochs)
    model.set_up_precision(training.precision, ranks.device)

    attempt.where = "choice of the run's name"
    stem, folder = _on_first(attempt, lambda: _find_run(attempt))
    known = None if folder is None else RunFiles(root / folder, stem)
    if known and _on_first(attempt, lambda: manifest.finished(known)):
        if ranks.first:
            print(f"run {stem} is finished: nothing to continue", flush=True)
        return
    attempt.where = "checkpoint folder"
    attempt.checkpoints = checkpoint.Folder(root, stem)
    _on_first(attempt, attempt.checkpoints.lock)
    if known:  # whose last attempt may have been killed, and runs no more
        _on_first(
            attempt,
            lambda: contract.close_attempt(known.manifest, "killed", "ended without a word"),
        )
    attempt.files = known  # not before it is locked: another process may be writing them

    progress.update(phase="data", now=True)
    _settle_images(attempt)
    data, network, number = _prepare(attempt, stem, progress)
    files = attempt.run_files
    trainer, so_far = _trainer(attempt, data, network, number, continued=folder is not None)
    if ranks.first:
        _log(attempt, "\n".join(_header(attempt, data, number)))

    if training.allreduce and ranks.world_size > 1 and number == 1:
        attempt.where = "all-reduce"
        progress.update(phase="all-reduce", now=True)
        allreduce.measure_and_write(
            files, root, ranks, settings.system, settings.link or {}, allreduce.LARGEST_BYTES,
            lambda row: progress.update(now=True),
        )  # fmt: skip

    whole = training.epochs * trainer.steps
    left = whole - trainer.step
    # It watches already while the sampler is made, for which the ranks meet.
    with (
        Watchdog(ranks.timeout_s, expired, ranks.world_size > 1) as watchdog,
        StepProfiler(settings, left, whole, ranks, files, root, trainer.model) as profiler,
        Sampler(
            training.sample_period_s, ranks, files, lambda text: _note(attempt, text)
        ) as sampler,
    ):
        for epoch in range(so_far.number, training.epochs + 1):
            if epoch > so_far.number:
                so_far = EpochSoFar(epoch, trainer.steps, number, ranks)
            attempt.where = f"epoch {epoch}"
            try:
                row, steps = trainer.run_epoch(so_far, profiler, watchdog, progress)
            except stop.Stopped as stopped:
                watchdog.beat()
                if not stopped.together:
                    raise
                ended = _stopped(attempt, trainer, so_far, stopped)
                sampler.merge()
                raise ended from None
            attempt.where = f"checkpoint of epoch {epoch}"
            state = trainer.capture(epoch)
            # The others wait: the first step of the next epoch would time it otherwise.
            cost = profiler.cost(steps, number)
            _on_first(attempt, lambda: _keep(attempt, row, steps, state, cost))  # noqa: B023
            watchdog.beat()
            # What the last half second did is not what the epoch did, and the CSV says.
            rate = row["throughput"]
            shown = {"images_per_s": round(rate, 1)} if rate else {}
            progress.update(phase="train", val_acc=round(row["val_acc"], 3), now=True, **shown)
        attempt.where = "utilisation of the nodes"
        sampler.merge()
    if profiler.recorded and ranks.device.type == "cpu":
        attempt.where = "peak of the CPU"
        peak = cpu_peak.measure()
        _on_first(attempt, lambda: _keep_peak(attempt, peak))
    attempt.where = "end"
    _on_first(attempt, lambda: _complete(attempt))
    progress.update(phase="done", now=True)


def _trainer(
    attempt: Attempt,
    data: dataset.Dataset,
    network: torch.nn.Module,
    number: int,
    continued: bool,
) -> tuple[Trainer, EpochSoFar]:
    """Set up the training, from the checkpoint where a run is continued; and its first epoch."""
    settings, ranks = attempt.settings, attempt.ranks
    attempt.where = "set-up of the training"
    # Each rank draws its own dropout; the weights were drawn from the same seed on all.
    torch.manual_seed(settings.seed * ranks.world_size + ranks.rank + 1)
    trainer = Trainer(settings, ranks, dataset.place(data, ranks.device), network)
    attempt.where = "checkpoint"
    state = attempt.checkpoint_folder.load(ranks) if continued else None
    so_far = EpochSoFar(1 + (state["epoch"] if state else 0), trainer.steps, number, ranks)
    if state is not None:
        trainer.restore(state, so_far)

    def begin() -> None:
        records.cut(attempt.run_files, so_far.number - 1)
        manifest.add_to_attempt(
            attempt.run_files, first_epoch=so_far.number, first_step=so_far.done + 1
        )

    _on_first(attempt, begin)
    return trainer, so_far


def _stopped(
    attempt: Attempt, trainer: Trainer, so_far: EpochSoFar, stopped: stop.Stopped
) -> stop.Stopped:
    """Write a checkpoint where all ranks stopped; returns what to raise then.

    Nobody goes on before it is written: a rank that exits may take the others with it.
    """
    place = f"epoch {so_far.number}, step {so_far.done}"
    if not so_far.done:
        place = f"the end of epoch {so_far.number - 1}"
    attempt.where = f"checkpoint of {place}"
    if trainer.done and so_far.done:
        state = trainer.capture(so_far.number - 1, so_far)
        _on_first(attempt, lambda: attempt.checkpoint_folder.save(state))
    # Ranks may have been asked for different reasons; rank 0's is the run's.
    ended = attempt.ranks.from_first(stopped.ended)
    return stop.Stopped(ended, True, place if trainer.done else None)


def _keep(
    attempt: Attempt,
    row: dict[str, Any],
    steps: list[dict[str, Any]],
    state: dict[str, Any],
    cost: dict[str, Any] | None,
) -> None:
    """Write an epoch down: rows first, then the checkpoint that a resume cuts them by."""
    records.append_steps(attempt.run_files, steps)
    records.append_epoch(attempt.run_files, row)
    attempt.checkpoint_folder.save(state)
    rate = f"{row['throughput']:9.1f}" if row["throughput"] is not None else "        -"
    _log(
        attempt,
        f"epoch {row['epoch']:3d}/{attempt.settings.training.epochs}  "
        f"train {row['train_loss']:.4f} {row['train_acc']:6.2f} %  "
        f"val {row['val_loss']:.4f} {row['val_acc']:6.2f} %  "
        f"{rate} images/s  {row['epoch_time_s']:7.2f} s",
    )
    if cost:  # of the profiler
        manifest.add_to_attempt(attempt.run_files, profiler=cost)
        _log(
            attempt,
            f"profiler: a step took {cost['recorded_step_time_s']:.4g} s under it and "
            f"{cost['other_step_time_s']:.4g} s without, {cost['ratio']:.3g} times as long "
            f"(medians of {cost['recorded_steps']} and {cost['other_steps']} steps)",
        )


def _keep_peak(attempt: Attempt, peak: dict[str, float]) -> None:
    """Write down what the CPU can do at best, as rank 0 measured it."""
    manifest.add_to_attempt(attempt.run_files, cpu_peak=peak)
    _log(
        attempt,
        f"peak of the CPU: {peak['fp32_tflops']:.4g} TFLOP/s in fp32 and "
        f"{peak['memory_gb_s']:.4g} GB/s with {peak['threads']} threads, measured",
    )


def _complete(attempt: Attempt) -> None:
    contract.close_attempt(attempt.run_files.manifest, "completed")
    attempt.checkpoint_folder.release_reserve()
    _log(attempt, f"run {attempt.run_files.stem} completed")


def _find_run(attempt: Attempt) -> tuple[str, str | None]:
    """Stem of this run, and where it is continued its folder of results, else None.

    A job that Slurm or torchrun started again continues by itself: it has the same job id and
    a restart count.
    """
    settings, resume = attempt.settings, attempt.resume
    job, given = manifest.job_id()
    device, world_size = settings.layout.device, settings.layout.world_size
    stem = str(Stem(settings.experiment, job, world_size, device))
    if resume:
        named = Stem.parse(resume)
        if str(Stem(settings.experiment, named.job_id, world_size, device)) != resume:
            raise ScalebookError(
                f"--resume {resume}: is no run of experiment {settings.experiment} with "
                f"{world_size} ranks on {device}"
            )
        stem = resume
    elif resume is not None and not given:
        raise ScalebookError(
            "--resume: no job id is set, so no run can be found by it: name the run, as "
            "--resume STEM"
        )
    existing = contract.locate(attempt.root, stem)
    restarts = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    again = given and any(os.environ.get(name, "0") not in ("", "0") for name in restarts)
    if existing is None and resume and not again:
        raise ScalebookError(f"--resume: there is no run {stem} in results: start it without")
    if existing is None and resume is not None:
        print(f"run {stem} had not begun: it starts from the beginning", flush=True)
    if existing is not None and resume is None and not again:
        raise manifest.taken(existing)
    return stem, existing.results.relative_to(attempt.root).as_posix() if existing else None


def _settle_images(attempt: Attempt) -> None:
    """Let rank 0 see to the images for all ranks; a run that is continued keeps to its own."""
    settings = attempt.settings
    if settings.dataset.source != "auto" or settings.dataset.generated:
        return

    def settled() -> dict[str, Any]:
        if attempt.files:
            return contract.read_json(attempt.files.manifest).get("resolved") or {}
        with contextlib.suppress(ScalebookError):  # loading them says what is wrong
            return finding.settle(settings.document, attempt.root, partial(print, flush=True))
        return {}

    attempt.where = "dataset"
    if generated := (_on_first(attempt, settled).get("dataset") or {}).get("generated"):
        document = settings.document
        attempt.settings = replace(
            settings,
            dataset=replace(settings.dataset, generated=generated),
            document={**document, "dataset": {**document["dataset"], "generated": generated}},
        )


def _prepare(
    attempt: Attempt, stem: str, progress: records.Progress
) -> tuple[dataset.Dataset, torch.nn.Module, int]:
    """Load data and model, give the run its manifest, and open an attempt; also its number.

    A run whose data or model cannot be had gets a manifest too: it says why.
    """
    settings, ranks, root = attempt.settings, attempt.ranks, attempt.root
    error: Exception | None = None
    about: dict[str, Any] = {"dataset": None, "model": None}
    try:
        data, network = _load(attempt, progress)
        about["dataset"] = data.describe()
        about["model"] = model.describe(settings.training, network)
    except Exception as raised:
        error = raised
    outcomes = ranks.gather_objects(
        {
            "machine": machine.describe(ranks),
            "failure": error and _message(error, attempt),
            "status": getattr(error, "exit_status", 1),
            "unforeseen": error is not None and known_cause(error, attempt.where) is None,
            "stopped": error.ended if isinstance(error, stop.Stopped) else None,
        }
    )
    failed = [outcome for outcome in outcomes if outcome["failure"]]

    if attempt.files is None:
        names = settings.evidence_datasets
        evidence = not failed and contract.takes_dataset(names, about["dataset"]["name"])
        files = RunFiles(root / (contract.EVIDENCE if evidence else contract.TRIALS), stem)
        machines = [outcome["machine"] for outcome in outcomes]

        def create() -> None:
            document = manifest.compose(
                settings, Stem.parse(stem), ranks, machines, attempt.command, root, **about
            )
            manifest.create(files, document)

        _on_first(attempt, create)
        attempt.files = files
    elif not failed:
        files = attempt.files
        _on_first(attempt, lambda: manifest.refuse_changes(files, settings, data, root))
        _on_first(attempt, lambda: manifest.complete(files, **about))
    number: int = _on_first(attempt, lambda: manifest.open_attempt(attempt.run_files))
    if failed:
        stopped = [outcome["stopped"] for outcome in failed if outcome["stopped"]]
        if stopped:
            raise stop.Stopped(stopped[0], together=True)
        first = failed[0]
        if error is not None and first["unforeseen"] and outcomes[ranks.rank] is first:
            raise error  # with its traceback
        reports = ranks.first and not first["unforeseen"]
        raise SharedFailure(first["failure"], first["status"], reports) from None
    return data, network, number


def _load(attempt: Attempt, progress: records.Progress) -> tuple[dataset.Dataset, torch.nn.Module]:
    """The images of the run, and its model, whose weights are the same on every rank."""
    settings = attempt.settings
    attempt.where = "dataset"
    data = dataset.load(
        settings.dataset,
        attempt.root,
        lambda what, done, total: progress.update(phase="data", step=done, steps=total),
    )
    attempt.where = "model"
    torch.manual_seed(settings.seed)
    return data, model.build(settings.training, len(data.classes), data.image_size)


def _message(error: Exception, attempt: Attempt) -> str:
    where = f"rank {attempt.ranks.rank}, {attempt.where}"
    return known_cause(error, where) or f"{where}: {type(error).__name__}: {first_line(error)}"


def _on_first(attempt: Attempt, action: Callable[[], Answer]) -> Answer:
    """Do something on rank 0 and give its answer to all, or why there is none."""
    # Every change of the manifest is made so: a rank that fails meanwhile writes into it, too.
    ranks = attempt.ranks
    if ranks.world_size == 1:
        return action()
    answer: Answer | None = None
    failure: tuple[str, int] | None = None
    if ranks.first:
        try:
            answer = action()
        except Exception as error:
            line = known_cause(error, attempt.where)
            if line is None:
                raise  # with its traceback; the others miss rank 0
            failure = (line, getattr(error, "exit_status", 1))
    outcome: tuple[Answer, tuple[str, int] | None] = ranks.from_first((answer, failure))
    if outcome[1]:
        line, status = outcome[1]
        raise SharedFailure(line, status, reports=ranks.first)
    return outcome[0]


def _header(attempt: Attempt, data: dataset.Dataset, number: int) -> list[str]:
    """What produced the log: settings, versions, dataset, commit."""
    settings, ranks = attempt.settings, attempt.ranks
    versions = machine.versions(ranks)
    code = machine.code_version(attempt.root)
    dirty = " with changes" if code["dirty"] else ""
    training = " ".join(f"{key}={value}" for key, value in vars(settings.training).items())
    why = settings.dataset.generated
    return [
        f"{contract.utc_now()} run {attempt.run_files.stem} attempt {number}",
        f"settings: seed={settings.seed} global_batch={settings.global_batch} {training}",
        "versions: " + " ".join(f"{key}={value}" for key, value in versions.items() if value),
        f"dataset: {data.name} sha256={data.sha256[:12]} train={len(data.train)} "
        f"val={len(data.val)}{' (subset)' if data.subset else ''}"
        f"{f' (generated: {why})' if why else ''}",
        *([f"note: {data.left_out.text}"] if data.left_out else []),
        f"ranks: {ranks.world_size} on {settings.layout.device}, {ranks.threads} threads each, "
        f"backend {ranks.backend or 'none'}",
        f"code: {code['commit'] or 'no commit known'}{dirty}",
    ]


def _note(attempt: Attempt, text: str) -> None:
    """Say something that concerns one node: in the run's log, or from others on standard error."""
    if attempt.ranks.first:
        _log(attempt, text)
    else:
        line = clean_text(f"node {attempt.ranks.node}: {text}", attempt.root)
        print(line, file=sys.stderr, flush=True)


def _log(attempt: Attempt, text: str) -> None:
    """Write to the run's log and to standard output."""
    text = clean_text(text, attempt.root)
    records.append_log(attempt.run_files, text)
    print(text, flush=True)
