"""What squeue, sacct and scontrol print, as typed records. Nothing here asks anybody."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Exit:
    """Exit status of a script or step, and the signal that ended it; 0 where there is none."""

    status: int = 0
    signal: int = 0

    @property
    def failed(self) -> bool:
        """Whether it is not that of a success."""
        return bool(self.status or self.signal)


@dataclass(frozen=True)
class Queued:
    """One job or task of an array, as squeue lists it.

    Attributes
    ----------
    job : str
        ``17``, or ``17_3`` for task 3 of an array.
    raw : str
        Number that Slurm gave the task itself; it is what the job's processes see.
    state : str
        Slurm's word, such as ``RUNNING``.
    reason : str
        Slurm's word for why it waits or why it ended.
    start, end : datetime or None
        Of a waiting job, when it is expected to start.
    """

    job: str
    raw: str
    state: str
    reason: str = ""
    start: dt.datetime | None = None
    end: dt.datetime | None = None


@dataclass(frozen=True)
class Step:
    """One step of an attempt: ``batch``, ``extern`` or a number that srun gave it."""

    name: str
    state: str
    exit: Exit


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job, as sacct keeps it; a requeued job has several.

    Attributes
    ----------
    state : str
        Slurm's word, without who cancelled it.
    cancelled_by : str
        Number or name of the user who cancelled it, or empty.
    exit, derived : Exit
        That of the script, and the highest of its steps.
    limit : str
        Time limit as Slurm writes it.
    """

    job: str
    raw: str
    state: str
    cancelled_by: str = ""
    exit: Exit = Exit()
    derived: Exit = Exit()
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    limit: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Shown:
    """One job as ``scontrol show job`` shows it."""

    state: str
    exit: Exit = Exit()
    derived: Exit = Exit()
    restarts: int = 0
    end: dt.datetime | None = None
    limit: str = ""


# --------------------------------------------------------------------------- squeue


def parse_squeue(text: str) -> dict[str, Queued]:
    """Records by job, from lines of `commands.QUEUE_FORMAT`; a torn line is left out."""
    found = {}
    for line in text.splitlines():
        cells = line.split("|")
        if len(cells) != 7:
            continue
        job, raw, state, reason, start, end, _ = (cell.strip() for cell in cells)
        job = job.removesuffix("+0")  # the parts of a heterogeneous job go together
        if _JOB.fullmatch(job):
            times = parse_time(start), parse_time(end)
            found[job] = Queued(job, raw, _state(state), reason, *times)
    return found


# --------------------------------------------------------------------------- sacct

_JOB = re.compile(r"\d+(_\d+)?")
_STEP = re.compile(r"(?P<job>\d+(?:_(?:\d+|\[[^\]]*\]))?)(?:\+(?P<part>\d+))?(?:\.(?P<step>.+))?")


def parse_sacct(text: str) -> dict[str, tuple[Attempt, ...]]:
    """Attempts by job, oldest first, from lines of `commands.ACCOUNTING_FIELDS`.

    Tasks of an array that never started share one line (``17_[2-3]``). It goes on naming tasks
    that have started since: those have lines of their own, and it says nothing of them. An attempt
    of a heterogeneous job (``17+0``, ``17+1``) is one, with the steps of all parts; it is worth as
    much as the first part that did not complete.
    """
    found: dict[str, list[Attempt]] = {}
    together: dict[str, Attempt] = {}
    for line in text.splitlines():
        cells = line.split("|")
        match = _STEP.fullmatch(cells[0]) if len(cells) == 9 else None
        if match is None:
            continue
        _, raw, state, code, derived, _, start, end, limit = cells
        if match["step"]:
            attempts = found.get(match["job"])
            if attempts:
                step = Step(match["step"], _state(state), parse_exit(code))
                attempts[-1] = replace(attempts[-1], steps=(*attempts[-1].steps, step))
            continue
        attempt = Attempt(
            job=match["job"],
            raw=raw,
            state=_state(state),
            cancelled_by=state.partition(" by ")[2].strip(),
            exit=_whole(parse_exit(code), parse_exit(derived)),
            derived=parse_exit(derived),
            start=parse_time(start),
            end=parse_time(end),
            limit=limit,
        )
        if int(match["part"] or 0) and attempt.job in found:
            found[attempt.job][-1] = _with_part(found[attempt.job][-1], attempt)
        elif _JOB.fullmatch(attempt.job):
            found.setdefault(attempt.job, []).append(attempt)
        else:
            together.update({job: replace(attempt, job=job) for job in _tasks(attempt.job)})
    for job, attempt in together.items():
        found.setdefault(job, [attempt])
    return {job: tuple(attempts) for job, attempts in found.items()}


def _whole(code: Exit, derived: Exit) -> Exit:
    """Exit status of a job: sacct writes one above 128 without those, unlike the derived one."""
    return derived if derived.status == code.status + 128 else code


def _with_part(whole: Attempt, part: Attempt) -> Attempt:
    """An attempt with a further part of its heterogeneous job."""
    if whole.state != "COMPLETED":
        return whole
    derived = whole.derived if whole.derived.failed else part.derived
    return replace(whole, state=part.state, exit=part.exit, derived=derived)


def _tasks(job: str) -> Iterator[str]:
    """Jobs that one id stands for: ``17_[1,4-6:2%1]`` is tasks 1, 4 and 6 of array 17."""
    array, _, inside = job.partition("_[")
    for part in inside.rstrip("]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            for task in range(first, last + 1, int(match[3] or 1) or 1):
                yield f"{array}_{task}"


# --------------------------------------------------------------------------- scontrol


def parse_scontrol_job(text: str) -> Shown | None:
    """The first job in an answer, with the steps of all its parts; None where there is none."""
    first, *others = text.split("\nJobId=")
    values = _values(first)
    if "JobState" not in values:
        return None
    parts = [values, *(_values(other) for other in others if "HetJobId=" in other)]
    derived = [parse_exit(part.get("DerivedExitCode", "")) for part in parts]
    return Shown(
        state=_state(values["JobState"]),
        exit=parse_exit(values.get("ExitCode", "")),
        derived=next((part_exit for part_exit in derived if part_exit.failed), Exit()),
        restarts=int(values.get("Restarts", "0") or 0),
        end=parse_time(values.get("EndTime", "")),
        limit=values.get("TimeLimit", ""),
    )


def _values(shown: str) -> dict[str, str]:
    """What ``scontrol show job`` shows of one job.

    It is read line by line: a person's own text, such as the job's name, is on lines of its own
    and cannot pass for the state.
    """
    values: dict[str, str] = {}
    for line in shown.splitlines()[1:]:
        if re.match(r"\s+(JobName|Comment|Command|WorkDir|Std\w+|\w+Comment)=", line):
            continue
        for key, value in re.findall(r"(\w+)=(.*?)(?=\s+\w+=|\s*$)", line):
            values.setdefault(key, value)
    return values


def parse_setting(text: str, name: str) -> str | None:
    """A setting in the answer of ``scontrol show config``, such as ``ClusterName``."""
    match = re.search(rf"^{name}\s*=\s*(\S.*?)\s*$", text, re.MULTILINE)
    return match[1] if match else None


def parse_submitted(text: str) -> str | None:
    """Job number in the answer of ``sbatch --parsable`` (``17`` or ``17;cluster``)."""
    for line in reversed(text.splitlines()):
        match = re.fullmatch(r"(\d+)(;\S+)?", line.strip())
        if match:
            return match[1]
    return None


# --------------------------------------------------------------------------- cells


def parse_time(text: str) -> dt.datetime | None:
    """Slurm's local time with this machine's zone; None for ``N/A``, ``Unknown``, ``None``."""
    try:
        return dt.datetime.strptime(text.strip(), "%Y-%m-%dT%H:%M:%S").astimezone()
    except ValueError:
        return None


def parse_exit(text: str) -> Exit:
    """``9:0`` is exit status 9, ``0:15`` is signal 15; anything else is a success."""
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    return Exit(int(match[1]), int(match[2])) if match else Exit()


def _state(state: str) -> str:
    """State without who cancelled it (``CANCELLED by 0``) or the mark of a cut word (``+``)."""
    return state.split()[0].rstrip("+") if state.split() else ""
