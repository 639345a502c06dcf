"""The ``scalebook`` command: thin, every answer comes from a room of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalebook import __version__, contract, study
from scalebook.cli import documents, jobs
from scalebook.cli.parts import csv_option, echo, json_option, print_rows, shown, working
from scalebook.contract import ScalebookError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


#: What one does with the commands: so ``--help`` lists them.
SECTIONS = {
    "Begin": ("new", "doctor", "data", "kernel"),
    "Run": ("run", "submit", "watch", "status", "logs", "cancel", "collect", "fetch"),
    "Look": ("runs", "trace", "figures", "values", "claims", "report"),
    "Publish": ("book", "pdf", "slides", "check", "release"),
    "For scripts": ("resolve", "system", "specification"),
}


class Cli(click.Group):
    """Lists commands by `SECTIONS`; turns an expected failure into one line and its exit status."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, their columns under each other."""
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{name:{width}}", self.commands[name].get_short_help_str(59))
                        for name in names
                    ]
                )

    def invoke(self, context: click.Context) -> Any:
        """Run the command; a `ScalebookError` becomes one line on standard error."""
        try:
            return super().invoke(context)
        except ScalebookError as error:
            echo(f"scalebook: {error}", err=True)
            context.exit(error.exit_status)
        except BrokenPipeError:
            context.exit(1)
        except OSError as error:  # a full disk, a folder that may not be written
            if error.filename is None:
                raise
            echo(f"scalebook: {error.filename}: {error.strerror}", err=True)
            context.exit(1)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scalebook")
def main() -> None:
    """A scaling study you can read, rerun and defend."""


for _command in (*jobs.COMMANDS, *documents.COMMANDS):
    main.add_command(_command)


# --------------------------------------------------------------------------- data


@main.group()
def data() -> None:
    """Images to train on."""


@data.command()
def get() -> None:
    """Download CIFAR-10 from its authors' site and check it."""
    from tqdm import tqdm

    from scalebook.train.images import download

    loaded = study.load()
    asked = study.image_sources(loaded)
    official = [images["dir"] for images in asked if images["source"] in ("auto", "cifar10")]
    folders = set(official or ["data"])
    with tqdm(unit="B", unit_scale=True, desc="CIFAR-10", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        places = [download.get(loaded.root / folder, progress) for folder in sorted(folders)]
    for place in places:
        echo(f"CIFAR-10 is in {shown(place)}")


# --------------------------------------------------------------------------- results


@main.command()
@click.option("--all", "everything", is_flag=True, help="Trials in results/local too.")
@json_option
@csv_option
def runs(everything: bool, as_json: bool, as_csv: bool) -> None:
    """List the runs in results/ and what is wrong with any file."""
    with working("reading results"):
        from scalebook import results

        table = results.runs() if everything else results.runs(local=False)
        problems = results.problems()
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
    jobs = table["job_id"].astype(object)
    for row, job in zip(rows, jobs):  # what was reported has no files, and so no stem
        if not as_json:
            row["stem"] = row["stem"] or f"job {job}"
    none = "no run is in results/; start one with: scalebook run EXPERIMENT"
    print_rows(rows, as_json, none, as_csv)
    _tell(problems)


@main.group()
def trace() -> None:
    """Where time goes, from profiler traces."""


@trace.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--measure-cpu", is_flag=True, help="Hold the trace against this machine's CPU.")
@click.option(
    "--csv", "folder", type=click.Path(path_type=Path), help="Write the tables there, too."
)
@json_option
def summary(files: tuple[Path, ...], measure_cpu: bool, folder: Path | None, as_json: bool) -> None:
    """Say where the time of a trace goes. Several files are compared as ranks of one job."""
    with working(f"reading {_listed(files)}") as now:
        from scalebook import traces

        peak = None
        if measure_cpu:
            now("measuring this machine's CPU")
            peak = traces.measured_cpu()
            now(f"reading {_listed(files)}")
        alone = len(files) == 1
        answer = traces.summary(files[0], peak) if alone else traces.summaries(files, peak)
        if folder is not None:
            traces.write_tables(files, folder)
    if as_json:
        echo(json.dumps(answer, indent=2, allow_nan=False))
        return
    for trace in answer.get("files", [answer]):
        echo(traces.as_text(trace) + "\n" * (len(files) > 1))
    if len(files) > 1:
        job = answer["job"]
        echo(traces.job_as_text(job) if job else f"no ranks: {answer['job_problem']}")


@trace.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Packed where it ends in .gz."
)
@json_option
def merge(files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write the traces of a job's ranks into one, for Perfetto. All times are on one clock."""
    with working(f"merging {_listed(files)}"):
        from scalebook import traces

        answer = traces.merge(list(files), out)
    if as_json:
        echo(json.dumps(answer, indent=2))
    else:
        count = f"{answer['events']:,} events of {len(answer['ranks'])} ranks"
        echo(f"{answer['file']}: {count}; open it in https://ui.perfetto.dev")


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
def diff(before: Path, after: Path, by: str, as_json: bool) -> None:
    """Say what became faster or slower from BEFORE to AFTER. Per step; also what is new or gone."""
    with working(f"reading {_listed([before, after])}"):
        from scalebook import traces

        answer = traces.diff(before, after, by)
    if as_json:
        echo(json.dumps(answer, indent=2, allow_nan=False))
    else:
        echo(traces.diff_as_text(answer))


@main.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="Instead of results/plots.")
def figures(names: tuple[str, ...], out: Path | None) -> None:
    """Render the figures NAMES, or all that are not current. Each as PNG (300 dpi) and SVG."""
    with working("looking which figures are current") as now:
        from scalebook.figures import plot_files

        wanted = list(names) or plot_files.stale(out)
        now(f"drawing {', '.join(wanted)}")
        paths = plot_files.update(wanted, out)
    if not paths:
        there = shown(out or plot_files.folder())
        echo(
            f"{', '.join(names)}: nothing to show yet"
            if names
            else f"every figure in {there} is current"
        )
    for path in paths:
        echo(shown(path))


@main.command()
@click.option("--rules", "by_rule", is_flag=True, help="The twelve rules of Hoefler and Belli.")
@json_option
@csv_option
def claims(by_rule: bool, as_json: bool, as_csv: bool) -> None:
    """Say which reported claims hold. Each is held against the others, data and machine limits."""
    with working("holding what was reported against the data"):
        from scalebook.analysis import CHECK_HEADERS, benchmarking_rules
        from scalebook.values import check

        if by_rule:
            table, empty = benchmarking_rules.rules(), "nothing is reported or measured"
            columns = list(benchmarking_rules.COLUMNS)
        else:
            table, empty = check(), "nothing is reported in data/reported/"
            columns = list(CHECK_HEADERS)
    table = table if as_json else table[columns]
    print_rows(json.loads(table.to_json(orient="records")), as_json, empty, as_csv)


# --------------------------------------------------------------------------- book


@main.command()
@click.option(
    "--run",
    "experiment",
    metavar="EXPERIMENT",
    help="First run EXPERIMENT through notebook 01_run, unless a finished run exists; auto: the "
    "one that study.yaml gives this notebook, else quick, else its first.",
)
def book(experiment: str | None) -> None:
    """Build the HTML book. Notebooks that are not current are executed."""
    from scalebook.publish import build
    from scalebook.train import locking

    root = contract.find_root()
    # Two at once would start the first run twice and write each other's pages.
    with locking.alone(root / ".scalebook" / "book.lock", "building the book"):
        if experiment:
            from scalebook.publish.notebooks import first_run

            loaded = study.load(root)
            chosen = first_run.chosen(loaded) if experiment == "auto" else experiment
            first_run.ensure(root, chosen)
        with working("looking what of the book is current"):
            page = build.build_book(root)
        echo(page)
    with working("looking which figures are current"):
        from scalebook import results
        from scalebook.figures import plot_files

        problems, notice = results.problems(), plot_files.stale_notice()
    _tell(problems)
    if notice:
        echo(notice)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """List what is here and what is missing, and how to mend it."""
    with working("looking what is here"):
        from scalebook.project import doctor as checks

        found = checks.examine()
    if as_json:
        echo(json.dumps([check.__dict__ for check in found], indent=2))
        return
    for check in found:
        mark = {True: "yes", False: "no "}[check.here]
        echo(f"{mark}  {check.name:<12} {check.found}")
        if check.mend:
            echo(f"     {'':<12} -> {check.mend}")


@main.group()
def kernel() -> None:
    """The kernel of this environment, for a Jupyter outside it."""


@kernel.command()
@click.option("--user", is_flag=True, help="For you, in every Jupyter you use; so if left out.")
@click.option(
    "--prefix",
    metavar="P",
    type=click.Path(path_type=Path),
    help="For all users of the Jupyter that is installed in P.",
)
@click.option("--name", metavar="N", help="Instead of scalebook, which the notebooks name.")
@click.option(
    "--study",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The one study it is for; else the one around each notebook.",
)
def install(user: bool, prefix: Path | None, name: str | None, folder: Path | None) -> None:
    """Let another Jupyter, such as a Hub's, use this environment."""
    if user and prefix:
        raise click.UsageError("take --user or --prefix, not both")
    from scalebook.project import kernel as kernels

    root = contract.find_root(folder) if folder else None
    echo(kernels.install(name or kernels.NAME, prefix, root))
    if prefix and (closed := kernels.closed_folder()):
        echo(f"note: other users cannot start it: {closed} is its owner's alone", err=True)


def _listed(files: Iterable[Path]) -> str:
    return ", ".join(path.name for path in files)


def _tell(problems: pd.DataFrame) -> None:
    """Name every file of results that is left out or was mended, and why."""
    for problem in problems.itertuples():
        place = ", ".join(
            f"{what} {value}"
            for what, value in (("row", problem.row), ("column", problem.column))
            if value is not None and value == value
        )
        said = f"{problem.file}{': ' + place if place else ''}: {problem.problem}"
        echo(f"{problem.severity}: {said}", err=True)
