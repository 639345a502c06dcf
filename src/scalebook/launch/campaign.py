"""Many runs as one: every experiment of a campaign with every seed, run once and never twice.

Runs go in rounds: all experiments with the first seed, then all with the next. What changes
slowly while they run (a machine that warms up, neighbours on the network) then touches every
experiment alike and not one of them. Where a campaign declares ``blocks`` the order within each
round is drawn too, and each manifest says its block: times are compared within it, see
`analysis.scaling`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scalebook import study
from scalebook.contract import ScalebookError, UsageError, takes_dataset
from scalebook.launch import registry
from scalebook.launch.collecting import collect
from scalebook.launch.finished import Finished, finished_on, of_evidence
from scalebook.launch.job import Job, JobState
from scalebook.launch.watch import watch
from scalebook.results.manifests import block_name
from scalebook.study.model import merge
from scalebook.train.images import finding
from scalebook.train.tools.campaign import Budget


@dataclass(frozen=True)
class Planned:
    """One run of a campaign.

    Attributes
    ----------
    experiment : str
        Its name.
    seed : int
        Its seed.
    resolved : dict
        As `scalebook.study.resolve` returns it; empty where it cannot run on the system.
    stem : str or None
        Of the finished run that is this one.
    job : Job or None
        That is at work on it.
    seconds : float or None
        How long it may take, from the newest run like it on its system; None where there is none.
    note : str
        Why it cannot run, or did not finish.
    """

    experiment: str
    seed: int
    resolved: dict[str, Any] = field(default_factory=dict)
    stem: str | None = None
    job: Job | None = None
    seconds: float | None = None
    note: str = ""

    @property
    def state(self) -> str:
        """What there is to do, in plain English."""
        if not self.resolved:
            return "cannot run here"
        if self.stem:
            return "finished"
        return "under way" if self.job else "to run"

    def __str__(self) -> str:
        settings = as_text(self.resolved.get("overrides", {}))
        return ", ".join(filter(None, [self.experiment, f"seed {self.seed}", settings]))


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
    seed and all resolved settings. Where no campaign is named, an experiment runs with the settings
    that its evidence on this system was run with; one that is profiled runs once.

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
        Settings over those of the campaign, or of the evidence.

    Raises
    ------
    ScalebookError
        If there is nothing to run, or an experiment of a named campaign cannot run there.
    """
    loaded = study.load(root)
    named = loaded.campaign(campaign) if campaign is not None else None
    rounds = named.rounds(loaded.seeds) if named else list(loaded.seeds)
    if named and named.blocks and seed is not None and seed not in rounds:
        raise UsageError(
            f"seed {seed}: campaign {campaign} has blocks 0 to {rounds[-1]}, and each is its seed"
        )
    seeds = [seed] if seed is not None else rounds
    finished = finished_on(system)
    planned = []
    for round_seed in seeds:
        if named:
            runs = named.order(system, round_seed)
        else:
            runs = [(n, own) for n in loaded.experiments for own in of_evidence(n, finished)]
        runs = _each_once([(name, merge(own, overrides or {})) for name, own in runs], named)
        timed = [run for run in runs if not _is_profiled(loaded, *run)]
        ordered = timed
        if round_seed == seeds[-1]:  # a profile shows where time goes, and is made once
            once = [run for run in runs if run not in timed]
            ordered = runs if len(rounds) == 1 else timed + once
        for name, settings in ordered:
            is_timed = (name, settings) in timed
            first = Planned(name, round_seed if is_timed else seeds[0])
            run = _resolved(loaded, named, system, first, settings)
            if named and named.blocks and is_timed and run and run.resolved:
                run.resolved["block"] = {
                    "campaign": campaign,
                    "number": round_seed,
                    "place": timed.index((name, settings)) + 1,
                    "order": [_label(named, *run) for run in timed],
                    "drawn_from": named.order_seed,
                }
            planned += [run] if run else []
    if not planned:
        raise UsageError(
            f"run --all --system {system}: no evidence rule of study.yaml takes an experiment "
            f"there; name a campaign ({', '.join(loaded.campaigns) or 'there is none'})"
        )
    if named and named.gpu_hours:
        share = named.gpu_hours * len(seeds) / len(rounds)
        _limit(planned, share, f"campaigns.{campaign}.gpu_hours")
    return [_looked_up(run, finished, root) if run.resolved else run for run in planned]


def _each_once(
    runs: list[tuple[str, dict[str, Any]]], named: study.Campaign | None
) -> list[tuple[str, dict[str, Any]]]:
    """Runs of a round without those that one setting for all makes the same as another."""
    once: list[tuple[str, dict[str, Any]]] = []
    for run in runs:
        if run not in once:
            once.append(run)
        elif named:
            raise UsageError(
                f"--set: makes the ways in which the campaign runs {run[0]} one and the same"
            )
    return once


def _is_profiled(loaded: study.Study, experiment: str, settings: dict[str, Any]) -> bool:
    return bool(settings.get("profile", loaded.experiments[experiment].profile))


def _label(named: study.Campaign, experiment: str, settings: dict[str, Any]) -> str:
    """Name of a run within a block; where its experiment runs in several ways, with its own."""
    ways = named.experiments[experiment]
    own = {key: value for key, value in settings.items() if any(key in way for way in ways)}
    return " ".join(filter(None, (experiment, as_text(own) if len(ways) > 1 else None)))


def _resolved(
    loaded: study.Study,
    named: study.Campaign | None,
    system: str,
    run: Planned,
    settings: dict[str, Any],
) -> Planned | None:
    """A run with all its settings, or why it cannot run here; None where nobody asked for it."""
    try:
        resolved = study.resolve(loaded, run.experiment, system, run.seed, settings)
    except ScalebookError as error:
        if named and run.experiment not in named.optional:
            raise
        told = named or any(rule.concerns(run.experiment, system) for rule in loaded.evidence)
        note = str(error)
        if settings and not named:  # which nobody need have typed
            own = note.removeprefix("--set: ")
            note = f"as its evidence was run or asked for, {as_text(settings)}: {own}"
        return replace(run, note=note) if told else None
    return replace(run, resolved=resolved) if named or resolved["evidence_datasets"] else None


#: Least minutes of a time limit in which a job can do anything.
LEAST_MINUTES = 2


def _limit(planned: list[Planned], gpu_hours: float, where: str) -> None:
    """Give every run the time limit with which all together keep within these hours."""
    runs = [run for run in planned if run.resolved]
    if not runs:
        return
    ranks = sum(run.resolved["layout"]["world_size"] for run in runs)
    minutes = int(60 * gpu_hours / ranks)
    if minutes < LEAST_MINUTES:
        raise UsageError(
            f"study.yaml: {where}: {gpu_hours:g} leaves {60 * gpu_hours / ranks:.1f} minutes for "
            f"each of {len(runs)} runs; {ranks * LEAST_MINUTES / 60:.1f} are the least"
        )
    for run in runs:
        run.resolved["time_limit_min"] = minutes


def _looked_up(planned: Planned, finished: list[Finished], root: Path) -> Planned:
    """The run with what there is of it: its files, or the job at work on it; and its time."""
    wanted = registry.identity(planned.resolved, root)
    block = block_name(planned.resolved.get("block"))
    for run in finished:
        if run.identity != wanted or run.generated:
            continue
        if block and run.row.block != block:  # only what ran together is compared
            continue
        # A trial of before a rule took it never becomes evidence: then it is run again.
        datasets = planned.resolved["evidence_datasets"]
        if not (run.row.local and takes_dataset(datasets, run.row.dataset)):
            return replace(planned, stem=str(run.row.stem))
    job = registry.under_way(planned.resolved, root)
    return replace(planned, job=job, seconds=_seconds(planned, finished))


def _seconds(planned: Planned, finished: list[Finished]) -> float | None:
    """Time of the newest run of the same experiment and ranks, for as many images and epochs."""
    wanted = (planned.experiment, planned.resolved["layout"]["world_size"])
    asked = planned.resolved["dataset"]["train_images"]
    epochs = planned.resolved["training"]["epochs"]
    for run in finished:
        row = run.row
        images = asked or (None if row.subset else row.train_images)
        done = row.epochs * (row.train_images or 0)
        if (row.experiment, row.world_size) == wanted and run.seconds and images and done:
            return run.seconds * float(epochs * images / done)
    return None


# --------------------------------------------------------------------------- running


def run(
    planned: list[Planned],
    root: Path,
    arrays: bool = False,
    report: Callable[[str], None] = print,
    follow: Callable[[Job], JobState] = watch,
    budget: Budget | None = None,
) -> list[Planned]:
    """Run what is not finished, one run at a time, and collect it.

    On this machine each run is started when the one before has ended. Where jobs queue, as on
    Slurm, all are submitted at once, each after the one before (``afterany``), so that no two
    timed runs share a node or the network, and the campaign goes on when this process ends. A
    chain keeps the rounds; with `arrays` the queue holds one array of seeds for each experiment
    instead, one task at a time (``%1``), and the arrays follow one another.

    Parameters
    ----------
    planned : list of Planned
        As `plan` returns it.
    root : Path
        Folder of the study.
    arrays : bool
        Submit arrays to Slurm.
    report : callable
        Called with a line for each run.
    follow : callable
        Shows a job until it has finished; one that returns earlier detaches from the campaign.
    budget : Budget, optional
        Time within which runs are started, on this machine.

    Returns
    -------
    list of Planned
        The runs that were followed to their end, in order: with a stem where they finished.
    """
    # What is at work already comes first: a new run would share the machine with it.
    todo = [run for state in ("under way", "to run") for run in planned if run.state == state]
    skipped = sum(run.state == "finished" for run in planned)
    if skipped:
        report(f"{skipped} of {len(planned)} runs are finished and not run again")
    for run in planned:
        if not run.resolved:
            report(f"{run}: cannot run here: {run.note}")
    for run in todo:
        _refuse_generated(run, root)
    outcomes = []
    for number, (run, job) in enumerate(_started(todo, root, arrays, budget), 1):
        report(f"[{number}/{len(todo)}] {run}: job {job.id}")
        if not follow(job).finished:
            report("call the same command again to go on: what is finished is not run again")
            break
        try:
            collected = collect(job)
            outcomes.append(replace(run, stem=collected.files.stem))
            if collected.note:
                report(f"{run}: {collected.note}")
        except ScalebookError as error:
            outcomes.append(replace(run, note=str(error)))
    else:
        if left := todo[len(outcomes) :]:
            report(f"left out, since the budget of {budget} is used up: {len(left)} runs")
    return outcomes


def _refuse_generated(planned: Planned, root: Path) -> None:
    """No campaign is measured on generated images that nobody asked for."""
    if planned.job is None:
        why = registry.with_images(planned.resolved, root)["dataset"].get("generated")
        if why:
            raise ScalebookError(
                f"run --all: {planned}: {why}: get them with `scalebook data get`, or ask for "
                f"generated ones with {finding.FLAG}"
            )


def _started(
    todo: list[Planned], root: Path, arrays: bool, budget: Budget | None
) -> Iterator[tuple[Planned, Job]]:
    """Runs and their jobs in the order of their start; without a queue, started when asked for."""
    if not todo:
        return
    launcher = registry.launcher_of(study.load(root), todo[0].resolved["system"])
    running = [(run, run.job) for run in todo if run.job]
    waiting = [run for run in todo if not run.job]
    if not launcher.queues:
        if arrays:
            raise UsageError("--arrays: only a Slurm system has job arrays")
        yield from running
        for run in waiting:
            if budget and not budget.allows_another:
                return
            with budget.run() if budget else contextlib.nullcontext():
                yield run, registry.submit(run.resolved, root)
        return
    if budget:
        raise UsageError("--budget: jobs on Slurm have a time limit each; see gpu_hours")
    groups = [[run] for run in waiting]
    if arrays and any("block" in run.resolved for run in waiting):
        raise UsageError("--arrays: a campaign in blocks runs one block after the other")
    if arrays:
        names = dict.fromkeys(run.experiment for run in waiting)
        groups = [[run for run in waiting if run.experiment == name] for name in names]
    # What is queued already may run at any time: the first new job waits for all of it.
    after: Sequence[Job] = [job for _, job in running]
    submitted: list[tuple[Planned, Job]] = []
    for group in groups:
        resolved = [run.resolved for run in group]
        if arrays:
            after = registry.submit_array(resolved, root, after=after)
        else:
            after = [registry.submit(resolved[0], root, after=after)]
        submitted += zip(group, after)
    yield from running + submitted


def as_rows(planned: list[Planned]) -> list[dict[str, Any]]:
    """What would run and what is finished, a row each."""
    return [
        {
            "experiment": run.experiment,
            "seed": run.seed,
            "block": run.resolved.get("block", {}).get("number"),
            "ranks": run.resolved["layout"]["world_size"] if run.resolved else None,
            "system": run.resolved["system"] if run.resolved else None,
            "settings": as_text(run.resolved["overrides"]) if run.resolved else None,
            "state": run.state,
            "minutes": round(run.seconds / 60, 1) if run.seconds else None,
            "limit": run.resolved.get("time_limit_min"),
            "run": run.stem or (run.job.id if run.job else run.note or None),
        }
        for run in planned
    ]


def as_text(settings: dict[str, Any]) -> str | None:
    """Settings in a line; None where there are none."""
    return " ".join(f"{name}={value}" for name, value in settings.items()) or None


def time_left(planned: list[Planned]) -> str:
    """What is still to run and how long it may take, in one line."""
    todo = [run for run in planned if run.state == "to run"]
    known = [run.seconds for run in todo if run.seconds is not None]
    line = f"{len(todo)} of {len(planned)} to run"
    if known:
        line += f", about {sum(known) / 60:,.0f} minutes by the last runs like them"
    if unknown := len(todo) - len(known):
        line += f"; of {unknown} nothing like it has finished there, so their time is not known"
    return line
