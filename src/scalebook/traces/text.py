"""A summary for a terminal."""

from __future__ import annotations

from typing import Any

#: Rows and widest name of the list of kernels or operators.
ROWS, WIDEST = 10, 72


def as_text(summary: dict[str, Any]) -> str:
    """Lay out what `scalebook.traces.summary` answers as lines of text.

    Names are untrusted: whatever could steer a terminal is replaced.
    """
    time, total = summary["time"], summary["total_us"] or 1.0
    what = _names(summary["devices"]) or summary["device"].upper()
    lines = [f"{_safe(summary['file'])}: {what}, {summary['events']:,} events", ""]
    for key, value in time.items():
        share = 100 * value / (time["span_us"] or 1.0)
        lines.append(f"{key.removesuffix('_us'):<16}{value / 1e3:>12.3f} ms {share:>6.1f} %")
    by_operator, by_kernel = summary["by_operator"], summary["by_kernel"]
    lines += [
        "",
        f"{'share of time':<16}{'by operator':>12}{'by kernel name' * bool(by_kernel):>18}",
    ]
    for family in by_operator | by_kernel:
        line = f"{family:<16}{100 * by_operator.get(family, 0.0) / total:>10.1f} %"
        if by_kernel:
            line += f"{100 * by_kernel.get(family, 0.0) / total:>16.1f} %"
        lines.append(line)
    rows = summary["top_kernels"] or summary["top_operators"]
    lines += ["", f"{'time':>12} {'share':>8} {'calls':>7}  longest"]
    for row in rows[:ROWS]:
        lines.append(
            f"{row['total_us'] / 1e3:>9.3f} ms {100 * row['share']:>6.1f} % {row['calls']:>7}  "
            f"{_safe(row['name'])}"
        )
    dropped = [f"{count} {reason}" for reason, count in summary["dropped"].items()]
    if dropped:
        lines += ["", f"events left out: {', '.join(dropped)}"]
    return "\n".join(line.rstrip() for line in [*lines, "", summary["verdict"]])


def _names(devices: list[str]) -> str:
    return ", ".join(_safe(name) for name in dict.fromkeys(devices))


def _safe(name: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."
