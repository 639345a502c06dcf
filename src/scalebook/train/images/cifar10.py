"""The official CIFAR-10 files: checked before they are unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from scalebook.contract import ScalebookError
from scalebook.train.images import download
from scalebook.train.images.source import Arrays, Progress, Source, digest_files, entry


class OfficialBatches(Source):
    """The official CIFAR-10 files, ``cifar-10-batches-py``."""

    folder: Path

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listing(self) -> list[list[Any]]:
        """The seven files that the archive holds."""
        return [entry(self.folder / name, name) for name in sorted(download.FILE_MD5)]

    def digest(self, progress: Progress) -> str:
        """Check every MD5, then hash the files.

        Raises
        ------
        ScalebookError
            Naming a file that is not the official one.
        """
        download.check(self.folder)
        return digest_files(self.folder, sorted(download.FILE_MD5), progress)

    def name_of(self, digest: str) -> str:
        """Always ``cifar10``."""
        return "cifar10"

    def decode(self, image_size: int | None, progress: Progress) -> tuple[Arrays, list[str]]:
        """Unpickle the batches."""
        if image_size not in (None, 32):
            raise ScalebookError(
                f"image_size {image_size}: the official CIFAR-10 files hold 32 x 32 pixels; "
                "leave image_size out"
            )
        arrays: Arrays = {}
        parts = {
            "train": [f"data_batch_{number}" for number in range(1, 6)],
            "val": ["test_batch"],
        }
        for split, names in parts.items():
            batches = [self._unpickle(name) for name in names]
            images = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
            arrays[f"{split}_images"] = images.reshape(-1, 3, 32, 32)
            labels = [np.asarray(batch["labels"], np.int64) for batch in batches]
            arrays[f"{split}_labels"] = np.concatenate(labels)
            progress(len(arrays), 4)
        return arrays, [str(c) for c in self._unpickle("batches.meta")["label_names"]]

    def _unpickle(self, name: str) -> dict[str, Any]:
        """What a file holds; the very bytes that are unpickled were checked."""
        content: dict[str, Any] = pickle.loads(download.read(self.folder, name), encoding="latin1")
        return content
