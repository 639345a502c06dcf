"""The images of a run: found, identified, cut to the subset asked for, put on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scalebook.contract import UsageError
from scalebook.train.images import cache, finding
from scalebook.train.images.sampling import augment, hash_integers
from scalebook.train.images.source import LeftOut
from scalebook.train.settings import DatasetSettings

# Share of a GPU's free memory that the images may take; larger sets stay on the host.
_RESIDENT_SHARE = 0.5


@dataclass(frozen=True)
class Split:
    """Images and labels, on the device where they fit.

    Attributes
    ----------
    images : Tensor
        uint8, shape (N, 3, height, width).
    labels : Tensor
        int64, shape (N,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Training and validation images with their identity.

    Attributes
    ----------
    name : str
        ``cifar10``, ``cifar10-jpeg``, ``synthetic`` or ``folder-<hex>``.
    sha256 : str
        Of the whole source; together with the numbers of images it says what the images are.
    subset : bool
        Whether fewer images are used than the source has.
    mean, std : list of float
        Of the source's training images, as fractions of 255.
    left_out : LeftOut
        What lies among the source's files and is not used.
    """

    name: str
    sha256: str
    subset: bool
    classes: list[str]
    mean: list[float]
    std: list[float]
    train: Split
    val: Split
    left_out: LeftOut

    @property
    def image_size(self) -> int | list[int]:
        """Pixels a side, or height and width where they differ."""
        height, width = self.train.images.shape[2:]
        return height if height == width else [height, width]

    def describe(self) -> dict[str, Any]:
        """Return what the manifest says of a dataset."""
        left_out = {key: value for key, value in vars(self.left_out).items() if key != "text"}
        return {
            "name": self.name, "sha256": self.sha256, "train_images": len(self.train),
            "val_images": len(self.val), "subset": self.subset, "classes": len(self.classes),
            "image_size": self.image_size, **({"left_out": left_out} if self.left_out else {}),
        }  # fmt: skip


def load(settings: DatasetSettings, root: Path, report: cache.Report) -> Dataset:
    """Find, decode and cut the images of a run; they stay in the host's memory.

    Parameters
    ----------
    settings : DatasetSettings
        Which images.
    root : Path
        The study's folder; the cache lies in ``data/cache`` below it.
    report : callable
        Called with a word, how much is done and how much there is.

    Raises
    ------
    ScalebookError
        One line: nothing found, a damaged file, or fewer images than asked for.
    """
    source = finding.find(settings, root)
    decoded = cache.load(source, settings.image_size, root / "data" / "cache", report)
    splits, subset = {}, False
    for split, wanted in (("train", settings.train_images), ("val", settings.val_images)):
        images, labels = decoded.arrays[f"{split}_images"], decoded.arrays[f"{split}_labels"]
        if wanted is not None and wanted > len(labels):
            raise UsageError(
                f"{split}_images {wanted}: dataset {decoded.name} has {len(labels)}; ask for fewer"
            )
        if wanted is not None and wanted < len(labels):
            keep = _balanced(labels, wanted)
            images, labels, subset = images[keep], labels[keep], True
        splits[split] = Split(torch.from_numpy(images), torch.from_numpy(np.asarray(labels)))
    return Dataset(
        decoded.name, decoded.sha256, subset, decoded.classes, decoded.mean, decoded.std,
        splits["train"], splits["val"], source.left_out,
    )  # fmt: skip


def _balanced(labels: np.ndarray, wanted: int) -> np.ndarray:
    """Positions of a subset with its classes as equal as can be; larger ones hold smaller ones.

    Depends on the labels only, never on a seed.
    """
    shuffled = torch.argsort(hash_integers(torch.arange(len(labels)), 3), stable=True).numpy()
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, shuffled within
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    turn = np.arange(len(order)) - np.repeat(starts, counts)
    dealt = order[np.argsort(turn, kind="stable")]  # one of each class in turn
    return np.sort(dealt[:wanted])


def place(dataset: Dataset, device: torch.device) -> Dataset:
    """Move the images to a GPU if they take at most half of its free memory.

    On a CPU they stay memory-mapped, one copy for all ranks of a node.
    """
    if device.type != "cuda":
        return dataset
    free, _ = torch.cuda.mem_get_info(device)
    needed = dataset.train.images.numel() + dataset.val.images.numel()  # one byte each
    if needed > free * _RESIDENT_SHARE:
        return dataset
    train, val = (
        Split(split.images.to(device), split.labels.to(device))
        for split in (dataset.train, dataset.val)
    )
    return replace(dataset, train=train, val=val)


class Batches:
    """Turns positions into batches: gathered, augmented and normalised on the device.

    Parameters
    ----------
    dataset : Dataset
        Gives mean and standard deviation of the training images.
    device : torch.device
        Where batches go.
    memory_format : torch.memory_format
        Of the images.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, memory_format: torch.memory_format
    ) -> None:
        self.device, self.memory_format = device, memory_format
        mean, std = torch.tensor(dataset.mean), torch.tensor(dataset.std)
        # (pixel / 255 - mean) / std as one multiplication and one addition.
        self.factor = (1 / (255 * std)).view(1, 3, 1, 1).to(device)
        self.offset = (-mean / std).view(1, 3, 1, 1).to(device)

    def gather(self, split: Split, index: Tensor) -> tuple[Tensor, Tensor]:
        """Pick images (uint8) and labels; `index` is int64 on the device of the split."""
        images, labels = split.images[index], split.labels[index]
        return (
            images.to(self.device, non_blocking=True),
            labels.to(self.device, non_blocking=True),
        )

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 into float32 with mean 0 and standard deviation 1 for each channel."""
        images = images.to(torch.float32, memory_format=self.memory_format)
        return images.mul_(self.factor).add_(self.offset)

    def training(
        self, split: Split, index: Tensor, seed: int, epoch: int, padding: int, flip: bool
    ) -> tuple[Tensor, Tensor]:
        """Return one augmented batch: float32 (n, 3, height, width) and labels (n,)."""
        images, labels = self.gather(split, index)
        images = augment(images, index.to(self.device), seed, epoch, padding, flip)
        return self.normalise(images), labels
