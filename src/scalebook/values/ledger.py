"""Every number a document may quote, by key, with where it came from.

=================================================  =========================================
key                                                value
=================================================  =========================================
``<experiment>.<system>.<metric>.<stat>``          over the repetitions that are evidence
``<experiment>.<system>.<setting>``                what all these repetitions share
``run.<stem>.<metric>``                            of one of them
``allreduce.<system>.<metric>.<stat>``             over the message sizes of an all-reduce curve
``reported.<job>.<metric>``                        as a file in ``data/reported`` says it
``recorded.<job>.<metric>``                        as the job's own file counts it, see `recorded`
``modelled.<job>.<metric>``                        computed from reported ones, formula named
``modelled.<experiment>.<system>.<metric>``        from facts of the system, or its fitted link
``modelled.link.<system>.<parameter>``             a model fitted to an all-reduce curve
``modelled.request.<machine>.<phase>.<metric>``    the computed request of a proposal
``cited.<id>``, ``cited.<system>.<fact>``          from ``data/cited`` and ``data/systems``
``study.<experiment>.<field>``                     a setting of ``study.yaml``, see `cited`
``trace.<run or example>.…``                       shares of a trace, see `traced`
=================================================  =========================================

Metrics of a run are those of `comparable.METRICS`, the step times of
`statistics.STEP_METRICS`, and for an experiment with a reference ``speedup``,
``efficiency``, ``speedup_by_epoch_time`` and ``efficiency_by_epoch_time``. An experiment on
several nodes has ``compute_ms``, ``parallel_ms``, ``network_ms`` and ``overhead_ms`` of a step,
see `step_parts`, and the modelled ``transfer_ms``.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from scalebook import contract, study
from scalebook.contract import ScalebookError
from scalebook.values.measured import ambiguous, measured
from scalebook.values.reported import reported
from scalebook.values.value import Value

#: Modules with a function ``values()`` that gives further numbers. None of them may
#: ask `ledger`, which asks them: what they build on is in `base`.
PROVIDERS = (
    "values.references", "proposal.planned", "analysis.exchange", "analysis.recorded",
    "values.traced", "analysis.linkmodel", "analysis.linkcheck", "proposal.resources",
    "values.verdicts",
)  # fmt: skip

#: Folders and files below the study's root whose change makes other numbers.
_INPUTS = (
    "study.yaml", "data/plan.yaml", "data/reported", "data/systems", "data/cited",
    "data/examples", "book/references.bib",
    *(f"results/{folder}" for folder in ("csv", "steps", "manifests", "allreduce", "profiling")),
    *(f"results/local/{folder}" for folder in ("csv", "manifests")),
)  # fmt: skip


def lookup(key: str) -> Value:
    """Find the number behind a key.

    Raises
    ------
    ScalebookError
        If there is no such key, or the runs behind it are not repetitions of
        one configuration; the message names near matches, or what differs.
    """
    known = ledger()
    if key in known:
        return known[key]
    for prefix, reason in ambiguous().items():
        if key.startswith(f"{prefix}."):
            raise ScalebookError(f"{key}: ambiguous, {reason}")
    experiment, system, *rest = [*key.split("."), "", ""]
    declared = study.load()
    if experiment in declared.experiments and system in declared.systems and rest[0] and not any(
        name.startswith(f"{experiment}.{system}.") for name in known
    ):  # fmt: skip
        raise ScalebookError(
            f"no number {key!r}: no run of {experiment} on {system} is evidence yet; "
            f"start one with: scalebook run {experiment} --system {system}"
        )
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    hint = f"near matches: {', '.join(near)}" if near else f"{len(known)} keys are known"
    raise ScalebookError(f"no number {key!r}; {hint}")


def ledger() -> dict[str, Value]:
    """All numbers there are, by key.

    Raises
    ------
    ScalebookError
        If two providers give the same key, or an input of one is wrong.
    """
    root = contract.find_root()
    if os.environ.get("SCALEBOOK_QUERY_LOG"):  # every question must reach the log
        return _ledger()
    return dict(_kept(root, _stamp(root)))


def base() -> dict[str, Value]:
    """Measured and reported numbers alone: what further providers may build on."""
    return _merged((("results", measured()), ("data/reported", reported())))


@functools.lru_cache(maxsize=4)
def _kept(root: Path, stamp: tuple) -> dict[str, Value]:
    return _ledger()


def _ledger() -> dict[str, Value]:
    return _merged(
        (("results", measured()), ("data/reported", reported()), *map(_provider, PROVIDERS))
    )


def _merged(sources: Iterable[tuple[str, Iterable[Value]]]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    owners: dict[str, str] = {}
    for owner, several in sources:
        for value in several:
            if value.key in values:
                raise ScalebookError(
                    f"two numbers have the key {value.key}, from {owners[value.key]} and {owner}: "
                    "rename one"
                )
            values[value.key] = value
            owners[value.key] = owner
    return values


def _provider(name: str) -> tuple[str, Iterable[Value]]:
    module = f"scalebook.{name}"
    try:
        return module, importlib.import_module(module).values()
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return module, ()


def _stamp(root: Path) -> tuple:
    """Names, sizes and times of all files that numbers come from."""
    return tuple(sorted(_files(root)))


def _files(root: Path) -> Iterator[tuple[str, int, int]]:
    for name in _INPUTS:
        path = root / name
        if path.is_file():
            status = path.stat()
            yield name, status.st_size, status.st_mtime_ns
        elif path.is_dir():
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_file():
                        status = entry.stat()
                        yield f"{name}/{entry.name}", status.st_size, status.st_mtime_ns
