"""What the modules of the ``scalebook`` command share: options, and how rows are printed."""

import contextlib
import csv
import io
import itertools
import json
import shutil
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from scalebook.train.privacy import printable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print the whole table as CSV.")
system_option = click.option(
    "--system",
    default="auto",
    show_default=True,
    help="A system of study.yaml; auto takes Slurm where it is set up, else local.",
)
seed_option = click.option("--seed", type=int, help="Instead of the study's first seed.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting."
)


def echo(text: object, err: bool = False) -> None:
    """Print what may hold names and lines of others, on standard error with `err`."""
    click.echo(printable(str(text)), err=err)


#: Seconds after which it is said what takes so long.
PATIENCE_S = 0.6


@contextlib.contextmanager
def working(first: str) -> Iterator[Callable[[str], None]]:
    """Say in a terminal what is being done, if it takes longer than a moment.

    Parameters
    ----------
    first : str
        What is done first, as ``reading results``. What is given to the ``with`` block takes what
        is done next.
    """
    timer = threading.Timer(0, str)

    def now(what: str) -> None:
        nonlocal timer
        timer.cancel()
        if not sys.stderr.isatty():  # nobody waits at a file or a pipe
            return
        timer = threading.Timer(PATIENCE_S, _say, [f"scalebook: {what} …"])
        timer.daemon = True
        timer.start()

    now(first)
    try:
        yield now
    finally:
        timer.cancel()


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(printable(line), file=sys.stderr)  # above a bar, where there is one


def shown(path: Path) -> str:
    """Path as a person standing in the working directory would type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def print_rows(rows: list[dict[str, Any]], as_json: bool, empty: str, as_csv: bool = False) -> None:
    """Print rows as a table, JSON or CSV, or the sentence `empty` where there is none."""
    if as_json:
        echo(json.dumps(rows, indent=2))
        return
    if not rows:
        echo(empty)
        return
    if as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        echo(text.getvalue().rstrip())
        return
    for line in _lines(rows):
        echo(line)


def with_content(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without columns that say nothing of any of them."""
    said = {name for row in rows for name, value in row.items() if value not in (None, "")}
    return [{name: value for name, value in row.items() if name in said} for row in rows]


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    cells = [[_cell(value) for value in row.values()] for row in rows]
    header = [str(key).replace("_", " ") for key in rows[0]]
    return as_table([header, *cells], _terminal_width())


class Redrawn:
    """A table that takes its own place in a terminal; in a file it stands once for each change."""

    def __init__(self) -> None:
        self._height = 0
        self._change: object = None

    def show(self, rows: list[dict[str, Any]], change: object) -> None:
        """Print the rows, in a file only where `change` is another than before."""
        lines = _lines(with_content(rows))
        if sys.stdout.isatty():
            # What has left the screen could not be overwritten: the newest jobs come last.
            most = shutil.get_terminal_size().lines - 2
            lines = lines if len(lines) <= most else [lines[0], "…", *lines[2 - most :]]
            above = f"\x1b[{self._height}F" if self._height else ""
            click.echo(f"{above}\x1b[J" + "\n".join(map(printable, lines)))
            self._height = len(lines)
        elif change != self._change:
            echo("\n".join(lines))
        self._change = change


def _terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_table(cells: list[list[str]], width: int | None) -> list[str]:
    """Lines of a table; with a `width`, columns of prose are wrapped so that it fits.

    Names and paths are there to be copied: they are broken only where nothing else helps. Where a
    row cannot fit at all, each becomes a paragraph that names its columns.
    """
    columns = list(zip(*cells))
    widths = [max(map(len, column)) for column in columns]
    words = [
        max((len(word) for text in column for word in text.split()), default=1)
        for column in columns
    ]
    spare = sum(widths) + 2 * (len(widths) - 1) - (width or sys.maxsize)
    for least in ([max(20, longest) for longest in words], [16] * len(columns)):
        room = [max(0, full - low) for full, low in zip(widths, least)]
        while spare > 0 and any(room):
            widest = room.index(max(room))
            widths[widest], room[widest], spare = widths[widest] - 1, room[widest] - 1, spare - 1
    if width and spare > 0:
        return [line for row in cells[1:] for line in _paragraph(cells[0], row, width)]
    lines = []
    for row in cells:
        parts = [textwrap.wrap(text, room) or [""] for text, room in zip(row, widths)]
        for pieces in itertools.zip_longest(*parts, fillvalue=""):
            line = "  ".join(piece.ljust(room) for piece, room in zip(pieces, widths))
            lines.append(line.rstrip())
    return lines


def _paragraph(header: list[str], row: list[str], width: int) -> list[str]:
    """A row as its first cell, then the others that hold something, each after its header."""
    named = [f"{name}: {text}" for name, text in zip(header[1:], row[1:]) if text]
    return textwrap.wrap("  ".join([row[0], *named]), width, subsequent_indent="  ")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return printable(str(value))
