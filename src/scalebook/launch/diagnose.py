"""Why a job failed: the lines of its output that say so, and what to do about known causes.

The output of a Slurm job interleaves all ranks, and one failure makes many lines: the other
ranks miss the one that is gone, ``srun`` ends them, PyTorch prints its call stack. The rank
that failed first is the one whose lines count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from scalebook.launch.job import JobState


class Diagnosis(NamedTuple):
    """A known cause of a failure.

    Attributes
    ----------
    cause : str
        What happened, in a few words.
    advice : str
        One line that names the command or setting that mends it.
    """

    cause: str
    advice: str


# --------------------------------------------------------------------------- lines

#: Slurm ended this attempt and queued the job again: what follows is another attempt.
_REQUEUED = re.compile(
    r"\*\*\* JOB \S+ ON \S+ CANCELLED AT \S+ DUE TO (JOB REQUEUE|PREEMPTION|NODE FAILURE)", re.I
)
_LABEL = re.compile(r"^ *(?P<rank>\d+): (?P<text>.*)$")
_RANK = re.compile(r"\brank (?P<rank>\d+)\b", re.I)
_TASK_ENDED = re.compile(r"srun: error: \S+: tasks? (?P<tasks>[\d,-]+): ")

#: Lines that never say why: call stacks of C++, warnings, and srun ending what is left.
_NOISE = re.compile(
    r"^frame #\d+:|^<omitting python frames>|^Exception raised from |^\[W\d{4} (?!.*gai error)|"
    r"hostname of the client socket cannot be retrieved|^srun: launch/|^srun: Force Terminated|"
    r"^srun: Job step aborted|"
    r"^slurmstepd\S*: error: \*\*\* STEP \S+ ON \S+ CANCELLED AT \S+ \*\*\*|"
    r"FutureWarning|UserWarning(?!: CUDA)|^\*{10,}$|Setting OMP_NUM_THREADS|^\s*$"
)
#: What a rank says that only noticed that another one was gone.
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
        """Rank that its label or its words name."""
        if self.label is not None:
            return self.label
        said = _RANK.search(self.text)
        return int(said["rank"]) if said else None


def useful_lines(text: str, lines: int) -> str:
    """Choose the last lines that tell why a job failed.

    Parameters
    ----------
    text : str
        Output of the job, of all ranks and attempts, with or without ``srun --label``.
    lines : int
        Most lines to return.

    Returns
    -------
    str
        Lines of the rank that failed first, and of Slurm; in the order of the output.
    """
    return "\n".join(line.text for line in _chosen(text)[-lines:])


def _chosen(text: str) -> list[_Line]:
    told = [_labelled(line) for line in _last_attempt(text).splitlines()]
    told = [line for line in told if not _NOISE.search(line.text)]
    first = _first_ended(told)
    if first is None:
        rank = None
    else:
        rank, end = first
        told = [
            line
            for line in told
            if line is end or (line.rank in (None, rank) and not _TASK_ENDED.match(line.text))
        ]
    said = [line for line in told if not _REPORT.match(line.text)]
    why = [
        line
        for line in said
        if not _CONSEQUENCE.search(line.text) or (rank is not None and line.rank == rank)
    ]
    # A rank that was killed says nothing itself: then what the others noticed is all there is.
    return why or said or told


def _labelled(line: str) -> _Line:
    line = line.rstrip()
    match = _LABEL.match(line)
    return _Line(match["text"], int(match["rank"])) if match else _Line(line, None)


def _last_attempt(text: str) -> str:
    """Output of the last attempt; of the one before where the last has said nothing yet."""
    ends = [match.end() for match in _REQUEUED.finditer(text)]
    for end in reversed(ends):
        rest = text[end:].partition("\n")[2]
        if rest.strip():
            return rest
    return text


def _first_ended(lines: list[_Line]) -> tuple[int, _Line] | None:
    """Rank that srun saw end badly before all others, and the line in which it says so."""
    for line in lines:
        if match := _TASK_ENDED.match(line.text):
            return int(re.split(r"[,-]", match["tasks"])[0]), line
    return None


# --------------------------------------------------------------------------- causes


class _Known(NamedTuple):
    pattern: re.Pattern[str]
    cause: str
    advice: str


def _known(pattern: str, cause: str, advice: str) -> _Known:
    return _Known(re.compile(pattern, re.I | re.M), cause, advice)


_HOST_MEMORY = Diagnosis(
    "out of memory on the node",
    "give the job more memory (sbatch --mem=8G, or systems.S.slurm.memory in study.yaml), or lower "
    "global_batch",
)
_TIME_LIMIT = Diagnosis(
    "time limit reached",
    "ask for more time (sbatch -t 30, or systems.S.slurm.time in study.yaml) or fewer epochs "
    "(--set epochs=N); go on from the checkpoint: scalebook run --resume JOB",
)
_NODE_LOST = Diagnosis(
    "a node was lost",
    "see `sinfo -R` for the node; go on from the last checkpoint: scalebook run --resume JOB",
)

#: In order: the first that matches wins, so what explains more comes first.
_CAUSES = (
    _known(
        r"oom[-_]kill|: Out Of Memory$|Exceeded (job|step) memory limit",
        *_HOST_MEMORY,
    ),
    _known(
        r"CUDA out of memory|CUDA error: out of memory|HIP out of memory|OutOfMemoryError",
        "out of memory on the GPU",
        "lower the batch (--set global_batch=N) or use more ranks (--set world_size=N)",
    ),
    _known(
        r"\bout of memory\b|MemoryError|(can't|cannot) allocate memory",
        "out of memory",
        "lower the batch (--set global_batch=N), use more ranks, or give the job more memory "
        "(sbatch --mem=8G)",
    ),
    _known(r"DUE TO TIME LIMIT", *_TIME_LIMIT),
    _known(r"DUE TO NODE FAILURE|NODE_FAIL|Node failure on", *_NODE_LOST),
    _known(
        r"the disk is full|No space left on device|Disk quota exceeded",
        "the disk is full",
        "free space or quota (`df -h .`, `quota`), then go on: scalebook run --resume JOB",
    ),
    _known(
        r"No CIFAR-10 there|holds no images|scalebook data get",
        "the data set is missing",
        "get it once on the login node: scalebook data get; or --set dataset=synthetic",
    ),
    _known(
        r"EADDRINUSE|address already in use",
        "the rendezvous port is taken",
        "submit again, or choose a port: MASTER_PORT=29517 sbatch …; look for a left-over process "
        "with `ss -ltnp` on the first node",
    ),
    _known(
        r"Unable to find (address for|interface)|no socket interface found|"
        r"Bootstrap *: *no socket|unsupported gloo device",
        "the network interface does not exist on the node",
        "unset GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME, or name one of `ip -br addr` on the node",
    ),
    _known(
        r"connectFullMesh failed|No route to host|Network is unreachable",
        "the nodes cannot reach each other on this interface",
        "set GLOO_SOCKET_IFNAME / NCCL_SOCKET_IFNAME to the interface between the nodes "
        "(`srun -N2 ip -br addr`); check with sbatch slurm/test_environment.sbatch",
    ),
    _known(
        r"cannot be retrieved \(gai error|Name or service not known|"
        r"Temporary failure in name resolution",
        "the name of the first node is not known",
        "MASTER_ADDR must resolve on every node: `srun getent hosts NODE`; else give its address",
    ),
    _known(
        r"driver on your system is too old|driver version is insufficient|"
        r"CUDA error: (no kernel image|system has unsupported)|cudaErrorInsufficientDriver",
        "the CUDA driver of the node is older than this torch needs",
        "install a torch built for the CUDA version that `nvidia-smi` shows, or run in the "
        "container (CONTAINER=project.sif)",
    ),
    _known(
        r"torch sees none here|No CUDA GPUs are available|no CUDA-capable device|"
        r"Found no NVIDIA driver",
        "no GPU is visible to the rank",
        "ask Slurm for one (sbatch --gpus-per-node=1, or systems.S.slurm.gpus: true in study.yaml)",
    ),
    _known(
        r"\.sif\b.*(no such file|does not exist|not found)|could not open image|"
        r"(apptainer|singularity): (command )?not found",
        "the container, or Apptainer itself, is missing on the node",
        "build it (apptainer build project.sif env/project.def), or unset CONTAINER",
    ),
    _known(
        r"No module named|(bin/)?python3?: (not found|No such file)|torch .*not found|"
        r"execve\(\):? .*python.*: No such file|version `GLIBC\S*' not found",
        "Python or a package is missing on the node",
        "the environment must lie on a file system that the nodes see; check it there with "
        "sbatch slurm/test_environment.sbatch",
    ),
    _known(
        r"NCCL (error|WARN)|ncclSystemError|ncclInternalError|ncclRemoteError|"
        r"ncclUnhandledCudaError|DistBackendError",
        "NCCL failed",
        "submit again with NCCL_DEBUG=INFO, and measure the link with "
        "sbatch slurm/test_allreduce.sbatch",
    ),
    _known(
        r"could not join the \d+ ranks|clients joined|client socket has timed out",
        "a rank or its node did not start, or cannot be reached",
        "see `sinfo -R` and sbatch slurm/test_environment.sbatch; a slow start needs a longer "
        "--set timeout_s=SECONDS",
    ),
    _known(
        r"another rank did not answer|a rank hangs|no progress for",
        "a rank hangs",
        "look at its node (`sinfo -R`); go on from the last checkpoint: scalebook run --resume JOB",
    ),
    _known(
        r"^srun: error: \S+: tasks? [\d,-]+: Killed",
        "a rank was killed",
        "often for lack of memory: compare MaxRSS (sacct -j JOB -o JobID,State,MaxRSS) with the "
        "job's memory, and raise it (sbatch --mem=8G)",
    ),
)

_BY_STATE = {
    JobState.OUT_OF_MEMORY: _HOST_MEMORY,
    JobState.TIMEOUT: _TIME_LIMIT,
    JobState.NODE_FAIL: _NODE_LOST,
}


def diagnose(text: str, state: JobState) -> Diagnosis | None:
    """Recognise a known cause in the output of a job that ended badly.

    Parameters
    ----------
    text : str
        Output of the job, of all ranks and attempts.
    state : JobState
        How it ended, as the scheduler says it.

    Returns
    -------
    Diagnosis or None
        None for a job that did not fail, was cancelled, or failed in a way not known here.
    """
    if not state.finished or state in (JobState.COMPLETED, JobState.CANCELLED):
        return None
    # What the scheduler knows for sure is not guessed from words.
    if state in _BY_STATE:
        return _BY_STATE[state]
    # First the rank that failed first; what the others or the noise say only where it is silent.
    for part in ("\n".join(line.text for line in _chosen(text)), _last_attempt(text)):
        for known in _CAUSES:
            if known.pattern.search(part):
                return Diagnosis(known.cause, known.advice)
    return None
