"""Why a job failed: the line of its output that shows it, and what to do about known causes.

The output of a Slurm job interleaves all ranks, and one failure makes many lines: the other
ranks miss the one that is gone, ``srun`` ends them, PyTorch prints its call stack. The rank
that failed first is the one whose lines count.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from scalebook.launch.job import JobState
from scalebook.study.document import beside


class Diagnosis(NamedTuple):
    """A known cause of a failure.

    Attributes
    ----------
    cause : str
        What happened, in a few words.
    advice : str
        One line that names the command or setting that mends it.
    state : JobState or None
        That by itself says the cause.
    pattern : Pattern
        Of the output that shows it.
    """

    cause: str
    advice: str
    state: JobState | None
    pattern: re.Pattern[str]


# --------------------------------------------------------------------------- lines

#: Slurm ended this attempt and queued the job again: what follows is another attempt.
_REQUEUED = re.compile(
    r"\*\*\* JOB \S+ ON \S+ CANCELLED AT \S+ DUE TO (JOB REQUEUE|PREEMPTION|NODE FAILURE)", re.I
)
_LABEL = re.compile(r"^ *(?P<rank>\d+): (?P<text>.*)$")
#: What PyTorch puts before the call stack of a rank.
_TORCH_LABEL = re.compile(r"^\[rank\d+\]: ?")
_OWN = re.compile(r"scalebook\.train: (?P<why>.+)")
_EXCEPTION = re.compile(r"(?P<why>[\w.]+(Error|Exception): .+)")
_RANK = re.compile(r"\brank (?P<rank>\d+)\b", re.I)
_TASK_ENDED = re.compile(r"srun: error: \S+: tasks? (?P<tasks>[\d,-]+): ")

#: Lines that never tell why: call stacks of C++, warnings, and srun ending what is left.
_NOISE = re.compile(
    r"^frame #\d+:|^<omitting python frames>|^Exception raised from |^\[W\d{4} (?!.*gai error)|"
    r"hostname of the client socket cannot be retrieved|^srun: launch/|^srun: Force Terminated|"
    r"^srun: Job step aborted|"
    r"^slurmstepd\S*: error: \*\*\* STEP \S+ ON \S+ CANCELLED AT \S+ \*\*\*|"
    r"FutureWarning|UserWarning(?!: CUDA)|^\*{10,}$|Setting OMP_NUM_THREADS|^\s*$"
)
#: What a rank prints that only noticed that another one was gone.
_CONSEQUENCE = re.compile(
    r"lost contact with another rank|another rank did not answer|Connection closed by peer|"
    r"Connection reset by peer|Broken pipe|recvValue failed|"
    r"NCCL communicator was aborted|remote process exited"
)
#: Ordinary reports of a run that goes well.
_REPORT = re.compile(
    r"^(epoch +\d+/|settings: |versions: |dataset: |ranks: |code: |\S+Z run \S+ attempt )"
)


@dataclass(frozen=True)
class _Line:
    text: str
    label: int | None

    @property
    def rank(self) -> int | None:
        """Rank that its label or its text names."""
        if self.label is not None:
            return self.label
        match = _RANK.search(self.text)
        return int(match["rank"]) if match else None


def failure_line(text: str) -> str:
    """Find the line that says why a job failed.

    Parameters
    ----------
    text : str
        Output of the job, of all ranks and attempts, with or without ``srun --label``.

    Returns
    -------
    str
        Of the last attempt, and of the rank that failed first: what the training process says
        itself, else the exception that ended it, else the last line; empty where nothing was
        printed.
    """
    lines = [_TORCH_LABEL.sub("", line.text).strip() for line in _chosen(text)]
    for pattern in (_OWN, _EXCEPTION):
        for line in reversed(lines):
            if match := pattern.match(line):
                return match["why"]
    return lines[-1] if lines else ""


def _chosen(text: str) -> list[_Line]:
    lines = [_labelled(line) for line in _last_attempt(text).splitlines()]
    lines = [line for line in lines if not _NOISE.search(line.text)]
    rank, end = _first_ended(lines)
    if end is not None:
        lines = [
            line
            for line in lines
            if line is end or (line.rank in (None, rank) and not _TASK_ENDED.match(line.text))
        ]
    without_reports = [line for line in lines if not _REPORT.match(line.text)]
    why = [
        line
        for line in without_reports
        if not _CONSEQUENCE.search(line.text) or (rank is not None and line.rank == rank)
    ]
    # A rank that was killed prints nothing: then what the others noticed is all there is.
    return why or without_reports or lines


def _labelled(line: str) -> _Line:
    line = line.rstrip()
    match = _LABEL.match(line)
    return _Line(match["text"], int(match["rank"])) if match else _Line(line, None)


def _last_attempt(text: str) -> str:
    """Output of the last attempt; of the one before where the last has printed nothing yet."""
    ends = [match.end() for match in _REQUEUED.finditer(text)]
    for end in reversed(ends):
        rest = text[end:].partition("\n")[2]
        if rest.strip():
            return rest
    return text


def _first_ended(lines: list[_Line]) -> tuple[int | None, _Line | None]:
    """Rank that srun saw end badly before all others, and the line that tells of it."""
    for line in lines:
        if match := _TASK_ENDED.match(line.text):
            return int(re.split(r"[,-]", match["tasks"])[0]), line
    return None, None


# --------------------------------------------------------------------------- causes


@functools.cache
def _known() -> list[Diagnosis]:
    """Rows of ``diagnose.yaml``, made when a job has failed: it takes 10 ms."""
    return [
        Diagnosis(
            row["cause"],
            row["advice"],
            JobState[row["state"]] if "state" in row else None,
            re.compile("|".join(row["patterns"]), re.I | re.M),
        )
        for row in beside(__file__)
    ]


def diagnose(text: str, state: JobState) -> Diagnosis | None:
    """Recognise a known cause in the output of a job that ended badly.

    Parameters
    ----------
    text : str
        Output of the job, of all ranks and attempts.
    state : JobState
        How it ended, as the scheduler reports it.

    Returns
    -------
    Diagnosis or None
        None for a job that did not fail, was cancelled, or failed in a way not known here.
    """
    if not state.finished or state in (JobState.COMPLETED, JobState.CANCELLED):
        return None
    # What the scheduler knows for sure is not guessed from the output.
    for known in _known():
        if known.state is state:
            return known
    # First the rank that failed first; the others and the noise only where it is silent.
    for part in ("\n".join(line.text for line in _chosen(text)), _last_attempt(text)):
        for known in _known():
            if known.pattern.search(part):
                return known
    return None
