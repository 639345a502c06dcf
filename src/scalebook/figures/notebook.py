"""Figures and tables in a notebook, as the book and JupyterLab can both show them."""

import html
import json
import numbers
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import display

from scalebook import contract
from scalebook.analysis.study_queries import labelled
from scalebook.contract import UsageError

#: Class of a caption as `show` displays it; a page of the book sets and numbers its own.
CAPTION = "sb-caption"
MIME = "application/vnd.plotly.v1+json"

#: A cell that holds more than a name or a number, in the HTML of pandas.
_LONG = re.compile(r"<td>([^<]{60,})</td>")
#: A cell of several words, such as the label of a system.
_WORDS = re.compile(r"<td>([^\W\d][^<(]{15,58})</td>")
#: An interval behind its number.
_INTERVAL = re.compile(r"(?<=\d )(\(-?[\d.,]+–-?[\d.,]+\))(?=</td>)")
#: Where a sentence of a caption ends.
_SENTENCE = re.compile(r"(?<=[.:])\s+(?=[A-Z])")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def use_study(folder: str | None) -> None:
    """Work on the study in `folder` from now on; None keeps the one around this place."""
    if folder and not isinstance(folder, (str, Path)):
        raise UsageError(f"study: {folder!r} is not a folder's name")
    if folder:
        os.environ["SCALEBOOK_ROOT"] = str(Path(folder).expanduser().resolve())
    contract.find_root()


def bundle(figure: go.Figure) -> dict[str, Any]:
    """Output of a notebook cell that shows a figure: plotly's JSON, and the text beside it.

    JupyterLab draws the JSON, and so does the book, without a request to any host.
    """
    # The renderer would be asked if somebody shows a figure without this function.
    pio.renderers.default = "plotly_mimetype"
    drawing = json.loads(figure.to_json())
    meta = figure.layout.meta or {}
    return {MIME: {"data": [], **drawing}, "text/plain": meta.get("alt", "figure")}


def show(figure: go.Figure) -> None:
    """Display a figure with its caption below.

    Parameters
    ----------
    figure : Figure
        From this package; its ``layout.meta`` holds alternative text and caption.
    """
    display(bundle(figure), raw=True)
    meta = figure.layout.meta or {}
    caption = meta.get("caption")
    if caption:
        message = meta.get("message", caption)
        rest = caption.removeprefix(message).strip()
        fold = details(rest)
        show_markup(
            f'<div class="{CAPTION}"><p><em>{html.escape(message)}</em></p>{fold if rest else ""}'
            "</div>",
            f"*{as_markdown(caption)}*",
        )


def details(text: str) -> str:
    """HTML of the rest of a caption, folded away; what it enumerates is a list."""
    parts = [""]
    for sentence in _SENTENCE.split(text):
        lead, colon, rest = sentence.partition(": ")
        items = [html.escape(item.rstrip(".")) for item in rest.split("; ")]
        if len(items) < 3:
            parts[-1] += f" {html.escape(sentence)}"
        else:
            parts[-1] += f" {html.escape(lead)}{colon.rstrip()}"
            parts += [f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>", ""]
    shown = (
        part if part.startswith("<ul>") else f"<p>{part.strip()}</p>" for part in parts if part
    )
    return f"<details><summary>Details</summary>{''.join(shown)}</details>"


def show_markup(markup: str, markdown: str) -> None:
    """Display HTML, and Markdown beside it for documents that are printed."""
    data = {"text/html": markup, "text/markdown": markdown, "text/plain": markdown}
    display(data, raw=True)


def as_markdown(text: str) -> str:
    """Text of one line that Markdown shows as it is, whatever it holds."""
    return _PUNCTUATION.sub(r"\\\g<0>", " ".join(text.split()))


def show_table(
    table: pd.DataFrame,
    headers: Mapping[str, str] | None = None,
    digits: Mapping[str, int] | int = 1,
    empty: str = "Nothing to show yet.",
) -> None:
    """Display a table as HTML, and as Markdown for print; every cell is escaped.

    Parameters
    ----------
    table : DataFrame
        What to show.
    headers : mapping of str to str, optional
        Columns to show and their headers with units; all under their own name where left out. A
        column whose ends, as ``speedup_low`` and ``speedup_high``, are in `table` and are not shown
        themselves has them beside its values.
    digits : int or mapping of str to int
        Decimal places of floats, for all columns or for each by its name in `table`.
    empty : str
        Shown where the table has no row.
    """
    shown = _texts(table, headers, digits)
    markdown = f"*{as_markdown(empty)}*" if table.empty else _markdown(shown)
    show_markup(show_table_html(table, headers, digits, empty), markdown)


def show_table_html(
    table: pd.DataFrame,
    headers: Mapping[str, str] | None = None,
    digits: Mapping[str, int] | int = 1,
    empty: str = "Nothing to show yet.",
) -> str:
    """HTML of `show_table`."""
    if table.empty:
        return f"<p><em>{html.escape(empty)}</em></p>"
    shown = _texts(table, headers, digits)
    markup = shown.to_html(index=False, escape=True, border=0, justify="left")
    markup = _LONG.sub(r'<td class="sb-prose">\1</td>', markup)
    markup = _WORDS.sub(r'<td class="sb-words">\1</td>', markup)
    return _INTERVAL.sub(r'<span class="sb-interval">\1</span>', markup)


def _markdown(shown: pd.DataFrame) -> str:
    rows = [shown.columns, ["---"] * len(shown.columns), *shown.itertuples(index=False, name=None)]
    return "\n".join(
        f"| {' | '.join(row if number == 1 else map(as_markdown, row))} |"
        for number, row in enumerate(rows)
    )


def _texts(
    table: pd.DataFrame, headers: Mapping[str, str] | None, digits: Mapping[str, int] | int
) -> pd.DataFrame:
    """What the cells of a table show."""
    headers = headers or {name: str(name) for name in table.columns}
    table = labelled(table)
    if "n" in table:  # the ends of a single value are no interval
        ends = [name for name in table if str(name).endswith(("_low", "_high"))]
        table = table.assign(**{name: table[name].where(table["n"] > 1) for name in ends})
    shown = {}
    for name, header in headers.items():
        places = digits if isinstance(digits, int) else digits.get(name, 1)
        shown[header] = [cell_text(value, places) for value in table[name]]
        low, high = (f"{str(name).removesuffix('_median')}_{end}" for end in ("low", "high"))
        if low in table and high in table and low not in headers:
            shown[header] = [
                f"{text} ({cell_text(first, places)}–{cell_text(last, places)})"
                if pd.notna(first) and pd.notna(last)
                else text
                for text, first, last in zip(shown[header], table[low], table[high])
            ]
    return pd.DataFrame(shown)


def cell_text(value: object, digits: int) -> str:
    """What a cell of a table shows of a value; a dash where there is none."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return str(value)
