"""Beside a training: a line about every device of a node now and then, from one process a node.

The lines of the first node go straight into the job's file. Those of another go into a file of
that node's own until the end, because nodes need not share a file system; a job that was
killed leaves them there, and its next attempt goes on with them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from scalebook.contract import UTILISATION, UTILISATION_COLUMNS, RunFiles
from scalebook.train.distributed import Ranks
from scalebook.train.tools.utilisation import Gpus, Host, Values

_HEADER = ",".join(UTILISATION_COLUMNS)
_SHORTEST_S = 0.05  # a look takes some ms
_SYNC_S = 10.0  # a power failure costs so much; whatever else happens costs nothing
_LEAVE_S = 5.0


class Sampler:
    """Samples until it is left; whatever goes wrong with it is reported once and harms nothing.

    Parameters
    ----------
    period_s : float
        Seconds between looks; 0 for none. Alike on all ranks, which meet here.
    ranks : Ranks
        The first of each node writes.
    files : RunFiles
        Of the run.
    say : callable
        Takes a line for the log; called from the sampler's thread.
    """

    def __init__(
        self, period_s: float, ranks: Ranks, files: RunFiles, say: Callable[[str], None]
    ) -> None:
        self._period, self._ranks, self._say = period_s, ranks, say
        self._thread: threading.Thread | None = None
        self._several = False
        if not period_s:
            return
        self._period = max(period_s, _SHORTEST_S)
        own = {"node": ranks.node, "process": os.getpid(), "gpu": _uuid(ranks.device)}
        everyone = ranks.gather_objects(own)
        self._here = [rank for rank in everyone if rank["node"] == ranks.node]
        self._several = len({rank["node"] for rank in everyone}) > 1
        self._path = files.utilisation
        if not ranks.first:
            self._path = part(files.utilisation, ranks.node)
        if ranks.local_rank == 0:
            self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._ended = threading.Event()
        self._silent = False

    def __enter__(self) -> Sampler:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def merge(self) -> None:
        """Stop, and put the lines of all nodes into the one file; all ranks call this."""
        self._stop()
        if not self._several:
            return
        elsewhere = self._thread is not None and not self._ranks.first
        lines = self._ranks.gather_objects(_content(self._path) if elsewhere else b"")
        kept = False
        if self._ranks.first:
            with contextlib.suppress(OSError), _opened(self._path) as file:
                file.write(b"".join(lines))
                _sync(file)
                kept = True
        if self._ranks.from_first(kept) and elsewhere:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _stop(self) -> None:
        if self._thread and self._thread.is_alive():
            self._ended.set()
            self._thread.join(_LEAVE_S)

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        try:
            devices = self._devices()
            if devices:
                self._sample(devices)
        except Exception as error:  # a training must not end because nobody watched it
            self._fault(error)

    def _devices(self) -> list[Gpus | Host]:
        """What can be looked at here."""
        looks: list[tuple[str, Callable[[], Gpus | Host]]] = [
            ("the host", lambda: Host(rank["process"] for rank in self._here))
        ]
        if self._ranks.device.type == "cuda":
            looks.insert(0, ("GPUs", lambda: Gpus(rank["gpu"] for rank in self._here)))
        devices = []
        for what, look in looks:
            try:
                devices.append(look())
            except ImportError as error:
                package = {"pynvml": "nvidia-ml-py"}.get(error.name or "", error.name)
                self._say(f"utilisation: without {what}: {package} is not installed")
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".strip().rstrip(":")
                self._say(f"utilisation: without {what} ({' '.join(reason.split())})")
        return devices

    def _sample(self, devices: list[Gpus | Host]) -> None:
        """Write lines until asked to end, the last of them then."""
        synced = time.monotonic()
        due = synced + self._period
        ended = self._ended.wait(self._period)
        with _opened(self._path) as file:
            while True:
                now = time.monotonic()
                try:
                    file.write(self._lines(devices))
                    file.flush()
                    if now - synced > _SYNC_S:
                        _sync(file)
                        synced = now
                except Exception as error:
                    self._fault(error)
                if ended:
                    break
                due = max(due + self._period, now)  # looks that were missed are not made up for
                ended = self._ended.wait(due - time.monotonic())
                if ended and time.monotonic() - now < self._period / 4:
                    break  # what is counted over a moment only says nothing
            _sync(file)

    def _lines(self, devices: list[Gpus | Host]) -> bytes:
        moment = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
        start = {"time": f"{moment.isoformat(timespec='milliseconds')}Z", "node": self._ranks.node}
        rows = [
            {**start, "device": name, **values}
            for device in devices
            for name, values in device.read()
        ]
        return "".join(f"{_line(row)}\n" for row in rows).encode()

    def _fault(self, error: Exception) -> None:
        if not self._silent:
            self._silent = True
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):
                self._say(f"utilisation: lines are missing ({' '.join(reason.split())})")


def part(path: Path, node: int) -> Path:
    """File of one node's lines while the job runs, beside that of the job."""
    return path.with_name(f"{path.name[: -len(path.suffix)]}.node{node}{path.suffix}")


def _line(row: Values) -> str:
    return ",".join(column.text(row.get(column.name)) for column in UTILISATION)


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    """Open a file of lines to go on with it: a new one gets its header, a torn line its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        if not file.tell():
            file.write(f"{_HEADER}\n".encode())
        else:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        yield file


def _content(path: Path) -> bytes:
    """Whole lines of a node's file, without the header."""
    with contextlib.suppress(OSError):
        lines = path.read_bytes().splitlines(keepends=True)
        return b"".join(line for line in lines[1:] if line.endswith(b"\n"))
    return b""


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _uuid(device: torch.device) -> str:
    """Of the GPU this rank computes on, where PyTorch tells it (from 2.4 on)."""
    if device.type != "cuda":
        return ""
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
