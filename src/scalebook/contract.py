"""What a run's files are called and hold.

Every other room relies on this one; it needs the standard library only, so that
a bare compute node can read and write the same files as the workbench.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Largest whole number of a setting: counts and seeds end in 32-bit numbers of other programs.
LARGEST = 2**31 - 1

RESOLVED_SCHEMA = "scalebook.resolved/1"
MANIFEST_SCHEMA = "scalebook.manifest/1"


@dataclass(frozen=True)
class Column:
    """One column of a file that runs write.

    Attributes
    ----------
    name : str
        As the header has it.
    unit : str
        Of its numbers; empty for a count, a ratio, a loss or text.
    decimals : int or None
        Digits after the point of a number that is not whole; None where it is written as it is.
    check : {"", "whole", "percent", "positive", "not negative"}
        What every value must be, where one is given.
    """

    name: str
    unit: str = ""
    decimals: int | None = None
    check: str = ""

    def text(self, value: object) -> str:
        """Write a value as a cell; empty where there is none, or no finite one."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return ""
        if isinstance(value, float) and self.decimals is not None:
            return f"{value:.{self.decimals}f}"
        return str(value)


def _names(columns: tuple[Column, ...]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


#: ``results/csv/<stem>.csv``, one row an epoch. ``throughput`` is over all ranks, ``peak_mem_mb``
#: the highest of all ranks. Warm-up steps count in ``images`` and ``train_time_s``, never in a
#: rate: ``throughput = (images - warmup_images) / (train_time_s - warmup_time_s)``. Losses and
#: accuracies of a resumed run are equal to the last of their decimals.
EPOCHS = (
    Column("epoch", check="whole"),
    Column("train_loss", decimals=6),
    Column("train_acc", "%", 4, "percent"),
    Column("val_loss", decimals=6),
    Column("val_acc", "%", 4, "percent"),
    Column("epoch_time_s", "s", 6, "positive"),
    Column("throughput", "images/s", 3, "positive"),
    Column("images", "images", check="whole"),
    Column("train_time_s", "s", 6, "not negative"),
    Column("warmup_time_s", "s", 6, "not negative"),
    Column("val_time_s", "s", 6, "not negative"),
    Column("global_batch", "images", check="whole"),
    Column("lr", decimals=8, check="not negative"),
    Column("peak_mem_mb", "MiB", 1, "not negative"),
    Column("attempt", check="whole"),
    Column("warmup_images", "images", check="whole"),
    Column("loss_scale", decimals=1),
)
CSV_COLUMNS = _names(EPOCHS)

#: ``results/steps/<stem>.csv.gz``, one row a step and rank. ``warmup`` is 1 for the steps left out
#: of every rate, else 0.
STEPS = (
    Column("attempt"),
    Column("epoch"),
    Column("step"),
    Column("rank"),
    Column("images", "images"),
    Column("step_time_s", "s", 6),
    Column("data_wait_s", "s", 6),
    Column("warmup"),
)
STEP_COLUMNS = _names(STEPS)

#: ``results/profiling/gpu_util_<job id>.log``, one row a device and moment. ``time`` in UTC;
#: ``device`` is ``gpu<n>``, or ``host`` for a node's CPUs, memory and network. Utilisation of a
#: host is that of all its cores; ``process_cpu_percent`` is what the run's own processes take, 100
#: for one core. What a device does not tell is empty.
UTILISATION = (
    Column("time"),
    Column("node"),
    Column("device"),
    Column("utilisation_percent", "%", 1, "percent"),
    Column("memory_utilisation_percent", "%", 1, "percent"),
    Column("memory_used_mib", "MiB", 1, "not negative"),
    Column("memory_total_mib", "MiB", 1, "not negative"),
    Column("temperature_c", "°C", 1, "not negative"),
    Column("power_w", "W", 1, "not negative"),
    Column("clock_mhz", "MHz", 1, "not negative"),
    Column("memory_clock_mhz", "MHz", 1, "not negative"),
    Column("pcie_rx_mb_s", "MB/s", 1, "not negative"),
    Column("pcie_tx_mb_s", "MB/s", 1, "not negative"),
    Column("process_cpu_percent", "%", 1, "not negative"),
    Column("process_memory_mib", "MiB", 1, "not negative"),
    Column("network_rx_mb_s", "MB/s", 1, "not negative"),
    Column("network_tx_mb_s", "MB/s", 1, "not negative"),
)
UTILISATION_COLUMNS = _names(UTILISATION)

#: ``results/allreduce/<stem>.csv``, one row a message size, beside a JSON of this schema. Latency
#: is the median over the repetitions of the slowest rank, low and high are its quartiles;
#: bandwidths follow from the median: ``algbw = bytes / latency``, ``busbw = algbw · 2 (n - 1) / n``
#: with n ranks, as nccl-tests has it, so that it can be held against the rate of the link.
ALLREDUCE_SCHEMA = "scalebook.allreduce/1"
ALLREDUCE = (
    Column("bytes", "bytes"),
    Column("repetitions"),
    Column("latency_us", "µs"),
    Column("latency_low_us", "µs"),
    Column("latency_high_us", "µs"),
    Column("algbw_gb_s", "GB/s"),
    Column("busbw_gb_s", "GB/s"),
)
ALLREDUCE_COLUMNS = _names(ALLREDUCE)

#: How an attempt can end, as the manifest says it, and the name of the state that leaves a job in.
ENDED = {"completed": "completed", "failed": "failed", "cancelled": "cancelled",
         "interrupted": "cancelled", "killed": "failed", "timeout": "timeout"}  # fmt: skip

#: Exit status of a training process that wrote a checkpoint before its time limit and asks
#: to be queued again (EX_TEMPFAIL of sysexits.h).
REQUEUE = 75


#: Dataset of generated images; and, in a list of datasets, any other.
SYNTHETIC, ANY_REAL = "synthetic", "*"


def takes_dataset(names: list[str], dataset: str) -> bool:
    """Whether a list of datasets, such as ``evidence_datasets`` of a run, takes this one."""
    return dataset in names or (ANY_REAL in names and dataset != SYNTHETIC)


class ScalebookError(Exception):
    """A failure in one line: what, where, what to do. The command exits with 1."""

    exit_status = 1

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: IPython asks for this instead of printing the calls."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(ScalebookError):
    """The request itself cannot be taken. The command exits with 2."""

    exit_status = 2


# --------------------------------------------------------------------------- names

_STEM = re.compile(
    r"(?P<experiment>.+)_(?P<job>[A-Za-z0-9.-]+)_(?P<n>[1-9][0-9]*)(?P<device>gpu|cpu)_(?P=job)"
)
_EXPERIMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")


@dataclass(frozen=True)
class Stem:
    """The name all files of one run share.

    Attributes
    ----------
    experiment : str
        Name of the experiment in ``study.yaml``; lower case, may hold underscores.
    job_id : str
        Slurm's job id, or a time-based id of a local run. Holds no underscore.
    world_size : int
        Number of ranks.
    device : str
        ``"gpu"`` or ``"cpu"``.
    """

    experiment: str
    job_id: str
    world_size: int
    device: str

    def __post_init__(self) -> None:
        if not _EXPERIMENT.fullmatch(self.experiment):
            raise UsageError(
                f"experiment name {self.experiment!r}: use lower-case letters, digits, - and _"
            )
        if not _JOB_ID.fullmatch(self.job_id):
            raise UsageError(f"job id {self.job_id!r}: use letters, digits, dots and hyphens")
        if self.world_size < 1 or self.device not in ("gpu", "cpu"):
            raise UsageError(f"world size {self.world_size} on {self.device!r} cannot be a run")

    def __str__(self) -> str:
        return f"{self.experiment}_{self.job_id}_{self.world_size}{self.device}_{self.job_id}"

    @classmethod
    def parse(cls, text: str) -> Stem:
        """Read a stem back, from the right, because experiments may hold underscores.

        Raises
        ------
        ScalebookError
            If `text` does not have the form ``<experiment>_<job>_<n><gpu|cpu>_<job>``.
        """
        if (match := _STEM.fullmatch(text)) is None:
            raise ScalebookError(
                f"{text!r} is not the stem of a run; expected "
                "<experiment>_<job id>_<n><gpu|cpu>_<job id>, as baseline_2644_1gpu_2644"
            )
        return cls(match["experiment"], match["job"], int(match["n"]), match["device"])


def new_job_id() -> str:
    """Time-based job id for runs that no scheduler numbers, such as ``t261123-050102-7f3a``.

    The letter keeps it apart from Slurm's ids, the random tail from a job of the same second.
    """
    now = dt.datetime.now(dt.timezone.utc)
    return f"t{now:%y%m%d-%H%M%S}-{secrets.token_hex(2)}"


#: ClusterName of the small cluster (`packages/minislurm`): link and birth.
_SMALL_CLUSTER = re.compile(r"mini-[a-z0-9]+-(?P<birth>\d{6}-\d{6}-[0-9a-f]{2})")


def slurm_run_id(cluster: str | None, job: str, task: str | None = None) -> str:
    """Job id of a run that Slurm started: Slurm's own number, with the task of an array.

    The small cluster of this project counts from 1 each time it comes up, so its runs carry
    the time of its birth as well, such as ``t261123-081500-7f-17``; its ``ClusterName`` holds it.
    Of an array, `job` is the number of the whole and `task` that within it.
    """
    number = f"{job}-{task}" if task else job
    small = _SMALL_CLUSTER.fullmatch(cluster or "")
    return f"t{small['birth']}-{number}" if small else number


#: Folders of results below a study's root: what may stand behind the documents, and trials.
EVIDENCE, TRIALS = "results", "results/local"


@dataclass(frozen=True)
class RunFiles:
    """Where the files of one run lie, below one folder of results.

    Attributes
    ----------
    results : Path
        `EVIDENCE` or `TRIALS` below the study's root, or alone, to name files relative to it.
    stem : str
        Of the run, as `Stem` writes it; the name that another program gave its CSV.
    """

    results: Path
    stem: str

    @property
    def csv(self) -> Path:
        """One row an epoch, see `EPOCHS`."""
        return self.results / "csv" / f"{self.stem}.csv"

    @property
    def steps(self) -> Path:
        """One row a step and rank, see `STEPS`; gzip members may be concatenated."""
        return self.results / "steps" / f"{self.stem}.csv.gz"

    @property
    def manifest(self) -> Path:
        """What was run, where, and how each attempt ended."""
        return self.results / "manifests" / f"{self.stem}.json"

    @property
    def log(self) -> Path:
        """Text of all attempts, appended."""
        return self.results / "logs" / f"{self.stem}.log"

    @property
    def sacct(self) -> Path:
        """Slurm's accounting of all attempts and steps, without user and node names."""
        return self.results / "logs" / f"{self.stem}.sacct.csv"

    @property
    def allreduce(self) -> Path:
        """Curve of an all-reduce, see `ALLREDUCE`; beside a JSON on what it was measured on."""
        return self.results / "allreduce" / f"{self.stem}.csv"

    def trace(self, rank: int) -> Path:
        """Profiler trace of one rank."""
        return self.results / "profiling" / f"{self.stem}_rank{rank}.pt.trace.json.gz"

    @property
    def utilisation(self) -> Path:
        """What the machines of the job did meanwhile, see `UTILISATION`."""
        return self.results / "profiling" / f"gpu_util_{Stem.parse(self.stem).job_id}.log"


def locate(root: Path, stem: str) -> RunFiles | None:
    """Files of a run that has begun: where its manifest lies; None if it has none of its own.

    Runs of other programs have none either: they are found by listing, see `scalebook.results`.
    """
    for folder in (EVIDENCE, TRIALS):
        files = RunFiles(root / folder, stem)
        if files.manifest.is_file() and not leads_out(root, files.manifest):
            return files
    return None


#: Folders of a study that may be links themselves, to a larger disk.
LINKED = (EVIDENCE, TRIALS, "data", "_build")
#: What is wrong with a file that `leads_out`.
LEADS_OUT = "leads out of the study, so it is left out: put the file itself there"


def leads_out(root: Path, path: Path | str) -> bool:
    """Whether a file below a study's root lies elsewhere, or in a hidden folder, through a link.

    What lies in one of `LINKED` must stay within that folder, wherever it is.
    """
    place = root / path
    whole, study = Path(os.path.realpath(place)), Path(os.path.realpath(root))
    if whole.is_relative_to(study):
        reached = set(whole.relative_to(study).parts) - set(place.parts)
        return any(part.startswith(".") for part in reached)
    tops = [top for name in LINKED if (top := root / name) in place.parents]
    return not any(whole.is_relative_to(os.path.realpath(top)) for top in tops)


def find_root(start: Path | None = None) -> Path:
    """Folder of the study: ``SCALEBOOK_ROOT``, or the nearest parent that holds ``study.yaml``.

    Raises
    ------
    ScalebookError
        If there is none.
    """
    if named := os.environ.get("SCALEBOOK_ROOT"):
        root = Path(named).expanduser().resolve()
        if not (root / "study.yaml").is_file():
            raise ScalebookError(f"SCALEBOOK_ROOT={named}: holds no study.yaml")
        return root
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "study.yaml").is_file():
            return folder
    raise ScalebookError(
        f"no study.yaml in {here} or above it: change into a study, or set SCALEBOOK_ROOT"
    )


# --------------------------------------------------------------------------- writing


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, synced, then renamed.

    Raises
    ------
    OSError
        As the file system says, about `path`, which is then what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ScalebookError
        If the file is missing, is no JSON, or holds no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScalebookError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ScalebookError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise ScalebookError(f"{path}: holds no JSON object")
    return value


def utc_now() -> str:
    """Time now as ISO 8601 in UTC, to the second."""
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def attempts_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Attempts that a manifest holds, oldest first; what is damaged there is left out."""
    found = manifest.get("attempts")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def close_attempt(manifest: Path, ended: str, reason: str = "") -> bool:
    """Say in a manifest how its open attempt ended; False where there is none.

    Called by the run itself, or by its launcher where the run was killed and could not say it.
    `ended` is one of `ENDED`, `reason` one line. A run that completes knows better than either.
    """
    assert ended in ENDED, ended
    document = read_json(manifest) if manifest.is_file() else {}
    attempts = attempts_of(document)
    over = attempts[-1].get("ended") if attempts else "completed"
    if over == "completed" or (over and ended != "completed"):
        return False
    attempts[-1].update(end=utc_now(), ended=ended, reason=reason)
    write_json(manifest, document)
    return True
