"""What a dataset is: its files listed, and their content hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalebook.contract import ScalebookError

#: Images (N, 3, height, width) as uint8 and labels (N,) as int64 of both splits, under
#: ``train_images``, ``train_labels``, ``val_images`` and ``val_labels``.
Arrays = dict[str, np.ndarray]
#: Called with images or files done and those in all.
Progress = Callable[[int, int], None]


def entry(path: Path, relative: str) -> list[Any]:
    """Relative path, size in bytes and time of change of a file."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ScalebookError(f"{path.parent.name}/{path.name}: {error.strerror}") from None
    return [relative, status.st_size, status.st_mtime_ns]


def digest_files(folder: Path, paths: list[str], progress: Progress) -> str:
    """SHA-256 over relative paths and the SHA-256 of each file, in the order given."""
    digest = hashlib.sha256()
    for number, path in enumerate(paths, 1):
        try:
            content = (folder / path).read_bytes()
        except OSError as error:
            raise ScalebookError(f"{folder.name}/{path}: {error.strerror}") from None
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        if number % 256 == 0 or number == len(paths):
            progress(number, len(paths))
    return digest.hexdigest()
