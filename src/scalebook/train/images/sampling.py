"""Which images a step holds, in which order, and how each is augmented.

The order of an epoch depends on (seed, epoch) only, and the augmentation of an
image on (seed, epoch, image) only: both are the same whatever the number of
ranks or the device. They are read off a counter-based hash, not a random-number
generator, so there is no state that ranks could disagree about.
"""

from __future__ import annotations

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
# OOPSLA 2014, DOI 10.1145/2660193.2660195), written as signed 64-bit integers.
_GOLDEN = 0x9E3779B97F4A7C15
_FACTOR_1 = 0xBF58476D1CE4E5B9
_FACTOR_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1

_ORDER, _AUGMENT = 1, 2


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right, zeros coming in from the left; torch's own shift keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def hash_integers(x: Tensor, *key: int) -> Tensor:
    """Hash each 64-bit integer of `x` together with `key`; the same on every device."""
    start = 0
    for part in key:
        start = _mix_one(start ^ (part & _MASK))
    x = x * _signed(_GOLDEN) + _signed(start)
    x = (x ^ _shift(x, 30)) * _signed(_FACTOR_1)
    x = (x ^ _shift(x, 27)) * _signed(_FACTOR_2)
    return x ^ _shift(x, 31)


def _mix_one(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * _FACTOR_1) & _MASK
    value = ((value ^ (value >> 27)) * _FACTOR_2) & _MASK
    return value ^ (value >> 31)


def epoch_order(images: int, seed: int, epoch: int) -> Tensor:
    """Permutation of ``range(images)`` in which an epoch sees the images; int64, on the CPU."""
    keys = hash_integers(torch.arange(images), seed, epoch, _ORDER)
    return torch.argsort(keys, stable=True)


def steps_per_epoch(images: int, global_batch: int) -> int:
    """Steps that cover all images once; the last may be ragged."""
    return -(-images // global_batch)


def step_size(step: int, images: int, global_batch: int) -> int:
    """Images over all ranks in `step`, counted from 0."""
    return min(global_batch, images - step * global_batch)


def rank_share(step: int, images: int, global_batch: int, rank: int, world_size: int) -> slice:
    """Positions in the epoch's order that one rank takes in `step`.

    The step's images are dealt out in turn, so the shares of the ranks differ by at most one
    image, every image belongs to exactly one rank, and a rank's share of a ragged last step
    may be empty.
    """
    start = step * global_batch
    return slice(start + rank, min(start + global_batch, images), world_size)


def augment(
    images: Tensor, index: Tensor, seed: int, epoch: int, padding: int, flip: bool
) -> Tensor:
    """Random crop and horizontal flip of a whole batch at once.

    As torchvision's ``RandomCrop(size, padding)`` and ``RandomHorizontalFlip()``.

    Parameters
    ----------
    images : Tensor
        uint8, shape (batch, channels, height, width).
    index : Tensor
        int64, shape (batch,): each image's number in the dataset, on the same device.
    seed, epoch : int
        The random choices depend on these and `index` only.
    padding : int
        Black pixels added on each side before the crop; 0 leaves the crop out.
    flip : bool
        Mirror half of the images.

    Returns
    -------
    Tensor
        uint8, same shape.
    """
    if not padding and not flip:
        return images
    batch, channels, height, width = images.shape
    bits = hash_integers(index, seed, epoch, _AUGMENT)
    rows = torch.arange(height, device=images.device).expand(batch, height)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if flip:
        mirrored = (bits & 1).bool().unsqueeze(1)
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if padding:
        # 20 bits each: the bias of the remainder is below 1e-5 for any sensible padding.
        choices = 2 * padding + 1
        rows = rows + (_shift(bits, 1) & 0xFFFFF).remainder(choices).unsqueeze(1)
        columns = columns + (_shift(bits, 21) & 0xFFFFF).remainder(choices).unsqueeze(1)
        images = torch.nn.functional.pad(images, (padding, padding, padding, padding))
    flat = rows.unsqueeze(2) * images.shape[3] + columns.unsqueeze(1)
    flat = flat.view(batch, 1, height * width).expand(batch, channels, height * width)
    return images.flatten(2).gather(2, flat).view(batch, channels, height, width)
