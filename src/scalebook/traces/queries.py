"""Questions that notebooks ask: about the study's traces, and about those that others published.

Of a published trace ``data/examples`` keeps only a summary, as ``scalebook trace summary --json``
gives it, and whose trace it was.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.results import files, snapshot
from scalebook.results.kept import Kept, code
from scalebook.results.queries import query
from scalebook.traces import backends, ranks, reading, speed, timeline
from scalebook.traces.peaks import Peak, get_overhead, get_run_peak
from scalebook.traces.summary import document, job


@query
def trace_files() -> list[str]:
    """Traces in the results, local trials last, as paths relative to the study's root."""
    now = snapshot()
    folders = [f"{results}/profiling" for results in (contract.EVIDENCE, contract.TRIALS)]
    return [
        f"{folder}/{name}"
        for folder in folders
        for name in now.names(folder, ".json", ".json.gz")
        if (now.root / folder / name).is_file()
    ]


def is_trial(file: str) -> bool:
    """Whether a trace of `trace_files` stands behind no document."""
    return file.startswith(f"{contract.TRIALS}/")


def run_of(file: str) -> str:
    """Name that the traces of all ranks of one run share: its stem, where the run is ours."""
    return PurePosixPath(file).name.split(".")[0].rsplit("_rank", 1)[0]


@query
def trace_summary(path: str) -> dict[str, Any]:
    """Sum up a trace below the study's root, as `summary` does; read once while unchanged.

    Raises
    ------
    UsageError
        If the path leads out of the study.
    ScalebookError
        As `summary`.
    """
    whole = _inside(path)
    answer = copy.deepcopy(
        files.read_cached(whole, _summed, Path(path).as_posix(), get_run_peak(whole))
    )
    answer["profiler"] = get_overhead(whole)
    return answer


@query
def trace_speed(path: str) -> pd.DataFrame:
    """Operators of a trace below the study's root against the roofline, as `get_speed` answers.

    Raises
    ------
    UsageError
        If the path leads out of the study.
    ScalebookError
        As `summary`.
    """
    whole = _inside(path)
    return speed.get_speed(reading.read(whole, Path(path).as_posix()), get_run_peak(whole))


@query
def trace_timelines(
    path: str, steps: Sequence[int | None], most: int = timeline.MOST
) -> pd.DataFrame:
    """Events of some steps of a trace below the study's root, each as `get_timeline` answers.

    Parameters
    ----------
    path : str
        The trace.
    steps : sequence of int or None
        Numbers of steps, as `get_timeline` takes them.
    most : int
        How many events of each to keep.

    Returns
    -------
    DataFrame
        The columns of `get_timeline`, and ``place``: which of `steps` the event is shown for.

    Raises
    ------
    UsageError
        If the path leads out of the study, or the trace has no such step.
    ScalebookError
        As `summary`.
    """
    trace = reading.read(_inside(path), Path(path).as_posix())
    tables = [timeline.get_timeline(trace, step, most) for step in steps]
    return pd.concat(
        [table.assign(place=place) for place, table in enumerate(tables)], ignore_index=True
    )


@query
def trace_job(paths: list[str]) -> dict[str, Any]:
    """Sum up the ranks of one job, as ``job`` of `summaries`; traces below the study's root.

    Raises
    ------
    UsageError
        If a path leads out of the study.
    ScalebookError
        If one cannot be read, or they are not ranks of one job.
    """
    return job(
        ranks.as_job([(Path(path).name, reading.read(_inside(path), path)) for path in paths])
    )


def _inside(path: str) -> Path:
    root = contract.find_root()
    whole = root / path
    if contract.leads_out(root, path):
        raise UsageError(f"{path}: lies outside the study; give a path below its folder")
    if not whole.is_file():
        raise ScalebookError(f"{path}: no such file")
    return whole


def _summed(path: Path, where: str, peak: Peak | None) -> dict[str, Any]:
    kept = Kept(contract.find_root(), "trace summaries", code())
    formats = [f"{backend.name} {backend.version}" for backend in backends.registered()]
    stamp = [*files.stamp(path), repr(peak), *formats]
    before = kept.get(where)
    if before is None or before[0] != stamp:
        before = [stamp, document(reading.read(path, where), where, peak)]
        kept.put(where, before)
        kept.save()
    summed: dict[str, Any] = before[1]
    return summed


# --------------------------------------------------------------------------- published traces

SCHEMA = "scalebook.trace-example/1"
FOLDER = "data/examples"
#: Texts of a file beside its summary.
TEXTS = ("title", "source", "url", "licence", "date", "computed")

_LIMIT = files.MIB


@query
def trace_examples() -> list[dict[str, Any]]:
    """Summaries of published traces, by file name.

    Returns
    -------
    list of dict
        ``file`` (relative to the study's root); ``title``, ``source``, ``url``, ``licence``,
        ``date``, ``computed`` (how): text; ``summary``, as `scalebook.traces.summary` answers.

    Raises
    ------
    ScalebookError
        If a file is damaged, or is no such summary.
    """
    now = snapshot()
    names = [f"{FOLDER}/{name}" for name in now.names(FOLDER, ".json")]
    return [load_example(now.root / name, name) for name in names]


def load_example(path: Path, where: str) -> dict[str, Any]:
    """One example; `where` names the file in an error."""
    try:
        document = json.loads(files.read_bytes(path, where, _LIMIT))
    except (ValueError, RecursionError):
        raise ScalebookError(f"{where}: is no JSON; write it again") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ScalebookError(f"{where}: no summary of a published trace; its schema is {SCHEMA}")
    missing = [name for name in TEXTS if not isinstance(document.get(name), str)]
    sums = document.get("summary")
    if missing or not isinstance(sums, dict):
        raise ScalebookError(f"{where}: lacks {', '.join(missing) or 'summary'}")
    for name in ("by_operator", "by_kernel"):
        groups = sums.get(name)
        if not isinstance(groups, dict) or not all(
            isinstance(value, (int, float)) and value >= 0 for value in groups.values()
        ):
            raise ScalebookError(f"{where}: summary.{name} holds no durations in µs")
    return {"file": where, **{name: document[name] for name in TEXTS}, "summary": sums}
