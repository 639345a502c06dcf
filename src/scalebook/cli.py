"""The ``scalebook`` command: thin, every answer comes from a room of the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from scalebook import __version__, contract, study
from scalebook.contract import ScalebookError, UsageError

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
system_option = click.option(
    "--system",
    default="auto",
    show_default=True,
    help="A system of study.yaml; auto takes Slurm where its controller answers, else local.",
)
seed_option = click.option("--seed", type=int, help="Instead of the study's first seed.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting."
)


class Cli(click.Group):
    """Turns an expected failure into one line and its exit status."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; a `ScalebookError` becomes one line on standard error."""
        try:
            return super().invoke(context)
        except ScalebookError as error:
            click.echo(f"scalebook: {error}", err=True)
            context.exit(error.exit_status)
        except BrokenPipeError:
            context.exit(1)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scalebook")
def main() -> None:
    """A scaling study you can read, rerun and defend."""


# --------------------------------------------------------------------------- jobs


@main.command()
@click.argument("experiment", required=False)
@click.option("--resume", "resume_job", metavar="JOB", help="Go on from a job's last checkpoint.")
@system_option
@seed_option
@set_option
@json_option
def run(experiment, resume_job, system, seed, overrides, as_json) -> None:
    """Submit EXPERIMENT, watch it, collect its files."""
    from scalebook import launch

    if bool(experiment) == bool(resume_job):
        raise UsageError("run: name an experiment, or a job to resume")
    if resume_job:
        job = launch.resume(resume_job)
    else:
        job = launch.submit(_resolve(experiment, system, seed, overrides))
    click.echo(f"job {job.id}", err=True)
    if not launch.watch(job).finished:
        return
    stem = job.collect()
    files = job.files()
    assert files is not None
    if as_json:
        click.echo(json.dumps({"job": job.id, "stem": str(stem), "csv": _shown(files.csv)}))
    else:
        click.echo(f"done: {_shown(files.csv)}")


@main.command()
@click.argument("experiment")
@system_option
@seed_option
@set_option
def resolve(experiment, system, seed, overrides) -> None:
    """Print the JSON one training process reads."""
    click.echo(json.dumps(_resolve(experiment, system, seed, overrides), indent=2))


@main.command()
@click.argument("experiment")
@system_option
@seed_option
@set_option
@json_option
def submit(experiment, system, seed, overrides, as_json) -> None:
    """Submit EXPERIMENT and return at once."""
    from scalebook import launch

    job = launch.submit(_resolve(experiment, system, seed, overrides))
    if as_json:
        click.echo(json.dumps({"job": job.id, "stem": str(job.stem)}))
    else:
        click.echo(f"job {job.id}; follow it with: scalebook watch {job.id}")


@main.command()
@click.argument("job")
def watch(job) -> None:
    """Follow JOB to its end. Ctrl-C detaches; the job goes on."""
    from scalebook import launch

    found = launch.find(job)
    if launch.watch(found).finished:
        click.echo(f"done: {found.collect()}")


@main.command()
@click.argument("job", required=False)
@json_option
def status(job, as_json) -> None:
    """State of JOB, or of every job submitted from this study."""
    from scalebook import launch
    from scalebook.launch.watch import describe

    found = [launch.find(job)] if job else launch.jobs()
    rows = [
        {
            "job": one.id,
            "experiment": one.resolved["experiment"],
            "system": one.resolved["system"],
            "state": one.state().value,
            "progress": describe(one.progress(), one.state()),
            "reason": one.reason(),
        }
        for one in found
    ]
    _print_rows(rows, as_json, "no job was submitted from this study")


@main.command()
@click.argument("job")
def cancel(job) -> None:
    """End every rank of JOB."""
    from scalebook import launch

    found = launch.find(job)
    found.cancel()
    click.echo(f"job {job} {found.state().value}")


@main.command()
@click.argument("job")
@click.option("-n", "--lines", default=40, show_default=True, help="How many lines.")
def logs(job, lines) -> None:
    """Last lines of what JOB printed."""
    from scalebook import launch

    click.echo(launch.find(job).logs(lines))


@main.command()
@click.argument("job", required=False)
def collect(job) -> None:
    """Check the files of JOB, or of every completed job."""
    from scalebook import launch
    from scalebook.launch import JobState

    found = [launch.find(job)] if job else launch.jobs()
    for one in found:
        if job or one.state() is JobState.COMPLETED:
            click.echo(str(one.collect()))


# --------------------------------------------------------------------------- data


@main.group()
def data() -> None:
    """The data set."""


@data.command()
def get() -> None:
    """Download CIFAR-10 from its authors' site and check it."""
    from tqdm import tqdm

    from scalebook.train import download

    root = contract.find_root()
    with tqdm(unit="B", unit_scale=True, desc="CIFAR-10", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        where = download.get(root / "data", progress=progress)
    click.echo(f"CIFAR-10 is in {_shown(where)}")


# --------------------------------------------------------------------------- results


@main.command()
@click.option("--all", "everything", is_flag=True, help="Trials in results/local too.")
@json_option
def runs(everything, as_json) -> None:
    """List the runs in results/ and what is wrong with any file."""
    from scalebook import results

    table = results.runs() if everything else results.runs(local=False)
    columns = [
        "stem",
        "kind",
        "status",
        "evidence",
        "system",
        "dataset",
        "epochs_done",
        "throughput",
        "final_val_acc",
    ]
    rows = json.loads(table[columns].to_json(orient="records"))
    _print_rows(rows, as_json, "no run is in results/; start one with: scalebook run EXPERIMENT")
    _tell_problems()


@main.group()
def trace() -> None:
    """Profiler traces."""


@trace.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def summary(files, as_json) -> None:
    """Say where the time of a trace goes."""
    from scalebook import traces

    for file in files:
        answer = traces.summary(file)
        click.echo(json.dumps(answer, indent=2) if as_json else traces.as_text(answer))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="Instead of results/plots.")
def figures(out) -> None:
    """Render the study's figures that are not current, as PNG (300 dpi) and SVG."""
    from scalebook.figures import static

    out = out or static.folder()
    names = static.stale(out)
    if not names:
        click.echo(f"every figure in {_shown(out)} is current")
        return
    for path in static.render(names, out):
        click.echo(_shown(path))


@main.command()
@json_option
def claims(as_json) -> None:
    """Hold the reported numbers against each other and against the machine's limits."""
    from scalebook.analysis import consistency

    rows = json.loads(consistency.check().to_json(orient="records"))
    _print_rows(rows, as_json, "nothing is reported in data/reported/")


# --------------------------------------------------------------------------- book


@main.command()
@click.option(
    "--run",
    "experiment",
    metavar="EXPERIMENT",
    help="First run EXPERIMENT through notebook 01_run, unless a finished run exists.",
)
def book(experiment) -> None:
    """Build the HTML book; notebooks that are not current are executed."""
    from scalebook.figures import static
    from scalebook.publish import build, first_run

    root = contract.find_root()
    if experiment:
        first_run.ensure(root, experiment, _pick_system("auto"))
    failed = build.build_book(root)
    if not failed:
        _tell_problems()
        if notice := static.stale_notice():
            click.echo(notice)
    sys.exit(failed)


@main.command()
@json_option
def doctor(as_json) -> None:
    """List what is here and what is missing, each with the command that mends it."""
    from scalebook import doctor as checks

    found = checks.examine()
    if as_json:
        click.echo(json.dumps([check.__dict__ for check in found], indent=2))
        return
    for check in found:
        mark = {True: "yes", False: "no "}[check.here]
        click.echo(f"{mark}  {check.name:<12} {check.found}")
        if check.mend:
            click.echo(f"     {'':<12} -> {check.mend}")


# --------------------------------------------------------------------------- helpers


def _resolve(experiment: str, system: str, seed: int | None, overrides: tuple[str, ...]) -> dict:
    loaded = study.load()
    settings = study.parse_overrides(overrides)
    return study.resolve(loaded, experiment, _pick_system(system), seed, settings)


def _pick_system(system: str) -> str:
    """Name of the system to use; ``auto`` is Slurm only where its controller answers."""
    if system != "auto":
        return system
    from scalebook.launch import slurm_answers

    systems = study.load().systems
    preferred = "slurm" if slurm_answers() else "local"
    for launcher in (preferred, "local"):
        for name, declared in systems.items():
            if declared.launcher == launcher:
                return name
    raise UsageError(
        f"--system auto: no Slurm controller answers here and study.yaml declares no local "
        f"system; there are {', '.join(systems)}"
    )


def _tell_problems() -> None:
    """Name every file of results that is left out or was mended, and why."""
    from scalebook import results

    for problem in results.problems().itertuples():
        place = ", ".join(
            f"{what} {value}"
            for what, value in (("row", problem.row), ("column", problem.column))
            if value is not None and value == value
        )
        said = f"{problem.file}{': ' + place if place else ''}: {problem.problem}"
        click.echo(f"{problem.severity}: {said}", err=True)


def _shown(path: Path) -> str:
    """Path as a person standing in the working directory would type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def _print_rows(rows: list[dict], as_json: bool, empty: str) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(empty)
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    header = [str(key).replace("_", " ") for key in rows[0]]
    widths = [max(len(row[i]) for row in [header, *cells]) for i in range(len(header))]
    for row in [header, *cells]:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths))
        click.echo(line.rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    main()
