"""Ranks: which one this process is, its device and threads, and how ranks talk.

The launcher (torchrun, or ``srun`` with a wrapper) says who is who through PyTorch's
environment variables. One process alone needs neither them nor a process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from scalebook.contract import ScalebookError
from scalebook.train import stop
from scalebook.train.failures import PeerLost, first_line
from scalebook.train.settings import Layout

# A rank told to stop waits this long for the others to be told, then stops alone.
_STOP_TOGETHER_S = 5.0

# Before they exit, ranks wait this long for the one that writes down how the run ended.
_LAST_WORDS_S = 5.0


@dataclass
class Ranks:
    """One process among the others.

    Attributes
    ----------
    rank, world_size : int
        Number of this process, and of all.
    local_rank : int
        Number of this process within its node.
    node : int
        Index of its node.
    device : torch.device
        Where it computes.
    threads : int
        CPU threads it computes with.
    backend : str or None
        ``nccl``, ``gloo``, or None for one process.
    """

    rank: int
    world_size: int
    local_rank: int
    node: int
    device: torch.device
    threads: int
    backend: str | None
    timeout_s: float
    store: Any = None
    _boundary: int = 0
    _stop_noted: tuple[int, float] | None = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the run's files."""
        return self.rank == 0

    # ------------------------------------------------------------------ talking

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all ranks, element by element, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def max(self, values: list[float]) -> list[float]:
        """Largest value of all ranks, element by element."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        largest: list[float] = tensor.tolist()
        return largest

    def gather(self, values: Tensor) -> list[Tensor]:
        """Tensors of all ranks, all of one shape, in order of rank; on the CPU."""
        if self.world_size == 1:
            return [values.cpu()]
        values = values.to(self.device)
        gathered = [torch.empty_like(values) for _ in range(self.world_size)]
        dist.all_gather(gathered, values)
        return [tensor.cpu() for tensor in gathered]

    def gather_objects(self, value: Any) -> list[Any]:
        """Small Python objects of all ranks, in order of rank."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        dist.all_gather_object(gathered, value)
        return gathered

    def from_first(self, value: Any) -> Any:
        """Rank 0's `value`, on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def copy_buffers(self, module: torch.nn.Module) -> None:
        """Give every rank the buffers (running statistics of batch norm) of rank 0."""
        if self.world_size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    # ------------------------------------------------------------------ ending

    def first_to_report(self) -> bool:
        """Whether this rank is the first to ask; so that one rank alone reports a failure."""
        answer = self._ask(lambda: self.store.add("scalebook/end", 1))
        return answer in (None, 1)  # None: whoever keeps the store is gone or hangs

    def mark_reported(self) -> None:
        """Let the ranks in `wait_reported` go on: the end of the run is written down."""
        self._ask(lambda: self.store.set("scalebook/reported", "1"))

    def wait_reported(self) -> None:
        """Wait until the rank that reports how the run ended has done so.

        Under ``srun --kill-on-bad-exit`` the first rank that exits ends the others, whatever
        they are writing.
        """
        patience = dt.timedelta(seconds=_LAST_WORDS_S)
        self._ask(lambda: self.store.wait(["scalebook/reported"], patience))

    def leave_together(self) -> None:
        """Wait until all ranks are about to exit; rank 0, which keeps the store, goes last."""

        def leaving(more: int) -> int:
            return int(self.store.add("scalebook/leaving", more))

        self._ask(lambda: leaving(1))
        end = time.monotonic() + _LAST_WORDS_S
        while self.first and (self._ask(lambda: leaving(0)) or self.world_size) < self.world_size:
            if time.monotonic() > end:
                return
            time.sleep(0.002)

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Answer of the store, or None where there is none or it does not answer.

        Asked in a thread of its own: rank 0 keeps the store, and where that process hangs an
        answer never comes.
        """
        if self.store is None:
            return None
        answers: list[Any] = []

        def ask() -> None:
            with contextlib.suppress(RuntimeError):
                answers.append(question())

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(_LAST_WORDS_S + 1)
        if thread.is_alive():
            self.store = None
        return answers[0] if answers else None

    def check_stop(self) -> None:
        """Raise `stop.Stopped`, on every rank at the same step, once all were asked to stop.

        Called by all ranks equally often. A rank that stopped at once would leave the others
        waiting in a collective, and they could not tell that from its death. So each notes in
        the store where it was when asked; two calls after the last note all of them stop.

        A rank that is cancelled alone stops after a while, and is then missed like a dead one.
        One that alone heard of the time limit goes on: nobody would be helped.
        """
        self._boundary += 1
        if stop.requested() is None:
            return
        if self.world_size == 1:
            stop.check(together=True)
        if self.device.type == "cuda":
            # The host runs ahead of the GPU, and with it of the other ranks: only a rank whose
            # steps are all done is at most one call away from any other.
            torch.cuda.synchronize()
        if self._stop_noted is None:
            self._stop_noted = (self._boundary, time.monotonic())
            self.store.set(f"scalebook/stop/{self.rank}", str(self._boundary))
        keys = [f"scalebook/stop/{rank}" for rank in range(self.world_size)]
        noted, since = self._stop_noted
        if self.store.check(keys):
            if self._boundary >= max(int(self.store.get(key)) for key in keys) + 2:
                stop.check(together=True)
        elif (
            stop.requested() != "timeout"
            and time.monotonic() - since > _STOP_TOGETHER_S
            and self._boundary > noted + 2  # steps may take longer than that
        ):
            stop.check()


def start(layout: Layout, timeout_s: float) -> Ranks:
    """Choose device and threads, and join the other ranks.

    Raises
    ------
    ScalebookError
        If the processes started are not those the experiment asks for, or no GPU is there.
    PeerLost
        If other ranks do not come within `timeout_s`.
    """
    rank, world_size = _env("RANK", 0), _env("WORLD_SIZE", 1)
    local_rank, local_world_size = _env("LOCAL_RANK", rank), _env("LOCAL_WORLD_SIZE", 0)
    local_world_size = local_world_size or min(layout.ranks_per_node, world_size)
    if world_size != layout.world_size:
        raise ScalebookError(
            f"the experiment asks for {layout.world_size} ranks and {world_size} "
            f"{'was' if world_size == 1 else 'were'} started: use torchrun --nnodes {layout.nodes} "
            f"--nproc-per-node {layout.ranks_per_node} -m scalebook.train"
        )
    device = _device(layout.device, local_rank, local_world_size)
    threads = layout.threads_per_rank or _env("SLURM_CPUS_PER_TASK", 0)
    threads = threads or max(1, _cores() // local_world_size)
    torch.set_num_threads(threads)
    if device.type == "cpu":
        _keep_freed_memory()
    node = _env("GROUP_RANK", _env("SLURM_NODEID", rank // local_world_size))
    ranks = Ranks(rank, world_size, local_rank, node, device, threads, None, timeout_s)
    if world_size > 1:
        _join(ranks)
    return ranks


def _keep_freed_memory() -> None:
    """Keep what each step frees for the next one, rather than ask the kernel for it again.

    The C library returns large pieces of memory at once, and the pages of the next step are then
    made anew one by one. It does so until it has seen how large they get: for most of an epoch of
    two ranks, whose first one was 3 to 9 % slower than the third. A library without ``mallopt``
    keeps its way.
    """
    trim_threshold, mmap_threshold, everything = -1, -3, 1 << 30  # names as in <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, everything)
        library.mallopt(mmap_threshold, everything)


def _join(ranks: Ranks) -> None:
    ranks.backend = "nccl" if ranks.device.type == "cuda" else "gloo"
    patience = dt.timedelta(seconds=ranks.timeout_s)
    # NCCL's own watchdog aborts the process without a word; ours (see `Watchdog`) comes first.
    slack = dt.timedelta(seconds=60 if ranks.backend == "nccl" else 0)
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=patience))
        store.set_timeout(patience)
        ranks.store = store
        dist.init_process_group(
            ranks.backend,
            store=dist.PrefixStore("group", store),
            rank=rank,
            world_size=size,
            timeout=patience + slack,
        )
    except (RuntimeError, ValueError) as error:
        raise PeerLost(
            f"rank {ranks.rank} could not join the {ranks.world_size} ranks within "
            f"{ranks.timeout_s:g} s ({first_line(error)}): check that all nodes started and "
            "reach each other"
        ) from None


def _cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(kind: str, local_rank: int, local_world_size: int) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ScalebookError(
            "the experiment was resolved for a GPU and torch sees none here: see `scalebook "
            "doctor`, or resolve it again on this machine"
        )
    visible = torch.cuda.device_count()
    if 1 < visible < local_world_size:
        raise ScalebookError(
            f"{local_world_size} ranks were started on a node and {visible} GPUs are visible: "
            "start at most one rank for each"
        )
    # A launcher that gives each rank a GPU of its own shows it that one alone.
    device = torch.device("cuda", local_rank if visible > 1 else 0)
    torch.cuda.set_device(device)
    return device


def _env(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise ScalebookError(f"environment variable {name}={text}: is no number") from None


def leave(ranks: Ranks) -> None:
    """Leave the process group after a run that ended well."""
    if ranks.world_size > 1 and dist.is_initialized():
        with contextlib.suppress(RuntimeError):
            dist.barrier()
        dist.destroy_process_group()
