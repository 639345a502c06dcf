"""The best runs of a study, of those alone that trained on the same images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scalebook.analysis import text
from scalebook.contract import SYNTHETIC
from scalebook.publish.runs.links import key


def best(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The most accurate and the fastest run on each dataset.

    Only finished, measured runs behind the documents count, on real images and without the
    profiler; of a dataset, those on as many of its images as any of them had.

    Parameters
    ----------
    runs : iterable of mapping
        Rows of `results.runs`.

    Returns
    -------
    list of dict
        For each dataset ``which`` runs were compared, in words, and the ``best``: the ``key`` of
        each, and ``why``.
    """
    groups = defaultdict(list)
    for run in runs:
        counts = run["kind"] == "measured" and run["evidence"] and run["status"] == "finished"
        real = run["dataset"] != SYNTHETIC and run["train_images"]
        if counts and real and not run["profiled"]:
            groups[run["dataset"]].append(run)
    found = []
    for dataset, mine in sorted(groups.items()):
        whole, most = max((not run["subset"], run["train_images"]) for run in mine)
        alike = [run for run in mine if (not run["subset"], run["train_images"]) == (whole, most)]
        which = (
            f"{text.count(len(alike), 'run')} behind the documents on {'all ' if whole else ''}"
            f"{most:,} training images of {dataset}"
        )
        if named := list(_named(alike)):
            found.append({"which": which, "best": named})
    return found


def _named(runs: list[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    if accurate := [run for run in runs if run["final_val_acc"] is not None]:
        run = max(accurate, key=lambda run: run["final_val_acc"])
        after = text.count(run["epochs_done"], "epoch")
        why = f"highest validation accuracy, {run['final_val_acc']:.2f} % after {after}"
        yield {"key": key(run), "why": why}
    if timed := [run for run in runs if run["throughput"] is not None]:
        run = max(timed, key=lambda run: run["throughput"])
        ranks = text.count(run["world_size"], "rank")
        why = f"highest throughput, {run['throughput']:,.1f} images/s on {ranks}"
        yield {"key": key(run), "why": why}
