"""Slurm's commands, called with argument lists and a time limit, never through a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from scalebook.contract import ScalebookError

#: Longest a question may take; Slurm's own clients give up after about ten seconds.
ASK_S = 20.0
#: Longest a submission may take; sbatch itself tries again while the controller is busy.
SUBMIT_S = 60.0


class SlurmError(ScalebookError):
    """Slurm answered, and refused; the message is Slurm's."""

    #: Parts of messages that mean this error and no other.
    marks: ClassVar[tuple[str, ...]] = ()


class UnknownJob(SlurmError):
    """The controller has no job of that number, or no longer."""

    marks = ("invalid job id specified", "job/step already completing or completed")


class NoAccounting(SlurmError):
    """The cluster keeps no accounting."""

    marks = ("accounting storage is disabled", "accounting_storage/none")


class ControllerAway(ScalebookError):
    """Nobody answered: the controller or the accounting is down or out of reach for now."""

    marks: ClassVar[tuple[str, ...]] = (
        "unable to contact slurm",
        "unable to connect to database",
        "problem talking to the database",
        "socket timed out",
        "connection refused",
        "connection timed out",
        "connection reset",
        "communication connection failure",
        "no route to host",
        "network is unreachable",
        "zero bytes were transmitted",
        "in standby mode",
        "failed to open persistent connection",
        "slurm temporarily unable",
        "munge encode failed",
        "if munged is running",
    )


class NoSlurm(ControllerAway):
    """There is no Slurm to ask from here, though there may be one: its configuration is gone."""

    marks: ClassVar[tuple[str, ...]] = (
        "unable to process configuration file",
        "failed to fetch config",
    )


class NotInstalled(NoSlurm):
    """No cluster is set up here: the machine has no commands of Slurm, or no configuration."""

    marks = ("could not establish a configuration source",)


#: Something that runs one of Slurm's commands and returns what it printed.
Ask = Callable[[Sequence[str]], str]


def ask(
    argv: Sequence[str],
    timeout_s: float = ASK_S,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run one of Slurm's commands.

    Parameters
    ----------
    argv : sequence of str
        Command and arguments; no shell sees them.
    timeout_s : float
        Longest it may take.
    environment : mapping, optional
        Instead of this process' own without Slurm's variables.
    folder : Path, optional
        Working directory.

    Returns
    -------
    str
        What it printed on standard output.

    Raises
    ------
    NotInstalled, NoSlurm, ControllerAway
        If nobody answered.
    SlurmError
        If Slurm refused; the message is Slurm's.
    """
    environment = asking_environment() if environment is None else environment
    configured = environment.get("SLURM_CONF")
    if configured is not None and not Path(configured).is_file():
        # Slurm's commands would look for it for a minute.
        raise NoSlurm("SLURM_CONF names no file")
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise ControllerAway(f"{argv[0]} had no answer after {timeout_s:g} s") from None
    except FileNotFoundError:
        raise NotInstalled(f"{argv[0]} is not on this machine") from None
    except OSError as error:
        raise NoSlurm(f"{argv[0]} cannot be run ({error.strerror})") from None
    # sacct reports that the database is out of reach, and exits with 0.
    if done.returncode == 0 and not (argv[0] == "sacct" and _is_about(ControllerAway, done.stderr)):
        return done.stdout
    raise _failure(argv[0], done.stderr or done.stdout)


def _failure(command: str, output: str) -> ScalebookError:
    """Error of the right kind for what a command complained about."""
    kinds = (NotInstalled, NoSlurm, NoAccounting, UnknownJob, ControllerAway)
    kind = next((kind for kind in kinds if _is_about(kind, output)), SlurmError)
    if kind is NotInstalled and _is_about(ControllerAway, output):
        kind = NoSlurm  # a controller that hands out the configuration is known, and away
    if issubclass(kind, NoSlurm):
        # Slurm lists where it looked, name services included.
        return kind("Slurm finds no configuration of a cluster")
    return kind(complaint(output) or f"{command} failed without a word")


def _is_about(kind: type[SlurmError | ControllerAway], output: str) -> bool:
    return any(mark in output.lower() for mark in kind.marks)


def complaint(output: str) -> str:
    """Slurm's complaint as one line: its error lines without their prefixes, each once."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if ": error: " in line or ": fatal: " in line] or lines
    messages = [line.split(": error: ")[-1].split(": fatal: ")[-1] for line in errors]
    return "; ".join(dict.fromkeys(messages))


# --------------------------------------------------------------------------- environments

# What an enclosing job, or a person's own wishes about output, would change in a command.
_FOREIGN = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SACCT_", "SCONTROL_")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER")


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment without the variables of an enclosing job; where Slurm is configured stays."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(_FOREIGN)
    }


def asking_environment() -> dict[str, str]:
    """Environment in which answers are always written the same way."""
    return {**without_slurm(os.environ), "SLURM_TIME_FORMAT": "standard", "LC_ALL": "C.UTF-8"}


# --------------------------------------------------------------------------- questions

# Fields without a person's own text, so that nothing in them can pass for a separator.
QUEUE_FORMAT = "%i|%A|%T|%r|%S|%e|%l"
ACCOUNTING_FIELDS = "JobID,JobIDRaw,State,ExitCode,DerivedExitCode,Submit,Start,End,Timelimit"


def squeue(jobs: Sequence[str]) -> list[str]:
    """Every task of the jobs, also those that have just ended, one a line."""
    return ["squeue", "-h", "-a", "-r", "-t", "all", "-o", QUEUE_FORMAT, "-j", ",".join(jobs)]


def sacct(jobs: Sequence[str]) -> list[str]:
    """Every attempt of the jobs and their steps."""
    return ["sacct", "-D", "-P", "-n", f"--format={ACCOUNTING_FIELDS}", "-j", ",".join(jobs)]


def scontrol_job(job: str) -> list[str]:
    """What the controller itself remembers of one job."""
    return ["scontrol", "-d", "show", "job", job]


def scontrol_config() -> list[str]:
    """The configuration of the controller that answers."""
    return ["scontrol", "show", "config"]


def scancel(job: str) -> list[str]:
    """End a job."""
    return ["scancel", job]
