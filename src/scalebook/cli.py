"""The ``scalebook`` command: thin, every answer comes from a room of the package."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import click

from scalebook import __version__, cli_documents, contract, study
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
        except OSError as error:  # a full disk, a folder that may not be written
            if error.filename is None:
                raise
            click.echo(f"scalebook: {error.filename}: {error.strerror}", err=True)
            context.exit(1)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scalebook")
def main() -> None:
    """A scaling study you can read, rerun and defend."""


for _command in cli_documents.COMMANDS:
    main.add_command(_command)


# --------------------------------------------------------------------------- jobs


@main.command()
@click.argument("experiment", required=False)
@click.option("--resume", "resume_job", metavar="JOB", help="Go on from a job's last checkpoint.")
@click.option("--all", "everything", is_flag=True,
              help="Every experiment that is evidence on the system, with every seed; what is "
                   "finished is not run again.")  # fmt: skip
@click.option("--campaign", metavar="NAME", help="With --all: a campaign of study.yaml instead.")
@click.option("--dry-run", is_flag=True, help="With --all: list what would run.")
@click.option("--arrays", is_flag=True, help="With --all on Slurm: one job array an experiment.")
@system_option
@seed_option
@set_option
@json_option
def run(
    experiment, resume_job, everything, campaign, dry_run, arrays, system, seed, overrides, as_json
) -> None:
    """Submit EXPERIMENT, watch it, collect its files."""
    from scalebook import launch

    if [bool(experiment), bool(resume_job), everything].count(True) != 1:
        raise UsageError("run: name an experiment, a job to resume, or --all")
    if everything:
        return _run_all(campaign, dry_run, arrays, system, seed, overrides, as_json)
    if campaign or dry_run or arrays:
        raise UsageError("run: --campaign, --dry-run and --arrays go with --all")
    if resume_job:
        job = launch.resume(resume_job)
    else:
        job = launch.submit(_resolve(experiment, system, seed, overrides))
    click.echo(f"job {job.id}", err=True)
    if not launch.watch(job).finished:
        return
    collected = launch.collect(job)
    files = collected.files
    if as_json:
        click.echo(json.dumps({"job": job.id, "stem": str(files.stem), "csv": _shown(files.csv)}))
    else:
        click.echo(f"done: {_shown(files.csv)}")
    if collected.note:
        click.echo(f"note: {collected.note}", err=True)


@main.command()
@click.argument("experiment")
@system_option
@seed_option
@set_option
@click.option("--job", "in_job", is_flag=True, help="Note it for this Slurm job; print its path.")
def resolve(experiment, system, seed, overrides, in_job) -> None:
    """Print the JSON one training process reads."""
    if in_job:
        from scalebook.launch import notes

        settings = study.parse_overrides((*notes.environment_overrides(), *overrides))
        root = contract.find_root()
        path = notes.Allocation.here().resolve(root, experiment, system, seed, settings)
        click.echo(path.relative_to(root))
        return
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

    damaged: list[str] = []
    found = [launch.find(job)] if job else launch.jobs(damaged=damaged)
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
    print_rows(rows, as_json, "no job was submitted from this study")
    for line in damaged:
        click.echo(f"error: {line}", err=True)
    sys.exit(bool(damaged))


@main.command()
@click.argument("job")
def cancel(job) -> None:
    """End every rank of JOB."""
    from scalebook import launch

    found = launch.find(job)
    found.cancel()
    state = found.state()
    if state.finished:
        click.echo(f"job {found.id} {state.value}")
    else:
        click.echo(f"job {found.id} was asked to end and is still {state.value}")


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
    """Check the files of JOB, or of every completed job; put Slurm's accounting beside them."""
    from scalebook import launch
    from scalebook.launch import JobState

    found = [launch.find(job)] if job else launch.jobs()
    failed = False
    for one in found:
        if not job and one.state() is not JobState.COMPLETED:
            continue
        try:
            collected = launch.collect(one)
        except ScalebookError as error:
            failed = True
            click.echo(f"scalebook: {error}", err=True)
            continue
        click.echo(str(collected.files.stem))
        if collected.note:
            click.echo(f"note: {collected.note}", err=True)
    sys.exit(failed)


@main.command()
@click.argument("source", metavar="USER@HOST:DIR")
@click.option("--ssh-option", "ssh_options", multiple=True, metavar="KEY=VALUE",
              help="An option of ssh, such as Port=2222.")  # fmt: skip
@click.option("--trials", is_flag=True, help="Bring results/local too.")
@json_option
def fetch(source, ssh_options, trials, as_json) -> None:
    """Bring the results of the study in DIR on HOST: rsync over ssh, checked, nothing lost."""
    from scalebook.launch import fetch as bring

    said = bring.fetch(source, contract.find_root(), ssh_options, trials)
    click.echo(json.dumps(vars(said), indent=2) if as_json else bring.as_text(said))
    sys.exit(bool(said.left))


@main.command()
@system_option
def system(system) -> None:
    """Print what the study knows of a system, as JSON."""
    from scalebook import launch
    from scalebook.launch import notes

    loaded = study.load()
    in_job = system == "auto" and os.environ.get("SLURM_CLUSTER_NAME")
    name = notes.system_of(loaded, in_job) if in_job else None
    name = name or launch.pick_system(loaded, system)
    facts = loaded.facts(name)
    known = facts.model_dump(mode="json") if facts else None
    click.echo(json.dumps({"system": name, "facts": known}, indent=2))


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
    print_rows(rows, as_json, "no run is in results/; start one with: scalebook run EXPERIMENT")
    _tell_problems()


@main.group()
def trace() -> None:
    """Profiler traces."""


@trace.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--measure-cpu", is_flag=True, help="Hold the trace against this machine's CPU.")
@json_option
def summary(files, measure_cpu, as_json) -> None:
    """Say where the time of a trace goes; several files are compared as ranks of one job."""
    from scalebook import traces

    peak = traces.measured_cpu() if measure_cpu else None
    answer = traces.summary(files[0], peak) if len(files) == 1 else traces.summaries(files, peak)
    if as_json:
        click.echo(json.dumps(answer, indent=2, allow_nan=False))
        return
    for one in answer.get("files", [answer]):
        click.echo(traces.as_text(one) + "\n" * (len(files) > 1))
    if len(files) > 1:
        job = answer["job"]
        click.echo(traces.job_as_text(job) if job else f"no ranks: {answer['job_problem']}")


@trace.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["operator", "kernel", "family", "module", "phase"]),
    default="operator",
    show_default=True,
    help="What is compared.",
)
@json_option
def diff(before, after, by, as_json) -> None:
    """Say what became faster or slower, appeared or vanished from BEFORE to AFTER, per step."""
    from scalebook import traces

    answer = traces.diff(before, after, by)
    if as_json:
        click.echo(json.dumps(answer, indent=2, allow_nan=False))
    else:
        click.echo(traces.diff_as_text(answer))


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
@click.option("--rules", "by_rule", is_flag=True, help="The twelve rules of Hoefler and Belli.")
@json_option
def claims(by_rule, as_json) -> None:
    """Hold what was reported against itself, the data and the machine's limits."""
    from scalebook.analysis import consistency, rules

    if by_rule:
        table, shown, empty = rules.rules(), rules.COLUMNS, "nothing is reported or measured"
    else:
        table, empty = consistency.check(), "nothing is reported in data/reported/"
        shown = tuple(consistency.CHECK_HEADERS)
    table = table if as_json else table[list(shown)]
    print_rows(json.loads(table.to_json(orient="records")), as_json, empty)


# --------------------------------------------------------------------------- book


@main.command()
@click.option(
    "--run",
    "experiment",
    metavar="EXPERIMENT",
    help="First run EXPERIMENT through notebook 01_run, unless a finished run exists; auto: the "
    "one that study.yaml gives this notebook, else quick, else its first.",
)
def book(experiment) -> None:
    """Build the HTML book; notebooks that are not current are executed."""
    from scalebook import launch
    from scalebook.figures import static
    from scalebook.publish import build, first_run

    root = contract.find_root()
    with build.alone(root):
        if experiment:
            loaded = study.load(root)
            chosen = first_run.chosen(loaded) if experiment == "auto" else experiment
            first_run.ensure(root, chosen, launch.pick_system(loaded))
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


def _run_all(campaign, dry_run, arrays, system, seed, overrides, as_json) -> None:
    """Run a campaign to its end; exit status 1 and a line for each run that failed."""
    from scalebook import launch
    from scalebook.launch import campaign as campaigns

    root = contract.find_root()
    settings = study.parse_overrides(overrides)
    planned = campaigns.plan(
        root, launch.pick_system(study.load(root), system), campaign, seed, settings
    )
    if dry_run:
        print_rows(campaigns.as_rows(planned), as_json, "nothing to run")
        return
    try:
        outcomes = campaigns.run(
            planned, root, arrays, tell=lambda line: click.echo(line, err=True)
        )
    except KeyboardInterrupt:
        raise ScalebookError(
            "interrupted; what was submitted goes on: call the same command again, what is "
            "finished is not run again"
        ) from None
    done = [one.stem for one in outcomes if one.stem]
    if as_json:
        finished = [one.stem for one in planned if one.stem]
        failed = {str(one.planned): one.problem for one in outcomes if one.problem}
        click.echo(json.dumps({"finished": finished, "ran": done, "failed": failed}, indent=2))
    else:
        for stem in done:
            click.echo(f"done: {stem}")
    for one in outcomes:
        if one.problem:
            click.echo(f"scalebook: {one.planned}: {one.problem}", err=True)
    sys.exit(any(one.problem for one in outcomes))


def _resolve(experiment: str, system: str, seed: int | None, overrides: tuple[str, ...]) -> dict:
    from scalebook import launch

    loaded = study.load()
    settings = study.parse_overrides(overrides)
    return study.resolve(loaded, experiment, launch.pick_system(loaded, system), seed, settings)


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


def print_rows(rows: list[dict], as_json: bool, empty: str) -> None:
    """Print rows as a table or as JSON, or the sentence `empty` where there is none."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(empty)
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    header = [str(key).replace("_", " ") for key in rows[0]]
    for line in as_table([header, *cells], _terminal_width()):
        click.echo(line)


def _terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_table(cells: list[list[str]], width: int | None) -> list[str]:
    """Lines of a table; with a `width`, columns of prose are wrapped so that it fits.

    Names and paths are there to be copied: they are broken only where nothing else helps.
    """
    columns = list(zip(*cells))
    widths = [max(map(len, column)) for column in columns]
    words = [max((len(word) for text in column for word in text.split()), default=1)
             for column in columns]  # fmt: skip
    spare = sum(widths) + 2 * (len(widths) - 1) - (width or sys.maxsize)
    for least in ([max(20, longest) for longest in words], [16] * len(columns)):
        room = [max(0, full - low) for full, low in zip(widths, least)]
        while spare > 0 and any(room):
            widest = room.index(max(room))
            widths[widest], room[widest], spare = widths[widest] - 1, room[widest] - 1, spare - 1
    lines = []
    for row in cells:
        parts = [textwrap.wrap(text, room) or [""] for text, room in zip(row, widths)]
        for pieces in itertools.zip_longest(*parts, fillvalue=""):
            line = "  ".join(piece.ljust(room) for piece, room in zip(pieces, widths))
            lines.append(line.rstrip())
    return lines


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
