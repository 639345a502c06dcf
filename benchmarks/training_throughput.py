"""Training throughput against its limit and against the usual input pipeline, in one run.

Four sources of batches feed the same training step in interleaved rounds, so that whatever
else the machine does falls on all of them alike:

- ``constant``: one batch, made once. No pipeline can be faster: this is the limit.
- ``resident``: ours: uint8 images in memory, cropped and flipped a batch at a time.
- ``dataloader-N``: torch's DataLoader with N worker processes over PIL images and torchvision's
  RandomCrop, RandomHorizontalFlip, ToTensor and Normalize.

Usage: python benchmarks/training_throughput.py [--rounds 20] [--steps 3] [--set key=value]...
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from scalebook import contract, study
from scalebook.train import distributed, loop, machine, model
from scalebook.train import settings as train_settings
from scalebook.train.epoch import STEP_TIME, EpochSoFar
from scalebook.train.images import dataset
from scalebook.train.images.sampling import epoch_order
from scalebook.train.profiler import StepProfiler
from scalebook.train.torchvision_fix import import_torchvision

Batch = tuple[torch.Tensor, torch.Tensor]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="baseline", help="settings to take (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a round and source")
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    try:
        result = measure(arguments)
    except contract.ScalebookError as error:
        print(f"training_throughput: {error}", file=sys.stderr)
        return error.exit_status
    settings, device = result["settings"], result["machine"]
    print(
        f"{settings['model']} ({settings['stem']} stem), batch {settings['batch']}, "
        f"{settings['precision']}, {settings['threads']} threads of {device}\n"
        f"images/s: median and extremes of {settings['rounds']} rounds of {settings['steps']} "
        "steps; the last column is the median of the ratios to constant in the same round\n"
    )
    print(f"{'source':14s} {'images/s':>9s} {'low':>8s} {'high':>8s} {'of the limit':>13s}")
    for name, figures in result["sources"].items():
        print(
            f"{name:14s} {figures['median']:9.1f} {figures['low']:8.1f} {figures['high']:8.1f} "
            f"{100 * figures['of_limit']:11.1f} %"
        )
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        contract.write_whole(arguments.json, text + "\n")
    return 0


def measure(arguments: argparse.Namespace) -> dict:
    """Train from each source in turn; medians over the rounds, and ratios within them."""
    root = contract.find_root()
    overrides = study.parse_overrides([*arguments.set, "world_size=1"])
    resolved = study.resolve(study.load(root), arguments.experiment, "local", overrides=overrides)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resolved.json"
        contract.write_json(path, resolved)
        settings = train_settings.read(path)
    training = settings.training
    ranks = distributed.start(settings.layout, training.timeout_s)
    model.set_up_precision(training.precision, ranks.device)
    data = dataset.load(settings.dataset, root, lambda *_: None)
    torch.manual_seed(settings.seed)
    network = model.build(training, len(data.classes), data.image_size)
    placed = dataset.place(data, ranks.device)
    trainer = loop.Trainer(settings, ranks, placed, network)
    loop.set_training(network, training.freeze_batch_norm)

    batch = settings.global_batch
    order = epoch_order(len(data.train), settings.seed, 1).to(placed.train.labels.device)
    resident = trainer.batches.training
    constant = resident(placed.train, order[:batch], settings.seed, 1, 4, True)
    sources: dict[str, Callable[..., Batch]] = {
        "constant": lambda *_: constant,
        "resident": resident,
    }
    for workers in arguments.workers:
        batches = dataloader(data, batch, workers, training.crop_padding, ranks.device)
        sources[f"dataloader-{workers}"] = lambda *_, batches=batches: next(batches)

    profiler = StepProfiler(settings, 0, 0, ranks, None, root, network)
    positions = itertools.cycle(range(0, len(data.train) - batch, batch))

    def run(steps: int) -> float:
        """Images per second over some steps."""
        so_far = EpochSoFar(1, steps, 1, ranks)
        for step in range(steps):
            start = next(positions)
            so_far.clock.start()
            own = order[start : start + batch]
            trainer._train_step(step, own, batch, so_far, profiler)
            so_far.end_step(batch, warmup=False)
            trainer.step = 0  # keep the learning rate where warm-up begins: only time matters
        return steps * batch / so_far.table()[:, STEP_TIME].sum().item()

    rates: dict[str, list[float]] = {name: [] for name in sources}
    names = list(sources)
    started = time.perf_counter()
    for round_ in range(arguments.rounds + 1):
        # Another one goes first in each round; the first round only warms up.
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            trainer.batches.training = sources[name]
            run(1)
            rate = run(arguments.steps)
            if round_:
                rates[name].append(rate)
    return {
        "settings": {
            "model": training.model, "stem": training.stem, "batch": batch,
            "precision": training.precision, "dataset": data.name, "rounds": arguments.rounds,
            "steps": arguments.steps, "threads": ranks.threads,
        },
        "machine": machine.describe(ranks)["device"]["name"],
        "versions": machine.versions(ranks),
        "seconds": round(time.perf_counter() - started, 1),
        "sources": {
            name: {
                "median": round(statistics.median(values), 1),
                "low": round(min(values), 1),
                "high": round(max(values), 1),
                "of_limit": round(
                    statistics.median(a / b for a, b in zip(values, rates["constant"])), 4
                ),
            }
            for name, values in rates.items()
        },
    }  # fmt: skip


def dataloader(
    data: dataset.Dataset, batch: int, workers: int, padding: int, device: torch.device
) -> Iterator[Batch]:
    """Batches as most training scripts make them, without end."""
    import_torchvision()
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.RandomCrop(data.train.images.shape[-2:], padding=padding),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(data.mean, data.std),
        ]
    )
    pixels = data.train.images.permute(0, 2, 3, 1).numpy()

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return transform(Image.fromarray(pixels[index])), int(data.train.labels[index])

    loader = DataLoader(
        Pictures(), batch, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=workers > 0, pin_memory=device.type == "cuda",
    )  # fmt: skip
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


if __name__ == "__main__":
    sys.exit(main())
