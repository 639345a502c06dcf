"""What a CPU can do at best: measured where a run was profiled, on the cores it ran on.

Makers state no such figure for the part of a machine that a rank gets. PyTorch multiplies
matrices and convolves by different libraries, of which either may know the processor better:
the faster one counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

_SIDE = 1024
_CHANNELS, _IMAGES, _PIXELS = 128, 16, 28
_COPIED = 16 << 20  # numbers, 64 MiB: more than the part of any cache that a core has
_SECONDS = 0.3


@torch.no_grad()
def measure() -> dict[str, float]:
    """Measure arithmetic in fp32, and copying what fits in no cache.

    Where several ranks share a machine they call this together, as they compute together.

    Returns
    -------
    dict
        ``fp32_tflops``, ``memory_gb_s`` (read and written) and ``threads`` of this process; of the
        best round.
    """
    matrix = torch.ones(_SIDE, _SIDE)
    product = torch.empty_like(matrix)
    products = 2 * _SIDE**3 / _best(lambda: torch.mm(matrix, matrix, out=product))
    # Without a border, so that nothing can be left out; in the layout that needs no reordering.
    images = torch.ones(_IMAGES, _CHANNELS, _PIXELS + 2, _PIXELS + 2)
    images = images.contiguous(memory_format=torch.channels_last)
    kernel = torch.ones(_CHANNELS, _CHANNELS, 3, 3).contiguous(memory_format=torch.channels_last)
    count = 2 * _IMAGES * (_PIXELS * _CHANNELS * 3) ** 2
    convolutions = count / _best(lambda: torch.nn.functional.conv2d(images, kernel))
    source = torch.zeros(_COPIED)
    copy = torch.zeros_like(source)
    moved = 2 * 4 * _COPIED / _best(lambda: copy.copy_(source))
    return {
        "fp32_tflops": round(max(products, convolutions) / 1e12, 5),
        "memory_gb_s": round(moved / 1e9, 3),
        "threads": torch.get_num_threads(),
    }


def _best(work: Callable[[], object]) -> float:
    """Shortest time of one round, in seconds."""
    work()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
