"""Generated images, for machines that have no real ones."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from scalebook.contract import SYNTHETIC
from scalebook.train.images.sampling import hash_integers
from scalebook.train.images.source import Arrays, Progress, Source

TRAIN_IMAGES, VAL_IMAGES, CLASSES, SIZE = 50_000, 10_000, 10, 32


class Synthetic(Source):
    """Generated images of ten learnable classes, named for what they are.

    Each class is a smooth random pattern; an image is its class's pattern, shifted around the
    border, fainter or stronger, under noise. All of it is read off `hash_integers`.
    """

    def __init__(self, train_images: int | None, val_images: int | None) -> None:
        self.counts = {"train": train_images or TRAIN_IMAGES, "val": val_images or VAL_IMAGES}

    def listing(self) -> list[list[Any]]:
        """Everything the images depend on."""
        return [["synthetic/1", self.counts["train"], self.counts["val"]]]

    def digest(self, progress: Progress) -> str:
        """SHA-256 of the parameters."""
        return hashlib.sha256(repr(self.listing()).encode()).hexdigest()

    def name_of(self, digest: str) -> str:
        """Always ``synthetic``."""
        return SYNTHETIC

    def decode(self, image_size: int | None, progress: Progress) -> tuple[Arrays, list[str]]:
        """Compute the images."""
        size = image_size or SIZE
        arrays: Arrays = {}
        first, total = 0, sum(self.counts.values())
        for split, count in self.counts.items():
            numbers = torch.arange(first, first + count)
            arrays[f"{split}_labels"] = (numbers % CLASSES).numpy()
            images = np.empty((count, 3, size, size), np.uint8)
            for start in range(0, count, 512):
                images[start : start + 512] = _generate(numbers[start : start + 512], size)
                progress(first + start, total)
            arrays[f"{split}_images"] = images
            first += count
        return arrays, [f"pattern-{number}" for number in range(CLASSES)]


def _generate(numbers: torch.Tensor, size: int) -> np.ndarray[Any, Any]:
    """Synthetic images of the given numbers, uint8, shape (N, 3, size, size).

    Integers throughout, so that they are the same on every machine.
    """
    labels = numbers % CLASSES
    grid = hash_integers(torch.arange(CLASSES * 3 * 16), 11) & 0xFF
    patterns = torch.nn.functional.interpolate(
        grid.view(CLASSES, 3, 4, 4).double(), size=size, mode="bilinear"
    )
    patterns = patterns.round().to(torch.int64)
    choice = hash_integers(numbers, 12)
    rows = (torch.arange(size) + (choice & 0xFFFF).unsqueeze(1)).remainder(size)
    columns = (torch.arange(size) + ((choice >> 16) & 0xFFFF).unsqueeze(1)).remainder(size)
    images = patterns[
        labels.view(-1, 1, 1, 1),
        torch.arange(3).view(1, 3, 1, 1),
        rows.view(-1, 1, size, 1),
        columns.view(-1, 1, 1, size),
    ]
    pixels = numbers.unsqueeze(1) * (3 * size * size) + torch.arange(3 * size * size)
    noise = (hash_integers(pixels, 13) & 0xFF).view_as(images)
    # The pattern shows through at 30 to 80 percent.
    strength = (77 + ((choice >> 32) & 0x7F)).view(-1, 1, 1, 1)
    mixed = (strength * images + (256 - strength) * noise + 128) >> 8
    generated: np.ndarray[Any, Any] = mixed.to(torch.uint8).numpy()
    return generated
