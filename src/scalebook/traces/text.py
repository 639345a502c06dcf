"""Answers for a terminal, laid out by ``text.txt.j2``."""

import functools
from pathlib import Path
from typing import Any

import jinja2

#: Rows and widest name of the list of kernels or operators.
ROWS, WIDEST = 10, 72
#: What the rows of a difference are called where their own name says little.
_DIFFERENT = {
    "dur": "on the host", "span": "on the device", "exposed": "  of it alone",
    "host": "  for the host", "gap": "  between two", "rest": "  rest", "input": "  for input",
}  # fmt: skip


def as_text(summary: dict[str, Any]) -> str:
    """Lay out what `scalebook.traces.summary` answers as lines of text.

    Names are untrusted: whatever could steer a terminal is replaced.
    """
    merged = summary["by_operator"] | summary["by_kernel"]
    return _filled("summary", **summary, time_us=summary["time"], merged=merged)


def job_as_text(job: dict[str, Any]) -> str:
    """Lay out ``job`` of what `scalebook.traces.summaries` answers."""
    return _filled("job", **job)


def diff_as_text(diff: dict[str, Any]) -> str:
    """Lay out what `scalebook.traces.diff` answers."""
    return _filled("diff", **diff, rows=2 * ROWS, labels=_DIFFERENT)


def _filled(part: str, **answer: Any) -> str:
    text = _template().render(**{"rows": ROWS, **answer, "part": part})
    return "\n".join(line.rstrip() for line in text.splitlines())


@functools.cache
def _template() -> jinja2.Template:
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"f": format, "safe_name": _safe}
    return environment.get_template("text.txt.j2")


def _safe(name: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."
