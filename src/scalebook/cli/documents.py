"""Commands that make documents; `scalebook.cli` adds each of `COMMANDS` to its group."""

import json
import sys
from pathlib import Path

import click

from scalebook import contract
from scalebook.cli.parts import echo, json_option, print_rows, working


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--title", default="", help="Of the study and its book; the folder's name if none.")
def new(folder: Path, title: str) -> None:
    """Start a study of your own in FOLDER, which is new or empty."""
    from scalebook.project import new_study

    echo(new_study.create(folder, title))


@click.command()
@click.argument("part", default="")
@json_option
def values(part: str, as_json: bool) -> None:
    """List the numbers that prose may ask for by key. With PART, those whose key holds it."""
    with working("working out the numbers"):
        from scalebook.values import ledger

        numbers = sorted(ledger().items())
    rows = [
        {"key": key, "value": number.value if as_json else number.text, "unit": number.unit,
         "kind": number.kind}
        for key, number in numbers
        if part in key
    ]  # fmt: skip
    for row in [] if as_json else rows:
        del row["unit"]  # the text has it
    print_rows(rows, as_json, f"no key holds {part!r}" if part else "there is no number yet")


@click.command()
def slides() -> None:
    """Build the slides: a deck for a browser, and a PDF of it."""
    with working("building the deck"):
        from scalebook.publish.slides import deck

        paths = deck.build(contract.find_root(), lambda line: echo(line, err=True))
    for path in paths:
        echo(path)


@click.command()
def pdf() -> None:
    """Typeset the documents as PDFs. Those to release go to docs/."""
    with working("typesetting the documents"):
        from scalebook.publish import pdf as typesetting

        typesetting.build_pdfs(contract.find_root())


@click.command()
def specification() -> None:
    """Make the tables of docs/SYSTEM.md anew. From facts about machines and from the runs."""
    with working("making the tables"):
        from scalebook.project import specification as page

        changed = page.refresh(contract.find_root())
    echo(f"{page.FILE}: {'written' if changed else 'current'}")


@click.command()
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), help="Instead of _build/reports/.")
def report(run: str, out: Path | None) -> None:
    """Write RUN as one HTML file to mail. RUN is a stem, a job id, or how it begins."""
    with working("looking for the run") as now:
        from scalebook import results

        stem = results.find(run)  # before the rest is loaded, which takes a while
        now(f"writing the report of {stem}")
        from scalebook.publish import report as reporting

        path = reporting.write(stem, contract.find_root(), out)
    echo(path)


@click.command()
@json_option
def check(as_json: bool) -> None:
    """List the deliverables: current, or what to do about them."""
    with working("looking what is to be handed over") as now:
        from scalebook.project import deliverables

        found = deliverables.check(contract.find_root(), now)
    if as_json:
        echo(json.dumps([deliverable._asdict() for deliverable in found], indent=2))
    else:
        width = max(len(deliverable.name) for deliverable in found)
        for deliverable in found:
            echo(f"{deliverable.status:<7}  {deliverable.name:<{width}}  {deliverable.found}")
            if deliverable.mend:
                echo(f"{'':<7}  {'':<{width}}  -> {deliverable.mend}")
    sys.exit(any(deliverable.fails for deliverable in found))


@click.command()
@click.argument("version")
def release(version: str) -> None:
    """Check everything, tag VERSION, pack an archive.

    It holds book, PDFs, results and their checksums.
    """
    from scalebook.project import release as releasing

    echo(releasing.release(contract.find_root(), version, lambda line: echo(line, err=True)))


COMMANDS: list[click.Command] = [new, values, pdf, slides, specification, report, check, release]
