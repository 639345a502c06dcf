"""Submitting to Slurm: the scripts that people submit by hand, by ``sbatch`` with checked options.

No shell is involved and nothing is generated but the resolved experiment, a JSON file.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalebook import contract, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch.processes import environment_of_job
from scalebook.launch.slurm import commands, records
from scalebook.launch.slurm.poller import shared

#: Where the scripts' own directive puts what jobs print.
LOGS = "slurm/logs"
_DEFAULT_SCRIPT = study.Experiment.model_fields["script"].default


@dataclass(frozen=True)
class Submission:
    """A job, or a task of an array, that Slurm has taken.

    Attributes
    ----------
    run_id, slurm_id : str
        Ids of the run and of Slurm.
    cluster : str or None
        Slurm's ``ClusterName``.
    command : list of str or None
        The exact sbatch command; None where a person typed it.
    output : str or None
        File that the job prints to, relative to the study's folder where it lies below it; None
        where it is not known.
    """

    run_id: str
    slurm_id: str
    cluster: str | None
    command: list[str] | None
    output: str | None


def submit(
    resolved: Sequence[dict[str, Any]],
    root: Path,
    after: Sequence[str] = (),
    array: bool = False,
    again: str | None = None,
) -> list[Submission]:
    """Submit one run, or runs of one shape as an array.

    Parameters
    ----------
    resolved : sequence of dict
        As `scalebook.study.resolve` returns them.
    root : Path
        Folder of the study.
    after : sequence of str
        Slurm's numbers of jobs that must have ended before, however they ended.
    array : bool
        Whether they become tasks of an array, of which one runs at a time.
    again : str, optional
        Id of the run that is to go on from its last checkpoint.

    Raises
    ------
    ScalebookError
        If Slurm refuses or does not answer; nothing is left behind then.
    """
    first = resolved[0]
    where = f"{first['experiment']} on system {first['system']}"
    if any(letter in str(root) for letter in "%\\"):
        # Slurm's job would fail at once, without a word.
        raise UsageError(
            f"{where}: {root}: Slurm takes % and \\ in a path for a pattern: move the study to a "
            "folder without them"
        )
    name = first["experiment"]
    command = [
        "sbatch",
        "--parsable",
        "--chdir=.",
        f"--job-name={name}",
        *_shared_options(resolved, root),
        *([f"--array=0-{len(resolved) - 1}%1"] if array else []),
        *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
        f"--output={LOGS}/%x-{'%A_%a' if array else '%j'}.log",
        _script(first, root),
        *([] if array else _arguments_by_hand(first, root)),
    ]
    (root / LOGS).mkdir(parents=True, exist_ok=True)
    resolved_files = root / ".scalebook" / "resolved"
    resolved_files.mkdir(parents=True, exist_ok=True)
    kept = Path(tempfile.mkdtemp(dir=resolved_files))  # a waiting job's is never written again
    for place, settings in enumerate(resolved):
        contract.write_json(kept / f"{place}.json", settings)
    environment = _environment(first, root, kept if array else kept / "0.json", command)
    if again:
        environment |= {"SCALEBOOK_JOB_ID": again, "SCALEBOOK_RESUME": "1"}
    try:
        cluster = shared().cluster_now()
        answer = commands.ask(command, commands.SUBMIT_S, environment, root)
        number = records.parse_submitted(answer)
        if number is None:
            raise commands.SlurmError(f"sbatch answered {answer.strip()!r}, which is no job number")
    except ScalebookError as error:
        shutil.rmtree(kept)
        raise _refused(where, error) from None
    submissions = []
    for task in [str(index) for index in range(len(resolved))] if array else [None]:
        run_id = again or contract.slurm_run_id(cluster, number, task)
        slurm_id = f"{number}_{task}" if task else number
        output = f"{LOGS}/{name}-{slurm_id}.log"
        submissions.append(Submission(run_id, slurm_id, cluster, command, output))
    return submissions


def _refused(where: str, error: ScalebookError) -> ScalebookError:
    """Error that says in one line why there is no job, and what to do."""
    if isinstance(error, commands.NoSlurm):
        return UsageError(
            f"{where}: no Slurm here ({error}): submit on a cluster's login node, take --system "
            "local, or start the small cluster: make cluster-up"
        )
    if isinstance(error, commands.ControllerAway):
        return ScalebookError(
            f"{where}: Slurm does not answer ({error}): look with `squeue --me` whether it was "
            "submitted all the same, and try again"
        )
    if isinstance(error, commands.SlurmError):
        return ScalebookError(f"{where}: Slurm refuses it: {error}")
    return error


def _shared_options(resolved: Sequence[dict[str, Any]], root: Path) -> list[str]:
    """Options that all runs of an array ask for alike."""
    first = resolved[0]
    options = _options(first, root)
    for other in resolved[1:]:
        if _options(other, root) != options or _script(other, root) != _script(first, root):
            raise UsageError(
                f"{first['experiment']} and {other['experiment']} ask for different nodes, "
                "options or scripts: they cannot be one array"
            )
    return options


def _options(resolved: dict[str, Any], root: Path) -> list[str]:
    """Options of sbatch; each is one argument, and every value was checked by its model."""
    layout = resolved["layout"]
    loaded = study.load(root)
    asked = loaded.system(resolved["system"]).slurm
    ranks = layout["ranks_per_node"]
    gpus = asked.gpus if asked.gpus is not None else layout["device"] == "gpu"
    cpus = asked.cpus_per_rank or layout["threads_per_rank"]
    facts = loaded.facts(resolved["system"])
    if not cpus and ranks > 1 and facts and facts.cpus_per_node:
        # What the script asks for a rank may be too much for several on a node.
        cpus = max(1, facts.cpus_per_node // ranks)
    options = {
        "nodes": layout["nodes"],
        "ntasks-per-node": ranks,
        "gpus-per-node": ranks if gpus else 0,
        "cpus-per-task": cpus or None,
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "time": resolved.get("time_limit_min") or asked.time,
        "mem": asked.memory,
    }
    return [f"--{name}={value}" for name, value in options.items() if value is not None]


def _script(resolved: dict[str, Any], root: Path) -> str:
    """The sbatch script of an experiment, relative to the root."""
    script = study.load(root).experiment(resolved["experiment"]).script
    if not (root / script).is_file():
        raise ScalebookError(
            f"experiment {resolved['experiment']}: {script}: no such file in the study; copy "
            "slurm/ there, or name another under script"
        )
    return script


def _arguments_by_hand(resolved: dict[str, Any], root: Path) -> list[str]:
    """Arguments that make the script run the same by hand; here the resolved file says it all."""
    name = resolved["experiment"]
    # All scripts but the default one are for one experiment.
    generic = study.load(root).experiment(name).script == _DEFAULT_SCRIPT
    arguments = [name] if generic else []
    arguments += ["--seed", str(resolved["seed"])]
    for key, value in resolved["overrides"].items():
        # JSON is YAML, which --set reads.
        arguments += ["--set", f"{key}={json.dumps(value)}"]
    return arguments


def _environment(
    resolved: dict[str, Any], root: Path, path: Path, command: list[str]
) -> dict[str, str]:
    """Environment of the job: this one without an enclosing job, a kernel, another run."""
    environment = {
        name: value
        for name, value in commands.without_slurm(environment_of_job()).items()
        if not name.startswith("SCALEBOOK_")
    }
    environment |= {
        "SCALEBOOK_ROOT": str(root),
        "SCALEBOOK_RESOLVED": str(path.relative_to(root)),
        "SCALEBOOK_SUBMIT_COMMAND": json.dumps(command),
    }
    container = study.load(root).system(resolved["system"]).slurm.container
    if container:
        environment["CONTAINER"] = container
    elif not (root / ".venv" / "bin" / "python").is_file():
        # The job runs what submitted it, unless the study has its own.
        environment["PYTHON"] = environment.get("PYTHON") or sys.executable
    return environment
