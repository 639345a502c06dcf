"""Made-up runs for tests of tables, figures and notebooks; never results of anything."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from scalebook import contract
from scalebook.contract import RunFiles, Stem

REFERENCES = {
    "ddp_2gpu": ("strong", "baseline"),
    "ddp_1node": ("strong", "baseline"),
    "ddp_weak": ("weak", "baseline"),
    "fp16": (None, "baseline"),
}


def add_run(
    root: Path,
    experiment: str = "baseline",
    seed: int = 0,
    rate: float = 400.0,
    accuracy: tuple[float, ...] = (40.0, 50.0, 55.0),
    world: int = 1,
    device: str = "cpu",
    local: bool = False,
    epoch_time: float | None = None,
    steps: bool = True,
    **changes,
) -> str:
    """Write CSV, manifest and steps of one finished run; `changes` go into the manifest.

    Runs of one seed are a block.
    """
    job = changes.get("job_id", f"t{experiment[:4].strip('_')}-{world}-{seed}")
    stem = Stem(experiment, job, world, device)
    files = RunFiles(root / ("results/local" if local else "results"), str(stem))
    document = _manifest(stem, seed, len(accuracy))
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(document.get(key), dict) else value
    contract.write_json(files.manifest, document)
    contract.write_whole(files.csv, _csv(accuracy, rate, epoch_time))
    if steps:
        batch = document["global_batch"]
        contract.write_whole(files.steps, _steps(len(accuracy), world, rate, batch))
    return str(stem)


def set_campaigns(root: Path, text: str) -> None:
    """Put other campaigns in the place of those that the study declares; no control stays."""
    path = root / "study.yaml"
    before, _, rest = path.read_text().partition("\ncampaigns:\n")
    path.write_text(before + text + rest[rest.index("\n# A run stands behind") :])


#: Milliseconds of a step by experiment, as `add_campaign` makes them up: one rank, two ranks on
#: one node, two ranks on two nodes, two ranks on two nodes with twice the batch.
STEP_MS = {"baseline": 300.0, "ddp_1node": 190.0, "ddp_2gpu": 400.0, "ddp_weak": 560.0}


def add_campaign(
    root: Path, system: str, step_ms: dict[str, float] = STEP_MS, seeds: tuple[int, ...] = (0, 1, 2)
) -> list[str]:
    """Write the runs of the small-cluster campaign; each seed is 2 ms a step slower."""
    stems = []
    for experiment, lasts in step_ms.items():
        for seed in seeds:
            world = 1 if experiment == "baseline" else 2
            nodes = 2 if experiment in ("ddp_2gpu", "ddp_weak") else 1
            batch, images = (256, 27648) if experiment == "ddp_weak" else (128, 13824)
            # `_steps` makes the median step 4 % longer than batch over rate.
            rate = batch / (lasts + 2 * seed) * 1.04 * 1e3
            cpu = {"cpu": "Some CPU @ 2.1 GHz", "cores": 2, "memory_gb": 24}
            stems.append(
                add_run(
                    root, experiment, seed, rate, (20.0 + seed,), world,
                    epoch_time=round(images / rate + 4, 3), system=system, global_batch=batch,
                    batch_per_rank=batch // world, job_id=f"t{system}-{len(stems)}",
                    nodes=[{"index": index, **cpu} for index in range(nodes)],
                    dataset={"train_images": images, "val_images": 1000, "subset": True,
                             "sha256": f"{images:064x}"},
                )
            )  # fmt: skip
    return stems


def _manifest(stem: Stem, seed: int, epochs: int) -> dict:
    scaling, reference = REFERENCES.get(stem.experiment, (None, None))
    return {
        "schema": contract.MANIFEST_SCHEMA, "stem": str(stem), "run_uuid": "u",
        "job_id": stem.job_id, "experiment": stem.experiment, "system": "local", "seed": seed,
        "resolved": {"scaling": scaling, "reference": reference, "layout": {"nodes": 1},
                     "block": {"campaign": "made-up", "number": seed}},
        "command": ["python"], "code": {"commit": None, "dirty": False},
        "versions": {"torch": "2.13.0"}, "backend": "gloo", "threads_per_rank": 1,
        "nodes": [{"index": 0, "cpu": "Some CPU @ 2.1 GHz", "cores": 2, "memory_gb": 24}],
        "devices": [], "driver": None,
        "dataset": {"name": "cifar10-jpeg", "sha256": "ab" * 32, "train_images": 50000,
                    "val_images": 10000, "subset": False, "classes": 10, "image_size": 32},
        "model": {"name": "resnet18", "stem": "imagenet", "parameters": 11181642},
        "world_size": stem.world_size, "global_batch": 128,
        "batch_per_rank": 128 // stem.world_size, "epochs": epochs, "precision": "fp32",
        "attempts": [{"number": 1, "start": f"2026-01-01T00:00:{seed:02}Z",
                      "end": "2026-01-01T01:00:00Z", "ended": "completed", "reason": "",
                      "first_epoch": 1, "scheduler": None}],
    }  # fmt: skip


def _csv(accuracy: tuple[float, ...], rate: float, epoch_time: float | None) -> str:
    lines = [",".join(contract.CSV_COLUMNS)]
    for epoch, value in enumerate(accuracy, 1):
        images, warm, warm_s = 50_000, 2_560, 9.0
        train = (images - warm) / rate + warm_s
        values = {
            "epoch": epoch, "train_loss": 2.0 / epoch, "train_acc": value - 2, "val_acc": value,
            "val_loss": 1.9 / epoch, "epoch_time_s": epoch_time or round(train + 5, 3),
            "throughput": rate, "images": images, "train_time_s": train,
            "warmup_time_s": warm_s, "val_time_s": 5.0, "global_batch": 128, "lr": 0.1 / epoch,
            "peak_mem_mb": 812.5, "attempt": 1, "warmup_images": warm, "loss_scale": "",
        }  # fmt: skip
        lines.append(",".join(str(values.get(name, "")) for name in contract.CSV_COLUMNS))
    return "\n".join(lines) + "\n"


def _steps(epochs: int, world: int, rate: float, batch: int) -> bytes:
    lines = [",".join(contract.STEP_COLUMNS)]
    for epoch in range(1, epochs + 1):
        for step in range(1, 13):
            for rank in range(world):
                time = batch / rate * (1 + 0.02 * (step % 5))
                row = (1, epoch, step, rank, batch // world, time, 0.01 * time, int(step <= 2))
                lines.append(",".join(str(cell) for cell in row))
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


def add_allreduce(
    root: Path, system: str = "mini-1gbit", rate_gb_s: float = 0.12, local: bool = False, **changes
) -> str:
    """Write an all-reduce curve of two ranks: 200 µs, and the time the link takes."""
    job = "t" + "".join(c for c in system if c.isalnum() or c == "-")[:24]
    stem = str(Stem("allreduce", job, 2, "cpu"))
    folder = root / ("results/local" if local else "results") / "allreduce"
    about = {
        "schema": "scalebook.allreduce/1", "stem": stem, "job_id": job, "system": system,
        "backend": "gloo", "world_size": 2, "nodes": 2, "device": "cpu",
        "versions": {"torch": "2.13.0"}, "code": {"commit": None, "dirty": False},
        "scheduler": {"name": "slurm", "job_id": "1"}, "started": "2026-01-01T00:00:00Z",
        "link": "a virtual link", "link_gbit_s": {"mini-1gbit": 1.0}.get(system), **changes,
    }  # fmt: skip
    lines = ["bytes,repetitions,latency_us,latency_low_us,latency_high_us,algbw_gb_s,busbw_gb_s"]
    for power in range(5, 14):
        size = 4**power
        latency = 200 + size / rate_gb_s / 1e3
        rate = size / latency / 1e3
        row = (size, 20, latency, 0.95 * latency, 1.2 * latency, rate, rate)
        lines.append(",".join(f"{cell:.6g}" if cell != size else str(cell) for cell in row))
    contract.write_json(folder / f"{stem}.json", about)
    contract.write_whole(folder / f"{stem}.csv", "\n".join(lines) + "\n")
    return stem


def add_trace(root: Path, name: str, kernels: dict[str, float], local: bool = False) -> Path:
    """Write a small GPU trace whose kernels of the given names last so many µs."""
    events: list[dict] = []
    start = 0.0
    for correlation, (kernel, duration) in enumerate(kernels.items(), 1):
        launched = {"correlation": correlation, "External id": correlation}
        events += [
            {"ph": "X", "cat": "cpu_op", "name": "aten::conv2d", "pid": 1, "tid": 1,
             "ts": start, "dur": duration, "args": {"External id": correlation}},
            {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1,
             "ts": start + 0.1, "dur": 1.0, "args": launched},
            {"ph": "X", "cat": "kernel", "name": kernel, "pid": 0, "tid": 7, "ts": start + 2,
             "dur": duration, "args": {**launched, "device": 0, "stream": 7}},
        ]  # fmt: skip
        start += duration + 5
    folder = root / ("results/local" if local else "results") / "profiling"
    path = folder / f"{name}.pt.trace.json"
    contract.write_whole(path, json.dumps({"traceEvents": events}))
    return path
