"""Many runs as one: every experiment of a campaign with every seed, run once and never twice.

Runs go in rounds: all experiments with the first seed, then all with the next. What changes
slowly while they run (a machine that warms up, neighbours on the network) then touches every
experiment alike and not one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalebook import contract, results, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import registry
from scalebook.launch.collecting import collect
from scalebook.launch.job import Job, JobState
from scalebook.launch.slurm.poller import shared
from scalebook.launch.watch import watch
from scalebook.study.model import merge
from scalebook.train.privacy import clean


@dataclass(frozen=True)
class Planned:
    """One run of a campaign.

    Attributes
    ----------
    experiment : str
        Its name.
    seed : int
        Its seed.
    resolved : dict or None
        As `scalebook.study.resolve` returns it; None where it cannot run on the system.
    stem : str or None
        Of the finished run that is this one.
    job : Job or None
        That is at work on it.
    note : str
        Why it cannot run.
    """

    experiment: str
    seed: int
    resolved: dict[str, Any] | None = None
    stem: str | None = None
    job: Job | None = None
    note: str = ""

    @property
    def state(self) -> str:
        """What there is to do, in words."""
        if self.resolved is None:
            return "cannot run here"
        if self.stem:
            return "finished"
        return "under way" if self.job else "to run"

    def __str__(self) -> str:
        return f"{self.experiment}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes
    ----------
    planned : Planned
        The run.
    stem : str or None
        Of its files, where it finished.
    problem : str
        Why it did not, in one line.
    """

    planned: Planned
    stem: str | None = None
    problem: str = ""


# --------------------------------------------------------------------------- planning


def plan(
    root: Path,
    system: str,
    campaign: str | None = None,
    seed: int | None = None,
    overrides: dict[str, Any] | None = None,
) -> list[Planned]:
    """List the runs of a campaign, and what there is of each.

    A finished run counts if everything that decides its numbers is the same: experiment, system,
    seed and all resolved settings.

    Parameters
    ----------
    root : Path
        Folder of the study.
    system : str
        Where to run.
    campaign : str, optional
        Of ``study.yaml``; where left out, every experiment that an evidence rule takes on this
        system, with the study's seeds.
    seed : int, optional
        This one alone.
    overrides : dict, optional
        Settings over the campaign's own.

    Raises
    ------
    ScalebookError
        If there is nothing to run, or an experiment of a named campaign cannot run there.
    """
    loaded = study.load(root)
    named = loaded.campaign(campaign) if campaign else None
    names = list(named.experiments if named else loaded.experiments)
    seeds = [seed] if seed is not None else list((named and named.seeds) or loaded.seeds)
    planned = []
    for one in seeds:
        for name in names:
            settings = merge(named.overrides(name) if named else {}, overrides or {})
            try:
                resolved = study.resolve(loaded, name, system, one, settings)
            except ScalebookError as error:
                if named or not _is_evidence(loaded, name, system):
                    if named:
                        raise
                    continue
                planned.append(Planned(name, one, note=str(error)))
                continue
            if named or resolved["evidence_datasets"]:
                planned.append(Planned(name, one, resolved))
    if not planned:
        raise UsageError(
            f"run --all --system {system}: no evidence rule of study.yaml takes an experiment "
            f"there; name a campaign ({', '.join(loaded.campaigns) or 'there is none'})"
        )
    return [_looked_up(one, root) for one in planned]


def _is_evidence(loaded: study.Study, experiment: str, system: str) -> bool:
    """Whether a rule takes the experiment on the system, whatever its settings."""
    return any(
        (not rule.experiments or experiment in rule.experiments)
        and (not rule.systems or system in rule.systems)
        for rule in loaded.evidence
    )


def _looked_up(planned: Planned, root: Path) -> Planned:
    if planned.resolved is None:
        return planned
    wanted = identity(planned.resolved, root)
    stem = _finished(planned, wanted, root)
    if stem:
        return Planned(planned.experiment, planned.seed, planned.resolved, stem=stem)
    job = _under_way(wanted, root)
    return Planned(planned.experiment, planned.seed, planned.resolved, job=job)


def identity(resolved: dict[str, Any], root: Path) -> dict[str, Any]:
    """What decides the numbers of a run, as its manifest keeps it."""
    settings = contract.deciding(clean(resolved, root))
    return {key: item for key, item in settings.items() if key not in ("schema", "study")}


def _finished(planned: Planned, wanted: dict[str, Any], root: Path) -> str | None:
    """Stem of the newest finished run that is the planned one."""
    table = results.runs(
        status="finished", kind="measured", experiment=planned.experiment,
        system=wanted["system"], seed=planned.seed,
    )  # fmt: skip
    for row in reversed(list(table.itertuples())):
        resolved = results.manifest(row.stem).get("resolved") or {}
        if identity(resolved, root) != wanted:
            continue
        # A trial of before a rule took it never becomes evidence: then it is run again.
        names = {row.dataset, "*"} if row.dataset != "synthetic" else {"synthetic"}
        if row.local and names & set(planned.resolved["evidence_datasets"]):
            continue
        return row.stem
    return None


def _under_way(wanted: dict[str, Any], root: Path) -> Job | None:
    """Job that is at work on the planned run."""
    for job in reversed(registry.jobs(root)):
        try:
            if identity(job.resolved, root) != wanted or _elsewhere(job):
                continue
            if not job.state().finished:
                return job
        except (ScalebookError, KeyError):  # notes that another version wrote, or half a job
            continue
    return None


def _elsewhere(job: Job) -> bool:
    """Whether it belongs to another cluster than the one here, such as a small one that is gone."""
    cluster = getattr(job, "cluster", None)
    if cluster is None:
        return False
    try:
        here = shared().cluster_now()
    except ScalebookError:  # away for now: then it is better to wait than to run twice
        return False
    return here is not None and here != cluster


# --------------------------------------------------------------------------- running


def run(
    planned: list[Planned],
    root: Path,
    arrays: bool = False,
    tell: Callable[[str], None] = print,
    follow: Callable[[Job], JobState] = watch,
) -> list[Outcome]:
    """Run what is not finished, one run at a time, and collect it.

    On this machine each run is started when the one before has ended. On Slurm all are submitted
    at once, each after the one before (``afterany``), so that no two timed runs share a node or
    the network, and the campaign goes on when this process ends. A chain keeps the rounds; with
    `arrays` the queue holds one array of seeds for each experiment instead, one task at a time
    (``%1``), and the arrays follow one another.

    Parameters
    ----------
    planned : list of Planned
        As `plan` returns it.
    root : Path
        Folder of the study.
    arrays : bool
        Submit arrays to Slurm.
    tell : callable
        Told a line for each run.
    follow : callable
        Shows a job until it has finished; one that returns earlier detaches from the campaign.

    Returns
    -------
    list of Outcome
        Of the runs that were followed to their end, in order.
    """
    # What is at work already comes first: a new run would share the machine with it.
    todo = [one for state in ("under way", "to run") for one in planned if one.state == state]
    skipped = sum(one.state == "finished" for one in planned)
    if skipped:
        tell(f"{skipped} of {len(planned)} runs are finished and not run again")
    for one in planned:
        if one.resolved is None:
            tell(f"{one}: cannot run here: {one.note}")
    outcomes = []
    for number, (one, job) in enumerate(_started(todo, root, arrays), 1):
        tell(f"[{number}/{len(todo)}] {one}: job {job.id}")
        if not follow(job).finished:
            tell("call the same command again to go on: what is finished is not run again")
            break
        try:
            collected = collect(job)
            outcomes.append(Outcome(one, str(collected.files.stem)))
            if collected.note:
                tell(f"{one}: {collected.note}")
        except ScalebookError as error:
            outcomes.append(Outcome(one, problem=str(error)))
    return outcomes


def _started(todo: list[Planned], root: Path, arrays: bool) -> Iterator[tuple[Planned, Job]]:
    """Runs and their jobs in the order of their start; local ones start when asked for."""
    if not todo:
        return
    launcher = study.load(root).system(todo[0].resolved["system"]).launcher
    if arrays and launcher == "local":
        raise UsageError("--arrays: only a Slurm system has job arrays")
    waiting = [one for one in todo if not one.job]
    running = [(one, one.job) for one in todo if one.job]
    if launcher == "local":
        yield from running
        for one in waiting:
            yield one, registry.submit(one.resolved, root)
        return
    # What is queued already may run at any time: the first new job waits for all of it.
    after = [job for _, job in running]
    submitted = _arrays(waiting, root, after) if arrays else _chain(waiting, root, after)
    yield from running + submitted


def _chain(waiting: list[Planned], root: Path, after: list[Job]) -> list[tuple[Planned, Job]]:
    submitted = []
    for one in waiting:
        job = registry.submit(one.resolved, root, after=_numbers(after))
        submitted.append((one, job))
        after = [job]
    return submitted


def _arrays(waiting: list[Planned], root: Path, after: list[Job]) -> list[tuple[Planned, Job]]:
    submitted: list[tuple[Planned, Job]] = []
    for name in dict.fromkeys(one.experiment for one in waiting):
        members = [one for one in waiting if one.experiment == name]
        resolved = [one.resolved for one in members]
        after = registry.submit_array(resolved, root, after=_numbers(after), limit=1)
        submitted += zip(members, after)
    return submitted


def _numbers(jobs: list[Job]) -> list[str]:
    return [job.slurm_id for job in jobs]


def as_rows(planned: list[Planned]) -> list[dict[str, Any]]:
    """What would run and what is finished, a row each."""
    return [
        {
            "experiment": one.experiment,
            "seed": one.seed,
            "ranks": one.resolved["layout"]["world_size"] if one.resolved else None,
            "state": one.state,
            "run": one.stem or (one.job.id if one.job else one.note or None),
        }
        for one in planned
    ]
