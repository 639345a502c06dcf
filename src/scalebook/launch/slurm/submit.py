"""Submitting to Slurm: the scripts that people submit by hand, by ``sbatch`` with checked options.

No shell is involved and nothing is generated but the resolved experiment, a JSON file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalebook import contract, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch.job import KERNEL_VARIABLES, JobState
from scalebook.launch.slurm import commands as commands
from scalebook.launch.slurm import records as records
from scalebook.launch.slurm.poller import shared
from scalebook.launch.slurm.slurm_job import SlurmJob
from scalebook.launch.store import write_notes

#: Where the scripts' own directive puts what jobs print.
LOGS = "slurm/logs"
_DEFAULT_SCRIPT = study.Experiment.model_fields["script"].default


def submit(resolved: dict[str, Any], root: Path, after: Sequence[SlurmJob | str] = ()) -> SlurmJob:
    """Submit one run.

    Parameters
    ----------
    resolved : dict
        As `scalebook.study.resolve` returns it.
    root : Path
        Folder of the study.
    after : sequence of SlurmJob or str
        Jobs, or Slurm's numbers of jobs, that must have ended before, however they ended.

    Raises
    ------
    ScalebookError
        If Slurm refuses or does not answer; nothing is left behind then.
    """
    options = [*_options(resolved, root), *_dependency(after)]
    return _submit([resolved], root, options, _by_hand(resolved, root))[0]


def submit_array(
    resolved: Sequence[dict[str, Any]],
    root: Path,
    after: Sequence[SlurmJob | str] = (),
    limit: int = 1,
) -> list[SlurmJob]:
    """Submit runs of one shape as one array.

    Parameters
    ----------
    resolved : sequence of dict
        One run each; all ask for the same nodes and ranks on the same system.
    root : Path
        Folder of the study.
    after : sequence of SlurmJob or str
        Jobs, or Slurm's numbers of jobs, that must have ended before, however they ended.
    limit : int
        How many run at the same time.
    """
    if not resolved:
        raise UsageError("an array needs at least one run")
    options = _options(resolved[0], root)
    for other in resolved[1:]:
        if _options(other, root)[1:] != options[1:] or _script(other, root) != _script(
            resolved[0], root
        ):
            raise UsageError(
                f"{resolved[0]['experiment']} and {other['experiment']} ask for different nodes, "
                "options or scripts: they cannot be one array"
            )
    if len({one["experiment"] for one in resolved}) > 1:
        options[0] = f"--job-name={resolved[0]['study']}"
    options.append(f"--array=0-{len(resolved) - 1}%{max(1, limit)}")
    options += _dependency(after)
    return _submit(resolved, root, options, [], array=True)


def resume(job: SlurmJob) -> SlurmJob:
    """Submit a run that ended without success again: it goes on from its last checkpoint."""
    state = job.state()
    if not state.finished:
        raise ScalebookError(f"job {job.id} is still {state.value}: nothing to resume")
    if state is JobState.COMPLETED:
        raise ScalebookError(f"job {job.id} completed: nothing to resume")
    resolved, root = job.resolved, job.root
    return _submit([resolved], root, _options(resolved, root), _by_hand(resolved, root), again=job)[
        0
    ]


# --------------------------------------------------------------------------- sbatch


def _submit(
    resolved: Sequence[dict[str, Any]],
    root: Path,
    options: list[str],
    arguments: list[str],
    array: bool = False,
    again: SlurmJob | None = None,
) -> list[SlurmJob]:
    """Call sbatch and take notes of what it started; `again` is the job that is resumed."""
    first = resolved[0]
    where = f"{first['experiment']} on system {first['system']}"
    output = f"{LOGS}/%x-{'%A_%a' if array else '%j'}.log"
    command = [
        "sbatch", "--parsable", "--chdir=.", *options, f"--output={output}",
        _script(first, root), *arguments,
    ]  # fmt: skip
    if any(letter in str(root) for letter in "%\\"):
        # Slurm's job would fail at once, without a word.
        raise UsageError(
            f"{where}: {root}: Slurm takes % and \\ in a path for a pattern: move the study to a "
            "folder without them"
        )
    (root / LOGS).mkdir(parents=True, exist_ok=True)
    path, new = _keep(resolved, root, array)
    environment = _environment(first, root, path, command)
    if again:
        environment |= {"SCALEBOOK_JOB_ID": again.id, "SCALEBOOK_RESUME": "1"}
    try:
        cluster = shared().cluster_now()
        said = commands.ask(command, commands.SUBMIT_S, environment, root)
        number = records.parse_submitted(said)
        if number is None:
            raise commands.SlurmError(f"sbatch answered {said.strip()!r}, which is no job number")
    except ScalebookError as error:
        if new:
            _forget(path)
        raise _refused(where, error) from None
    jobs = []
    for task, one in enumerate(resolved):
        slurm_id = f"{number}_{task}" if array else number
        run_id = contract.slurm_run_id(cluster, number, str(task) if array else None)
        if again:
            run_id = again.id
            for stale in ("state.json", "progress.json"):
                (again.folder / stale).unlink(missing_ok=True)
        log = f"{LOGS}/{options[0].removeprefix('--job-name=')}-{slurm_id}.log"
        earlier = again.slurm_ids if again else ()
        write_notes(root, run_id, one, slurm_id, cluster, command, log, earlier=earlier)
        jobs.append(SlurmJob(run_id, root))
    return jobs


def _refused(where: str, error: ScalebookError) -> ScalebookError:
    """Say in one line why there is no job, and what to do."""
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


def _options(resolved: dict[str, Any], root: Path) -> list[str]:
    """Options of sbatch; each is one argument, and every value was checked by its model."""
    layout = resolved["layout"]
    loaded = study.load(root)
    asked = loaded.system(resolved["system"]).slurm
    ranks = layout["ranks_per_node"]
    gpus = asked.gpus if asked.gpus is not None else layout["device"] == "gpu"
    options = [
        f"--job-name={resolved['experiment']}",
        f"--nodes={layout['nodes']}",
        f"--ntasks-per-node={ranks}",
        f"--gpus-per-node={ranks if gpus else 0}",
    ]
    cpus = asked.cpus_per_rank or layout["threads_per_rank"]
    facts = loaded.facts(resolved["system"])
    if not cpus and ranks > 1 and facts and facts.cpus_per_node:
        # What the script asks for a rank may be too much for several on a node.
        cpus = max(1, facts.cpus_per_node // ranks)
    if cpus:
        options.append(f"--cpus-per-task={cpus}")
    for name, value in (
        ("partition", asked.partition), ("account", asked.account), ("qos", asked.qos),
        ("time", asked.time), ("mem", asked.memory),
    ):  # fmt: skip
        if value is not None:
            options.append(f"--{name}={value}")
    return options


def _dependency(after: Sequence[SlurmJob | str]) -> list[str]:
    numbers = [job.slurm_id if isinstance(job, SlurmJob) else job for job in after]
    for number in numbers:
        if not number.replace("_", "", 1).isdigit():
            raise UsageError(f"after: {number!r} is no number of a Slurm job")
    return [f"--dependency=afterany:{':'.join(numbers)}"] if numbers else []


def _script(resolved: dict[str, Any], root: Path) -> str:
    """The sbatch script of an experiment, relative to the root."""
    script = study.load(root).experiment(resolved["experiment"]).script
    if not (root / script).is_file():
        raise ScalebookError(
            f"experiment {resolved['experiment']}: {script}: no such file in the study; copy "
            "slurm/ there, or name another under script"
        )
    return script


def _by_hand(resolved: dict[str, Any], root: Path) -> list[str]:
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
        for name, value in commands.without_slurm(os.environ).items()
        if name not in KERNEL_VARIABLES and not name.startswith("SCALEBOOK_")
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


# --------------------------------------------------------------------------- resolved files


def _keep(resolved: Sequence[dict[str, Any]], root: Path, array: bool) -> tuple[Path, bool]:
    """Write what is submitted under a name made of its content; a folder for an array.

    Returns
    -------
    tuple of Path and bool
        Where it lies, and whether it was not there before.
    """
    text = json.dumps(list(resolved), sort_keys=True, allow_nan=False)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = root / ".scalebook" / "resolved"
    path = folder / (name if array else f"{name}.json")
    new = not path.exists()
    if array:
        for task, one in enumerate(resolved):
            contract.write_json(path / f"{task}.json", one)
    else:
        contract.write_json(path, resolved[0])
    return path, new


def _forget(path: Path) -> None:
    """Take away what a refused submission wrote."""
    if path.is_dir():
        for file in path.glob("*.json"):
            file.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
