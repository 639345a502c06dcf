"""What all sources of images share: their interface, and how files are listed and hashed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalebook.contract import ScalebookError

#: Images (N, 3, height, width) as uint8 and labels (N,) as int64 of both splits, under
#: ``train_images``, ``train_labels``, ``val_images`` and ``val_labels``.
Arrays = dict[str, "np.ndarray[Any, Any]"]
#: Called with images or files done and those in all.
Progress = Callable[[int, int], None]


class Source(ABC):
    """Images on disk, or a formula that makes them.

    Attributes
    ----------
    folder : Path or None
        Where the files lie; None for generated images.
    """

    folder: Path | None = None

    @abstractmethod
    def listing(self) -> list[list[Any]]:
        """Relative path, size in bytes and time of change of each file; equal for equal images."""

    @abstractmethod
    def digest(self, progress: Progress) -> str:
        """SHA-256 of what the images are, as hexadecimal."""

    @abstractmethod
    def name_of(self, digest: str) -> str:
        """Name for people and for the evidence rules."""

    @abstractmethod
    def decode(self, image_size: int | None, progress: Progress) -> tuple[Arrays, list[str]]:
        """Arrays of all images, scaled to `image_size` pixels a side, and the names of the classes.

        Raises
        ------
        ScalebookError
            Naming a file that is damaged, or whose size does not fit.
        """


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
