"""A tiny model and tiny studies, so that a real training takes a second.

Run as a program it is ``python -m scalebook.train`` with the tiny model known.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from waiting import PATIENCE_S

from scalebook.train.torchvision_fix import import_torchvision

STUDY = """\
name: tiny
systems: {local: {launcher: local}}
experiments: {tiny: {world_size: 1, global_batch: 8, epochs: 1}}
"""


class TinyNet(nn.Module):
    def __init__(self, num_classes: int = 10, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.features(images).mean(dim=(2, 3))))


def tinynet(*, weights: None = None, num_classes: int = 10) -> TinyNet:
    return TinyNet(num_classes)


def tinynet_plain(*, weights: None = None, num_classes: int = 10) -> TinyNet:
    """Without dropout, whose draws depend on the rank."""
    return TinyNet(num_classes, dropout=0.0)


def register() -> None:
    models = import_torchvision().models
    for builder in (tinynet, tinynet_plain):
        if builder.__name__ not in models.list_models():
            models._api.register_model(builder.__name__)(builder)


def resolved(**changes: Any) -> dict[str, Any]:
    """A resolved experiment; keys of its parts may be given directly."""
    document: dict[str, Any] = {
        "schema": "scalebook.resolved/1", "study": "tiny", "experiment": "tiny",
        "system": "local", "seed": 0, "scaling": None, "reference": None, "global_batch": 16,
        "layout": {"device": "cpu", "world_size": 1, "nodes": 1, "ranks_per_node": 1,
                   "threads_per_rank": 1},
        "dataset": {"source": "synthetic", "dir": "data", "image_size": 16, "train_images": 40,
                    "val_images": 21},
        "training": {
            "model": "tinynet", "stem": "imagenet", "epochs": 3, "precision": "fp32",
            "channels_last": False, "compile": False, "lr": 0.1, "lr_reference_batch": 16,
            "lr_scaling": "linear", "warmup_epochs": 1.0, "momentum": 0.9, "nesterov": True,
            "weight_decay": 5e-4, "label_smoothing": 0.0, "crop_padding": 2, "flip": True,
            "freeze_batch_norm": False, "untimed_steps": 2, "profile": False, "profile_steps": 2,
            "timeout_s": 30.0,
        },
        "evidence_datasets": [], "overrides": {},
    }  # fmt: skip
    for key, value in changes.items():
        for part in (document["layout"], document["dataset"], document["training"], document):
            if key in part:
                part[key] = value
                break
        else:
            raise KeyError(key)
    layout = document["layout"]
    layout["ranks_per_node"] = layout["world_size"] // layout["nodes"]
    return document


def study(folder: Path, **changes: Any) -> Path:
    """A study's root with ``resolved.json`` in it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(STUDY)
    (folder / "resolved.json").write_text(json.dumps(resolved(**changes)))
    return folder


def train(root: Path, *arguments: str) -> int:
    """Train in this process; returns the exit status."""
    from scalebook.train import __main__

    register()
    try:
        return __main__.main(["--experiment", str(root / "resolved.json"), *arguments])
    finally:
        forget_stop()


def forget_stop() -> None:
    """Take signals as the process did before it trained."""
    from scalebook.train import stop

    stop._requested = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def start_ranks(
    root: Path,
    world_size: int,
    *arguments: str,
    of_rank: dict[int, dict[str, str]] | None = None,
    program: Sequence[str] = (__file__,),
    **env: str,
) -> list[subprocess.Popen]:
    """Start the ranks of one training as processes of their own, as ``srun`` does.

    `env` is for all of them, `of_rank` for single ones.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size), "SCALEBOOK_ROOT": str(root),
        "LOCAL_WORLD_SIZE": str(world_size), **env,
    }  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, *program, "--experiment", str(root / "resolved.json"), *arguments],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank),
                 **(of_rank or {}).get(rank, {})},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
        )
        for rank in range(world_size)
    ]  # fmt: skip


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each process; none is left behind."""
    try:
        outputs = [process.communicate(timeout=PATIENCE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs)]


def only(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


def manifest(root: Path) -> dict[str, Any]:
    return json.loads(only(root, "results/**/manifests/*.json").read_text())


def rows(root: Path) -> list[dict[str, str]]:
    with open(only(root, "results/**/csv/*.csv")) as file:
        return list(csv.DictReader(file))


def steps(root: Path) -> list[dict[str, str]]:
    text = gzip.decompress(only(root, "results/**/steps/*.csv.gz").read_bytes()).decode()
    return list(csv.DictReader(text.splitlines()))


def last_attempt(root: Path) -> dict[str, Any]:
    return manifest(root)["attempts"][-1]


def parameters(root: Path) -> dict[str, torch.Tensor]:
    """Model of the last checkpoint."""
    content = only(root, "checkpoints/*/last.pt").read_bytes().partition(b"\n")[2]
    return torch.load(io.BytesIO(content), weights_only=True)["model"]


def fail_as_told() -> None:
    """Break this process as the environment asks, for tests of what the others then do."""
    from scalebook import contract
    from scalebook.train import checkpoint, loop
    from scalebook.train.tools import allreduce

    allreduce.LARGEST_BYTES = int(os.environ.get("TRAIN_TEST_LARGEST_MESSAGE", "0"))
    if os.environ.get("TRAIN_TEST_FAULT") == os.environ["RANK"]:
        loop.learning_rate = lambda *_: 1 / 0
    if os.environ.get("TRAIN_TEST_SLOW_MANIFEST") == os.environ["RANK"]:
        write_json = contract.write_json

        def slowly(path: Path, value: object) -> None:
            time.sleep(1)
            write_json(path, value)

        contract.write_json = slowly
    step = os.environ.get("TRAIN_TEST_TIME_LIMIT_AT")
    if step:
        learning_rate = loop.learning_rate

        def signals(now: int, *arguments: Any) -> float:
            if now == int(step):
                os.kill(os.getpid(), signal.SIGUSR1)
            return learning_rate(now, *arguments)

        loop.learning_rate = signals
    save = checkpoint.Folder.save
    if os.environ.get("TRAIN_TEST_FULL_DISK"):

        def full(folder: checkpoint.Folder, state: dict[str, Any]) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        checkpoint.Folder.save = full
    pause = os.environ.get("TRAIN_TEST_SLOW_DISK")
    if pause:

        def slow(folder: checkpoint.Folder, state: dict[str, Any]) -> None:
            time.sleep(float(pause))
            save(folder, state)

        checkpoint.Folder.save = slow
    epochs = os.environ.get("TRAIN_TEST_DIE_AFTER")
    if epochs:

        def dies(folder: checkpoint.Folder, state: dict[str, Any]) -> None:
            if state["epoch"] > int(epochs):
                os._exit(9)
            save(folder, state)

        checkpoint.Folder.save = dies


if __name__ == "__main__":
    from scalebook.train.__main__ import main

    register()
    fail_as_told()
    sys.exit(main())
