"""The training loop: epochs of steps, and an exact validation after each.

Everything that decides the outcome stands here: batches of `sampling.rank_share`, SGD with
momentum, linear warm-up and cosine, and how a ragged last step is weighted.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from scalebook.contract import ScalebookError, UsageError
from scalebook.train import stop
from scalebook.train.checkpoint import random_states
from scalebook.train.distributed import Ranks
from scalebook.train.epoch import STEP_TIME, WARMUP, EpochSoFar, epoch_rates, step_rows
from scalebook.train.failures import Watchdog, first_line
from scalebook.train.images.dataset import Batches, Dataset
from scalebook.train.images.sampling import epoch_order, rank_share, step_size, steps_per_epoch
from scalebook.train.model import autocast, batch_norms, loss_scaler, set_training
from scalebook.train.profiler import StepProfiler
from scalebook.train.records import Progress
from scalebook.train.settings import Settings, TrainingSettings

# Images a rank validates at once; it does not change the result.
_VALIDATION_BATCH = 256


def learning_rate(step: int, steps: int, settings: TrainingSettings, global_batch: int) -> float:
    """Learning rate of optimiser step `step`, counted from 0 over the whole run.

    Rises linearly for ``warmup_epochs`` and falls to 0 on a cosine. The peak grows linearly with
    the global batch (Goyal et al. 2017, arXiv:1706.02677) unless ``lr_scaling`` is ``none``.

    Parameters
    ----------
    steps : int
        Steps an epoch.
    """
    peak = settings.lr
    if settings.lr_scaling == "linear":
        peak *= global_batch / settings.lr_reference_batch
    total = steps * settings.epochs
    warmup = min(settings.warmup_epochs * steps, total)
    if step < warmup:
        return peak * (step + 1) / max(warmup, 1.0)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


class Trainer:
    """One rank's model, optimiser and data.

    Parameters
    ----------
    settings : Settings
        The resolved experiment.
    ranks : Ranks
        This rank among the others.
    dataset : Dataset
        On the device where it fits.
    model : nn.Module
        Alike on every rank.
    """

    def __init__(
        self, settings: Settings, ranks: Ranks, dataset: Dataset, model: nn.Module
    ) -> None:
        training = settings.training
        self.settings, self.ranks, self.dataset = settings, ranks, dataset
        self.images = len(dataset.train)
        self.steps = steps_per_epoch(self.images, settings.global_batch)
        self.step = 0  # optimiser steps so far, over all epochs and attempts
        self.done = 0  # those of this attempt

        memory_format = torch.channels_last if training.channels_last else torch.contiguous_format
        self.batches = Batches(dataset, ranks.device, memory_format)
        self.model = model.to(ranks.device, memory_format=memory_format)
        self._refuse_tiny_batches()
        forward: Callable[[Tensor], Tensor] = self.model
        evaluate = forward
        if ranks.world_size > 1:
            # Averages gradients over the ranks while the backward pass goes on, and copies
            # batch norm's running statistics from rank 0 before each forward pass.
            forward = DistributedDataParallel(
                self.model,
                device_ids=[ranks.device.index] if ranks.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )
            self._settle_buckets(forward)
        if training.compile:
            try:
                forward, evaluate = torch.compile(forward), torch.compile(evaluate)
            except RuntimeError as error:  # such as a Python that this torch cannot compile for
                raise UsageError(f"torch.compile: {first_line(error)}: set compile=false") from None
        self.forward, self.evaluate = forward, evaluate
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=training.lr,
            momentum=training.momentum,
            nesterov=training.nesterov and training.momentum > 0,
            weight_decay=training.weight_decay,
        )
        self.scaler = loss_scaler(training.precision)

    def _settle_buckets(self, forward: DistributedDataParallel) -> None:
        """Let DDP order its gradient buckets before the first step instead of after it.

        It does so once, after the first backward pass. The order decides how three or more
        ranks round their sums, so a run that is continued would differ in its first step.
        """
        self.model.eval()  # leaves the running statistics as they are
        for _pass in range(2):  # the second forward pass takes the new order into use
            images, _ = self.batches.gather(self.dataset.train, torch.zeros(1, dtype=torch.int64))
            (forward(self.batches.normalise(images)).sum() * 0).backward()
        self.model.zero_grad(set_to_none=True)

    def _refuse_tiny_batches(self) -> None:
        smallest = min(self.settings.global_batch, self.images) // self.ranks.world_size
        frozen = self.settings.training.freeze_batch_norm or not batch_norms(self.model)
        if smallest < 2 and not frozen:
            raise UsageError(
                f"global_batch {self.settings.global_batch} gives a rank {smallest} image a step, "
                "and batch norm needs two: raise it, or set freeze_batch_norm=true"
            )

    # ------------------------------------------------------------------ over a stop

    def capture(self, epoch: int, so_far: EpochSoFar | None = None) -> dict[str, Any]:
        """State of the run, for a checkpoint; all ranks call this.

        Parameters
        ----------
        epoch : int
            Epochs that are done.
        so_far : EpochSoFar, optional
            What is done of the next epoch.
        """
        return {
            "epoch": epoch,
            "step": self.step,  # the learning rate depends on it alone
            "so_far": None if so_far is None else so_far.capture(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": random_states(self.ranks),
        }

    def restore(self, state: dict[str, Any], so_far: EpochSoFar) -> None:
        """Go on from a state of `capture`; `so_far` is the epoch after those that are done.

        Raises
        ------
        ScalebookError
            If it belongs to another model.
        """
        try:
            self.step = state["step"]
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            if state.get("so_far") is not None:
                so_far.restore(state["so_far"])
            own = state["rng"][self.ranks.rank]
            torch.set_rng_state(own["cpu"])
            if self.ranks.device.type == "cuda" and "cuda" in own:
                torch.cuda.set_rng_state(own["cuda"], self.ranks.device)
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ScalebookError(
                f"the checkpoint does not fit this run ({type(error).__name__}): remove it and "
                "--resume starts again from epoch 1"
            ) from None

    # ------------------------------------------------------------------ one epoch

    def run_epoch(
        self,
        so_far: EpochSoFar,
        profiler: StepProfiler,
        watchdog: Watchdog,
        progress: Progress,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Train for one epoch, or the rest of one, and validate.

        Parameters
        ----------
        so_far : EpochSoFar
            The epoch, new or with the steps of an earlier attempt. The first ``untimed_steps``
            of every attempt are left out of every rate.

        Returns
        -------
        row : dict
            Of the CSV.
        steps : list of dict
            Rows of the steps file.

        Raises
        ------
        stop.Stopped
            If asked to stop; `so_far` is then what a checkpoint needs.
        ScalebookError
            If a loss is not finite; on every rank.
        """
        settings, training, ranks = self.settings, self.settings.training, self.ranks
        epoch = so_far.number
        so_far.begin()
        order = epoch_order(self.images, settings.seed, epoch).to(self.dataset.train.labels.device)
        sizes = [step_size(step, self.images, settings.global_batch) for step in range(self.steps)]
        set_training(self.model, training.freeze_batch_norm)
        seen_here, seen_at, first = 0, time.monotonic(), so_far.done

        for step in range(so_far.done, self.steps):
            ranks.check_stop()
            so_far.clock.start()
            own = order[
                rank_share(step, self.images, settings.global_batch, ranks.rank, ranks.world_size)
            ]
            self._train_step(step, own, sizes[step], so_far, profiler)
            warmup = self.done < training.untimed_steps or profiler.disturbs(self.done)
            so_far.end_step(len(own), warmup)
            self.done += 1
            profiler.step()
            watchdog.beat()
            seen_here += len(own)
            if (now := time.monotonic()) - seen_at > 0.5:
                rate = round(sum(sizes[first : step + 1]) / (now - seen_at), 1)
                if progress.active:
                    loss = so_far.sums.peek(first, step + 1, seen_here)
                    progress.add_point(epoch, step + 1, rate, loss)
                progress.update(
                    phase="train", epoch=epoch, step=step + 1, steps=self.steps, images_per_s=rate
                )
                seen_here, seen_at, first = 0, now, step + 1
        table = so_far.table()

        train_loss, train_acc = so_far.sums.read(self.images, epoch, ranks)
        rates = epoch_rates(table[:, STEP_TIME], sizes, table[:, WARMUP].bool(), ranks)
        progress.update(phase="validate", epoch=epoch, step=self.steps, steps=self.steps, now=True)
        val_started = time.perf_counter()
        val_loss, val_acc = self.validate(epoch, watchdog)
        val_time = time.perf_counter() - val_started
        val_time, epoch_time, memory = ranks.max(
            [val_time, so_far.elapsed_s(), so_far.peak_memory_mb()]
        )
        row = {
            "epoch": epoch, "train_loss": train_loss, "train_acc": train_acc,
            "val_loss": val_loss, "val_acc": val_acc, "epoch_time_s": epoch_time,
            "images": sum(sizes), **rates,
            "val_time_s": val_time, "global_batch": settings.global_batch,
            "lr": self.optimizer.param_groups[0]["lr"], "peak_mem_mb": memory,
            "attempt": so_far.attempt,
            "loss_scale": self.scaler.get_scale() if self.scaler.is_enabled() else None,
        }  # fmt: skip
        return row, step_rows(ranks.gather(table), epoch)

    def _train_step(
        self,
        step: int,
        own: Tensor,
        size: int,
        so_far: EpochSoFar,
        profiler: StepProfiler,
    ) -> None:
        """Take one optimiser step on this rank's images `own`, of `size` over all ranks."""
        training, ranks = self.settings.training, self.ranks
        empty = len(own) == 0
        with profiler.phase("data"):
            # A rank without an image in a ragged step still takes part in the all-reduce: it
            # computes on image 0 and counts it with weight 0.
            images, labels = self.batches.training(
                self.dataset.train, own if not empty else own.new_zeros(1),
                self.settings.seed, so_far.number, training.crop_padding, training.flip,
            )  # fmt: skip
        so_far.clock.batch_ready()

        lr = learning_rate(self.step, self.steps, training, self.settings.global_batch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self._batch_norm_for(len(own)):
            with profiler.phase("forward"), autocast(training.precision, ranks.device):
                output = self.forward(images)
                loss_sum = cross_entropy(
                    output, labels, reduction="sum", label_smoothing=training.label_smoothing
                )
            if empty:
                loss_sum = loss_sum * 0
            with profiler.phase("backward"):
                # DDP divides the ranks' summed gradients by their number: multiplied here, the
                # step's gradient is the mean over all its images, however they are spread.
                self.scaler.scale(loss_sum * (ranks.world_size / size)).backward()
        with profiler.phase("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

        with torch.no_grad():
            hits = (output.argmax(1) == labels).sum() * (not empty)
            so_far.sums.add(step, loss_sum.detach(), hits)

    @contextlib.contextmanager
    def _batch_norm_for(self, images: int) -> Iterator[None]:
        """Use running statistics on a rank with fewer than two images; one has no variance."""
        if images >= 2:
            yield
            return
        layers = [layer for layer in batch_norms(self.model) if layer.training]
        for layer in layers:
            layer.eval()
        yield
        for layer in layers:
            layer.train()

    # ------------------------------------------------------------------ validation

    @torch.no_grad()
    def validate(self, epoch: int, watchdog: Watchdog) -> tuple[float, float]:
        """Mean loss and accuracy (percent) over the validation images, each counted once.

        Every rank takes its share without padding, and the sums are added. All ranks use rank
        0's running statistics.

        Raises
        ------
        stop.Stopped
            If any rank was asked to stop; on every rank, and the validation is done again.
        ScalebookError
            If the loss is not finite; on every rank.
        """
        split, ranks = self.dataset.val, self.ranks
        ranks.copy_buffers(self.model)
        self.model.eval()
        own = torch.arange(ranks.rank, len(split), ranks.world_size, device=split.labels.device)
        # Loss, hits, and how many ranks broke off.
        sums = torch.zeros(3, dtype=torch.float64, device=ranks.device)
        for start in range(0, len(own), _VALIDATION_BATCH):
            if stop.requested():
                sums[2] = 1
                break
            images, labels = self.batches.gather(split, own[start : start + _VALIDATION_BATCH])
            with autocast(self.settings.training.precision, ranks.device):
                output = self.evaluate(self.batches.normalise(images))
                sums[0] += cross_entropy(output, labels, reduction="sum")
            sums[1] += (output.argmax(1) == labels).sum()
            watchdog.beat()
        loss, hits, broke_off = ranks.sum(sums).tolist()
        if broke_off:
            raise stop.Stopped(next(filter(None, ranks.gather_objects(stop.requested()))), True)
        if not math.isfinite(loss):
            raise ScalebookError(
                f"epoch {epoch}: the validation loss is not finite: lower lr, lengthen "
                "warmup_epochs, or use another precision"
            )
        return loss / len(split), 100 * hits / len(split)
