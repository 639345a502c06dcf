"""What all sources of images share: their interface, and how files are listed and hashed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalebook.contract import ScalebookError
from scalebook.train.privacy import printable

#: Images (N, 3, height, width) as uint8 and labels (N,) as int64 of both splits, under
#: ``train_images``, ``train_labels``, ``val_images`` and ``val_labels``.
Arrays = dict[str, "np.ndarray[Any, Any]"]
#: Called with images or files done and those in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LeftOut:
    """What lies among the images of a folder and is none.

    Attributes
    ----------
    files : dict of str to int
        How many, by suffix in small letters.
    folders : list of str
        Classes that hold no image, and folders inside classes.
    text : str
        All of it in one line, with what to do; empty where nothing is left out.
    """

    files: dict[str, int]
    folders: list[str]
    text: str

    @classmethod
    def of(cls, shown: str, paths: list[str]) -> LeftOut:
        """Count paths below the folder that is `shown` so; folders end with ``/``."""
        files = sorted(path for path in paths if path[-1] != "/")
        folders = sorted(path[:-1] for path in paths if path[-1] == "/")
        by_suffix = Counter(os.path.splitext(path)[1].lower() or "no suffix" for path in files)
        parts = []
        if files:
            kinds = ", ".join(f"{count} {kind}" for kind, count in by_suffix.most_common(5))
            number = "1 file" if len(files) == 1 else f"{len(files)} files"
            parts.append(f"{number} ({kinds}; first {files[0]})")
        if folders:
            few = ", ".join(folders[:5]) + (", ..." if len(folders) > 5 else "")
            number = "1 folder" if len(folders) == 1 else f"{len(folders)} folders"
            parts.append(f"{number} without pictures of a class ({few})")
        text = (
            f"{shown}: left out {' and '.join(parts)}: only <train|test>/<class>/*.jpg|png counts"
        )
        text = printable(f"{text}; convert, move or remove them") if parts else ""
        return cls(dict(by_suffix), folders, text)

    def __bool__(self) -> bool:
        return bool(self.text)


class Source(ABC):
    """Images on disk, or a formula that makes them.

    Attributes
    ----------
    folder : Path or None
        Where the files lie; None for generated images.
    left_out : LeftOut
        What lies there too and is not used.
    """

    folder: Path | None = None
    left_out: LeftOut = LeftOut({}, [], "")

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
