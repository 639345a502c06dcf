"""All-reduce between the ranks: ``python -m scalebook.train.tools.allreduce --system SYSTEM.json``.

Run under ``slurm/torch_env.sh`` or torchrun; or by a run whose setting ``allreduce`` is on, before
its first epoch. Writes ``results/allreduce/<stem>.csv``, a row a message size, and ``<stem>.json``,
what it was measured on. Latency is that of the slowest rank;
bandwidths are defined as nccl-tests does: ``algbw = bytes / latency`` and
``busbw = algbw * 2 (n - 1) / n``, which can be held against the rate of a link.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from scalebook import contract
from scalebook.contract import (
    ALLREDUCE_COLUMNS,
    ALLREDUCE_SCHEMA,
    EVIDENCE,
    RunFiles,
    ScalebookError,
    Stem,
    UsageError,
)
from scalebook.train import distributed, machine, manifest
from scalebook.train.distributed import Ranks
from scalebook.train.failures import first_line
from scalebook.train.settings import Layout

_TIMEOUT_S = 120.0
# A size is repeated for about this long, but this often at least and at most: the largest take
# seconds on a slow link, the smallest microseconds.
_BUDGET_S, _FEWEST, _MOST = 3.0, 5, 200
_WARM_UP = 2

LARGEST_BYTES = 64 * 2**20


def main(argv: list[str] | None = None) -> int:
    """Measure and write; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        root = contract.find_root()
        known = contract.read_json(Path(arguments.system))
        ranks = _join()
    except ScalebookError as error:
        return _say(error)
    try:
        job, _ = manifest.job_id()
        stem = Stem("allreduce", job, ranks.world_size, _device(ranks))
        facts = known.get("facts") or {}
        files = RunFiles(root / EVIDENCE, str(stem))
        _print_line(ranks, ALLREDUCE_COLUMNS)
        measure_and_write(
            files, root, ranks, known.get("system"), facts, arguments.max_bytes,
            lambda row: _print_line(ranks, row.values()),
        )  # fmt: skip
        if ranks.first:
            print(files.allreduce.relative_to(root).as_posix(), flush=True)
    except (ScalebookError, RuntimeError) as error:
        _say(ScalebookError(f"rank {ranks.rank}, all-reduce: {first_line(error)}"))
        sys.stderr.flush()
        os._exit(1)  # leaving the group of a rank that hangs would take for ever
    distributed.leave(ranks)
    return 0


def measure_and_write(
    files: RunFiles,
    root: Path,
    ranks: Ranks,
    system: str | None,
    network: dict[str, Any],
    largest: int,
    show: Callable[[dict[str, float]], None],
) -> None:
    """Measure the curve and leave it among the files of a run.

    Parameters
    ----------
    files : RunFiles
        Of the run.
    root : Path
        Folder of the study.
    ranks : Ranks
        Of a started group, two or more.
    system : str or None
        Where it runs.
    network : dict
        ``network`` and ``link_gbit_s``, as far as they are known.
    largest : int
        Bytes of the largest message.
    show : callable
        Called with each row.

    Raises
    ------
    ScalebookError
        If a sum is wrong.
    """
    started = contract.utc_now()
    rows = []
    for size in _sizes(largest):
        rows.append(measure(ranks, size))
        show(rows[-1])
    described = ranks.gather_objects(machine.describe(ranks))
    if ranks.first:
        about = _describe(files, root, ranks, described, started)
        about |= {
            "system": system,
            "link": network.get("network") or None,
            "link_gbit_s": network.get("link_gbit_s"),
        }
        lines = [",".join(ALLREDUCE_COLUMNS), *(",".join(_cells(row.values())) for row in rows)]
        contract.write_json(files.allreduce.with_suffix(".json"), about)
        contract.write_whole(files.allreduce, "\n".join(lines) + "\n")


def measure(ranks: Ranks, size: int) -> dict[str, float]:
    """Measure one message size.

    Parameters
    ----------
    ranks : Ranks
        Of a started group.
    size : int
        Bytes of the float32 message, a multiple of 4.

    Returns
    -------
    dict
        A row of `contract.ALLREDUCE_COLUMNS`.

    Raises
    ------
    ScalebookError
        If a sum is wrong.
    """
    _check_sum(ranks, size // 4)
    # Zeros, since what is added up in place again and again must not grow out of range.
    message = torch.zeros(size // 4, dtype=torch.float32, device=ranks.device)
    warm = max(ranks.max([_once(ranks, message) for _ in range(_WARM_UP)]))
    repetitions = round(min(_MOST, max(_FEWEST, _BUDGET_S / warm)))
    mine = [_once(ranks, message) for _ in range(repetitions)]
    slowest = [seconds * 1e6 for seconds in ranks.max(mine)]
    low, latency, high = statistics.quantiles(slowest, n=4, method="inclusive")
    rate = size / latency / 1e3
    n = ranks.world_size
    values = (size, repetitions, latency, low, high, rate, rate * 2 * (n - 1) / n)
    return dict(zip(ALLREDUCE_COLUMNS, values))


def _once(ranks: Ranks, message: torch.Tensor) -> float:
    """Seconds of one all-reduce, begun by all ranks together."""
    dist.barrier()
    _finish(ranks)
    start = time.perf_counter()
    dist.all_reduce(message)
    _finish(ranks)
    return time.perf_counter() - start


def _finish(ranks: Ranks) -> None:
    if ranks.device.type == "cuda":
        torch.cuda.synchronize()


def _check_sum(ranks: Ranks, count: int) -> None:
    """Add up numbers that float32 holds exactly, another one on each rank and place."""
    place = torch.arange(count, dtype=torch.float32, device=ranks.device) % 1000
    total = ranks.sum(place + ranks.rank)
    n = ranks.world_size
    wrong = int((total != place * n + n * (n - 1) // 2).sum())
    if wrong:
        raise ScalebookError(
            f"{wrong} of {count} sums are wrong: the network or the backend corrupts data"
        )


def _join() -> Ranks:
    """Join the ranks that the environment names; without a layout, as many as there are."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world < 2:
        raise UsageError(
            "all-reduce needs two ranks or more: sbatch slurm/test_allreduce.sbatch, or "
            "torchrun --standalone --nproc-per-node 2 -m scalebook.train.tools.allreduce"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = "gpu" if torch.cuda.is_available() else "cpu"
    layout = Layout(device, world, max(1, world // here), here, None)
    return distributed.start(layout, _TIMEOUT_S)


def _sizes(largest: int) -> list[int]:
    """Powers of 4 from 1 KiB."""
    return [size for size in (4**power for power in range(5, 16)) if size <= largest]


def _describe(
    files: RunFiles, root: Path, ranks: Ranks, described: list[dict[str, Any]], started: str
) -> dict[str, Any]:
    """What a curve was measured on and how."""
    return {
        "schema": ALLREDUCE_SCHEMA,
        "stem": files.stem,
        "job_id": Stem.parse(files.stem).job_id,
        "backend": ranks.backend,
        "world_size": ranks.world_size,
        "nodes": len({rank["node"]["index"] for rank in described}),
        "device": _device(ranks),
        "devices": [rank["device"] for rank in described],
        "driver": described[0]["driver"],
        "method": {
            "warm_up": _WARM_UP,
            "budget_s": _BUDGET_S,
            "repetitions": [_FEWEST, _MOST],
            "timed": "from a barrier to the end of the all-reduce, slowest rank",
            "latency": "median of the repetitions; low and high are the quartiles",
        },
        "started": started,
        "versions": machine.versions(ranks),
        "code": machine.code_version(root),
        "scheduler": manifest.scheduler(),
    }


def _device(ranks: Ranks) -> str:
    return "gpu" if ranks.device.type == "cuda" else "cpu"


def _cells(values: Any) -> list[str]:
    return [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]


def _print_line(ranks: Ranks, values: Any) -> None:
    if ranks.first:
        print("  ".join(f"{cell:>15}" for cell in _cells(values)), flush=True)


def _say(error: ScalebookError) -> int:
    print(f"scalebook.train: {error}", file=sys.stderr, flush=True)
    return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scalebook.train.tools.allreduce",
        description="Measure all-reduce between the ranks, by size of the message.",
    )
    parser.add_argument(
        "--system",
        required=True,
        metavar="SYSTEM.json",
        help="what the study knows of the system, as `scalebook system` prints it",
    )
    parser.add_argument("--max-bytes", type=int, default=LARGEST_BYTES, help="largest message")
    return parser


if __name__ == "__main__":
    sys.exit(main())
