"""Commands that run jobs; `scalebook.cli` adds each of `COMMANDS` to its group."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalebook import contract, study
from scalebook.cli.parts import (
    Redrawn,
    echo,
    json_option,
    print_rows,
    seed_option,
    set_option,
    shown,
    system_option,
    with_content,
    working,
)
from scalebook.contract import ScalebookError, UsageError

if TYPE_CHECKING:
    from scalebook.launch import Choice
    from scalebook.launch.table import JobTable


@click.command()
@click.argument("experiment", required=False)
@click.option("--resume", "resume_job", metavar="JOB", help="Go on from a job's last checkpoint.")
@click.option("--all", "everything", is_flag=True,
              help="Every experiment that is evidence on the system, with every seed; what is "
                   "finished is not run again.")  # fmt: skip
@click.option("--campaign", metavar="NAME", help="With --all: a campaign of study.yaml instead.")
@click.option("--dry-run", is_flag=True, help="With --all: list what would run.")
@click.option("--arrays", is_flag=True, help="With --all on Slurm: one job array an experiment.")
@click.option("--budget", metavar="TIME", help="With --all: start no run past this time, as 8m.")
@click.option("--pack", metavar="FILE.json", type=click.Path(path_type=Path, dir_okay=False),
              help="With --all: write the runs to a file for a machine with torch.")  # fmt: skip
@system_option
@seed_option
@set_option
@json_option
def run(
    experiment: str | None,
    resume_job: str | None,
    everything: bool,
    campaign: str | None,
    dry_run: bool,
    arrays: bool,
    budget: str | None,
    pack: Path | None,
    system: str,
    seed: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Submit EXPERIMENT, watch it, collect its files."""
    from scalebook import launch

    if [bool(experiment), bool(resume_job), everything].count(True) != 1:
        raise UsageError("run: name an experiment, a job to resume, or --all")
    if everything:
        return _run_all(campaign, dry_run, arrays, budget, pack, system, seed, overrides, as_json)
    if campaign or dry_run or arrays or budget or pack:
        raise UsageError("run: --campaign, --dry-run, --arrays, --budget and --pack go with --all")
    if experiment:
        with working(f"submitting {experiment}"):
            resolved, choice = _resolve(experiment, system, seed, overrides)
            job = launch.submit(resolved)
        echo(f"job {job.id} on {choice}", err=True)
    else:
        job = launch.resume(str(resume_job))
        echo(f"job {job.id} on system {job.resolved['system']}", err=True)
    if not launch.watch(job).finished:
        return
    collected = launch.collect(job)
    files = collected.files
    if as_json:
        echo(json.dumps({"job": job.id, "stem": files.stem, "csv": shown(files.csv)}))
    else:
        echo(f"done: {shown(files.csv)}")
    if collected.note:
        echo(f"note: {collected.note}", err=True)


@click.command()
@click.argument("experiment")
@system_option
@seed_option
@set_option
@click.option("--job", "in_job", is_flag=True, help="Note it for this Slurm job; print its path.")
def resolve(
    experiment: str, system: str, seed: int | None, overrides: tuple[str, ...], in_job: bool
) -> None:
    """Print the JSON one training process reads."""
    if in_job:
        from scalebook.launch.slurm import allocation

        settings = study.parse_overrides((*allocation.environment_overrides(), *overrides))
        root = contract.find_root()
        path = allocation.Allocation.here().resolve(root, experiment, system, seed, settings)
        echo(path.relative_to(root))
        return
    echo(json.dumps(_resolve(experiment, system, seed, overrides)[0], indent=2))


@click.command()
@click.argument("experiment")
@system_option
@seed_option
@set_option
@json_option
def submit(
    experiment: str, system: str, seed: int | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Submit EXPERIMENT and return at once."""
    from scalebook import launch

    with working(f"submitting {experiment}"):
        resolved, choice = _resolve(experiment, system, seed, overrides)
        job = launch.submit(resolved)
    echo(f"{experiment} on {choice}", err=True)
    if as_json:
        echo(json.dumps({"job": job.id, "stem": str(job.stem)}))
    else:
        echo(f"job {job.id}; follow it with: scalebook watch {job.id}")
    if job.images_note:
        echo(f"note: {job.images_note}", err=True)


@click.command()
@click.argument("job")
def watch(job: str) -> None:
    """Follow JOB to its end. Ctrl-C detaches; the job goes on."""
    from scalebook import launch

    found = launch.find(job)
    if launch.watch(found).finished:
        echo(f"done: {launch.collect(found).files.stem}")


@click.command()
@click.argument("job", required=False)
@click.option("--watch", "again", is_flag=True,
              help="Look again until all have ended; Ctrl-C ends the looking alone.")  # fmt: skip
@json_option
def status(job: str | None, again: bool, as_json: bool) -> None:
    """State of JOB, or of every job submitted from this study."""
    with working("asking for the states of the jobs"):
        from scalebook import launch
        from scalebook.launch.table import JobTable

        if again and as_json:
            raise UsageError("status: --watch is for people: a program calls status --json again")
        table = JobTable(only=launch.find(job) if job else None)
        rows = table.rows()
    empty = "no job was submitted from this study"
    if as_json:
        print_rows([dataclasses.asdict(row) for row in rows], as_json, empty)
    elif again and rows:
        _watch_table(table)
    else:
        print_rows(with_content([row.cells() for row in rows]), as_json, empty)
    for line in table.damaged:
        echo(f"error: {line}", err=True)
    sys.exit(bool(table.damaged))


def _watch_table(table: JobTable) -> None:
    """Show the table until all its jobs have ended, over itself where this is a terminal."""
    from scalebook.launch.waiting import looks

    shown = Redrawn()
    try:
        for _ in looks(0.5):
            rows = table.rows()
            shown.show([row.cells() for row in rows], [(row.job, row.state) for row in rows])
            if all(row.finished for row in rows):
                return
    except KeyboardInterrupt:
        echo("")  # what is typed next stands below the terminal's ^C


@click.command()
@click.argument("job")
@click.option("--gone", is_flag=True, help="Its cluster is gone for good: only note its end.")
def cancel(job: str, gone: bool) -> None:
    """End every rank of JOB."""
    from scalebook import launch

    found = launch.find(job)
    if gone:
        found.close()
    else:
        found.cancel()
    state = found.state()
    if state.finished:
        echo(f"job {found.id} {state.value}")
    else:
        echo(f"job {found.id} was asked to end and is still {state.value}")


@click.command()
@click.argument("job")
@click.option("-n", "--lines", default=40, show_default=True, help="How many lines.")
def logs(job: str, lines: int) -> None:
    """Last lines of what JOB printed."""
    from scalebook import launch

    echo(click.unstyle(launch.find(job).logs(lines)))


@click.command()
@click.argument("job", required=False, metavar="[JOB|ARCHIVE.tar.gz]")
def collect(job: str | None) -> None:
    """Check the files of JOB, or of every completed job. Slurm's accounting is put beside them.

    Of an ARCHIVE.tar.gz, which packed runs leave, take in the runs as fetch does.
    """
    if job and job.endswith(".tar.gz"):
        from scalebook.launch import packed
        from scalebook.launch.fetch import as_text

        fetched = packed.collect(Path(job), contract.find_root())
        echo(as_text(fetched))
        sys.exit(bool(fetched.left))
    from scalebook import launch
    from scalebook.launch import JobState

    damaged: list[str] = []
    found = [launch.find(job)] if job else launch.jobs(damaged=damaged)
    for line in damaged:
        echo(f"scalebook: {line}", err=True)
    failed = bool(damaged)
    for submitted in found:
        if not job and submitted.state() is not JobState.COMPLETED:
            continue
        try:
            collected = launch.collect(submitted)
        except ScalebookError as error:
            failed = True
            echo(f"scalebook: {error}", err=True)
            continue
        echo(collected.files.stem)
        if collected.note:
            echo(f"note: {collected.note}", err=True)
    sys.exit(failed)


@click.command()
@click.argument("source", metavar="USER@HOST:DIR")
@click.option("--ssh-option", "ssh_options", multiple=True, metavar="KEY=VALUE",
              help="An option of ssh, such as Port=2222.")  # fmt: skip
@click.option("--trials", is_flag=True, help="Bring results/local too.")
@json_option
def fetch(source: str, ssh_options: tuple[str, ...], trials: bool, as_json: bool) -> None:
    """Bring results from the study in DIR on HOST. By rsync over ssh; checked, nothing lost."""
    from scalebook.launch import fetch as bring

    fetched = bring.fetch(source, contract.find_root(), ssh_options, trials)
    echo(json.dumps(vars(fetched), indent=2) if as_json else bring.as_text(fetched))
    sys.exit(bool(fetched.left))


@click.command()
@system_option
def system(system: str) -> None:
    """Print what the study knows of a system, as JSON."""
    from scalebook import launch
    from scalebook.launch.slurm.job import system_of

    loaded = study.load()
    in_job = system == "auto" and os.environ.get("SLURM_CLUSTER_NAME")
    name = system_of(loaded.systems, in_job) if in_job else None
    name = name or launch.pick_system(loaded, system).system
    facts = loaded.facts(name)
    known = facts.model_dump(mode="json") if facts else None
    images = study.image_sources(loaded)
    echo(json.dumps({"system": name, "facts": known, "images": images}, indent=2))


def _run_all(
    campaign: str | None,
    dry_run: bool,
    arrays: bool,
    budget: str | None,
    pack: Path | None,
    system: str,
    seed: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a campaign to its end; exit status 1 and a line for each run that failed."""
    from scalebook import launch
    from scalebook.launch import campaign as campaigns
    from scalebook.launch import packed
    from scalebook.launch.finished import without_settings
    from scalebook.train.tools.campaign import Budget

    root = contract.find_root()
    settings = study.parse_overrides(overrides)
    within = Budget(budget) if budget else None
    if pack and budget:
        raise UsageError("run: the budget of packed runs is given where they run, not to --pack")
    with working("looking what has been run"):
        loaded = study.load(root)
        own = loaded.campaign(campaign).system if campaign else None
        choice = launch.pick_system(loaded, own if own and system == "auto" else system)
        planned = campaigns.plan(root, choice.system, campaign, seed, settings)
    echo(f"{campaign or 'all'} on {choice}", err=True)
    if unknown := without_settings(choice.system):
        more = f", nor those of {len(unknown) - 1} more" if len(unknown) > 1 else ""
        line = f"note: the settings of {unknown[0]} cannot be read{more}: it stands for no run"
        echo(line, err=True)
    if dry_run:
        rows = campaigns.as_rows(planned)
        print_rows(rows if as_json else with_content(rows), as_json, "nothing to run")
        echo(campaigns.time_left(planned), err=True)
        return
    if pack:
        for note, count in Counter(run.note for run in planned if run.note).items():
            echo(f"{count} runs cannot run there: {note}", err=True)
        packed.pack(planned, root, pack)
        echo(f"{shown(pack)}: {campaigns.time_left(planned)}")
        return
    try:
        outcomes = campaigns.run(
            planned, root, arrays, report=lambda line: echo(line, err=True), budget=within
        )
    except KeyboardInterrupt:
        raise ScalebookError(
            "interrupted; what was submitted goes on: call the same command again, what is "
            "finished is not run again"
        ) from None
    done = [run.stem for run in outcomes if run.stem]
    failed = [run for run in outcomes if not run.stem]
    if as_json:
        finished = [run.stem for run in planned if run.stem]
        problems = {str(run): run.note for run in failed}
        echo(json.dumps({"finished": finished, "ran": done, "failed": problems}, indent=2))
    else:
        for stem in done:
            echo(f"done: {stem}")
    for run in failed:
        echo(f"scalebook: {run}: {run.note}", err=True)
    sys.exit(bool(failed))


def _resolve(
    experiment: str, system: str, seed: int | None, overrides: tuple[str, ...]
) -> tuple[dict[str, Any], Choice]:
    """What one training process reads, and the system chosen for it."""
    from scalebook import launch

    loaded = study.load()
    settings = study.parse_overrides(overrides)
    choice = launch.pick_system(loaded, system)
    return study.resolve(loaded, experiment, choice.system, seed, settings), choice


COMMANDS = (run, resolve, submit, watch, status, cancel, logs, collect, fetch, system)
