"""Checkpoints: everything a run needs to go on as if it had never stopped.

One is written after each epoch, and one within an epoch where the run is asked to stop. Both
are ``checkpoints/<stem>/last.pt``, so that it is always the newest: one line with a format name
and the SHA-256 of the rest, and then what ``torch.save`` wrote. It is written whole, checked
before it is loaded, and loaded with ``weights_only``, so that a file from elsewhere cannot run
code.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.train import locking
from scalebook.train.distributed import Ranks

_FORMAT = b"scalebook.checkpoint/1"
_RESERVE = 256 << 10


class Folder:
    """``checkpoints/<stem>`` below the study's root."""

    def __init__(self, root: Path, stem: str) -> None:
        self.path = root / "checkpoints" / stem
        self.file = self.path / "last.pt"
        self._shown = f"checkpoints/{stem}/last.pt"
        self._lock: BinaryIO | None = None

    def lock(self) -> None:
        """Keep a second process from continuing the same run, until `unlock` or the end of this.

        Also sets a little disk space aside, see `release_reserve`.

        Raises
        ------
        ScalebookError
            If the run is going on elsewhere.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path / "lock", "wb")  # noqa: SIM115
        if not locking.acquire(self._lock):
            raise ScalebookError(
                f"run {self.path.name} is still going on: wait for it, or cancel it"
            )
        for left in self.path.glob(".*.pt.*"):  # a killed process was writing it
            left.unlink(missing_ok=True)
        contract.write_whole(self.path / "reserve", os.urandom(_RESERVE))

    def unlock(self) -> None:
        """Let another process have the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def release_reserve(self) -> None:
        """Free the space set aside, so that a manifest can be closed on a full disk."""
        (self.path / "reserve").unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` whole or not at all."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getbuffer()
        head = _FORMAT + b" " + hashlib.sha256(payload).hexdigest().encode() + b"\n"
        contract.write_whole(self.file, head + payload)

    def load(self, ranks: Ranks) -> dict[str, Any] | None:
        """Read the newest checkpoint; rank 0 reads it for all, so no other needs the file.

        Returns
        -------
        dict or None
            None where there is none yet.

        Raises
        ------
        ScalebookError
            If the file is damaged.
        """
        payload = self._read() if ranks.first else None
        payload = ranks.from_first(payload)
        if payload is None:
            return None
        try:
            state: dict[str, Any] = torch.load(
                io.BytesIO(payload), map_location="cpu", weights_only=True
            )
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise self._damaged(type(error).__name__) from None
        return state

    def _read(self) -> bytes | None:
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return None
        head, _, payload = content.partition(b"\n")
        kind, _, digest = head.partition(b" ")
        if kind != _FORMAT:
            raise self._damaged("no checkpoint of this format")
        if hashlib.sha256(payload).hexdigest().encode() != digest:
            raise self._damaged("its checksum differs")
        return payload

    def _damaged(self, why: str) -> ScalebookError:
        return ScalebookError(
            f"{self._shown}: is damaged ({why}): remove it and --resume starts again from epoch 1"
        )


def random_states(ranks: Ranks) -> list[dict[str, Tensor]]:
    """Generator states of every rank: dropout and the like differ from rank to rank."""
    own = {"cpu": torch.get_rng_state()}
    if ranks.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(ranks.device)
    gathered = {name: ranks.gather(state) for name, state in own.items()}
    return [
        {name: states[rank] for name, states in gathered.items()}
        for rank in range(ranks.world_size)
    ]
