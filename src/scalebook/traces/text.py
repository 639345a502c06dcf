"""Answers for a terminal."""

from typing import Any

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
    time, total = summary["time"], summary["total_us"] or 1.0
    what = _names(summary["devices"]) or summary["device"].upper()
    lines = [f"{_safe(summary['file'])}: {what}, {summary['events']:,} events", ""]
    for key, value in time.items():
        lines.append(_time(key.removesuffix("_us"), value, time["span_us"]))
    if summary["device"] == "gpu":
        for key, label in (("host_us", "for the host"), ("gap_us", "between two"),
                          ("rest_us", "rest")):  # fmt: skip
            lines.append(_time(f"  {label}", summary["idle"][key], time["span_us"]))
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
    lines += ["", "share of time    by phase"]
    lines += [
        f"{phase:<16}{100 * value / total:>10.1f} %" for phase, value in summary["by_phase"].items()
    ]
    rows = summary["top_kernels"] or summary["top_operators"]
    lines += ["", f"{'time':>12} {'share':>8} {'calls':>7}  longest"]
    for row in rows[:ROWS]:
        lines.append(
            f"{row['total_us'] / 1e3:>9.3f} ms {100 * row['share']:>6.1f} % {row['calls']:>7}  "
            f"{_safe(row['name'])}"
        )
    lines += _memory(summary["memory"])
    cost = summary.get("profiler")
    if cost:
        line = (
            f"a step under the profiler took {cost['recorded_step_time_s'] * 1e3:.3f} ms, one "
            f"without it {cost['other_step_time_s'] * 1e3:.3f} ms: {cost['ratio']:.2f} times as "
            "long"
        )
        if cost["ratio"] < 1:
            line += ", so its cost is less than steps differ by chance"
        lines += ["", line]
    dropped = [f"{count} {reason}" for reason, count in summary["dropped"].items()]
    if dropped:
        lines += ["", f"events left out: {', '.join(dropped)}"]
    return "\n".join(line.rstrip() for line in [*lines, "", summary["verdict"]])


def job_as_text(job: dict[str, Any]) -> str:
    """Lay out ``job`` of what `scalebook.traces.summaries` answers."""
    lines = [f"{'rank':>6}{'step':>12}{'compute':>12}{'alone':>12}{'waits':>12}{'awaited':>12}"
             "  (ms a step)"]  # fmt: skip
    for row in job["ranks"]:
        cells = (row["step_us"], row["compute_us"], row["exposed_us"], row["wait_us"],
                 row["awaited_us"])  # fmt: skip
        mark = "  straggler" if row["straggler"] else ""
        lines.append(
            f"{row['rank']:>6}" + "".join(f"{value / 1e3:>12.3f}" for value in cells) + mark
        )
    if job["collectives"]:
        lines += ["", f"{'collective':<16}{'calls':>6}{'bytes':>16}{'wait µs':>12}{'GB/s':>10}"]
    for row in job["collectives"][:ROWS]:
        size = "unknown" if row["bytes"] is None else f"{row['bytes']:,.0f}"
        rate = "unknown" if row["busbw_gb_s"] is None else f"{row['busbw_gb_s']:.3f}"
        lines.append(
            f"{_safe(row['kind']):<16}{row['calls']:>6}{size:>16}{row['wait_us']:>12.1f}{rate:>10}"
        )
    return "\n".join([*lines, "", job["verdict"]])


def diff_as_text(diff: dict[str, Any], rows: int = 2 * ROWS) -> str:
    """Lay out what `scalebook.traces.diff` answers."""
    lines = [
        f"{_safe(diff['before'])} -> {_safe(diff['after'])}, by {diff['by']}", "",
        f"{'ms a step':<16}{'before':>12}{'after':>12}{'change':>12}",
    ]  # fmt: skip
    for row in diff["times"]:
        cells = (row["before_us"], row["after_us"], row["change_us"])
        label = _DIFFERENT.get(row["name"], row["name"])
        lines.append(f"{label:<16}" + "".join(f"{value / 1e3:>12.3f}" for value in cells))
    lines += ["", f"{'before':>12}{'after':>12}{'change':>12}  {'':<9} name"]
    for row in diff["changes"][:rows]:
        cells = (row["before_us"], row["after_us"], row["change_us"])
        lines.append(
            "".join(f"{value / 1e3:>12.3f}" for value in cells)
            + f"  {row['change']:<9} {_safe(row['name'])}"
        )
    left = len(diff["changes"]) - rows
    if left > 0:
        lines.append(f"and {left} more; --json lists all")
    return "\n".join(lines)


def _time(label: str, value: float, span: float) -> str:
    return f"{label:<16}{value / 1e3:>12.3f} ms {100 * value / (span or 1.0):>6.1f} %"


def _memory(rows: list[dict[str, Any]]) -> list[str]:
    """Peak of each device, and what it was held for then."""
    lines = []
    for peak in (row for row in rows if row["category"] == "total"):
        where = "host" if peak["device"] < 0 else f"GPU {peak['device']}"
        held = [
            row
            for row in rows
            if row["device"] == peak["device"] and row is not peak and row["at_peak_bytes"] > 0
        ]
        held.sort(key=lambda row: -row["at_peak_bytes"])
        parts = [
            f"{row['category'].replace('_', ' ')} {_mib(row['at_peak_bytes'])}" for row in held
        ]
        line = f"peak memory of the {where}: {_mib(peak['peak_bytes'])} MiB"
        lines += ["", line + (f" ({', '.join(parts)})" if parts else "")]
    return lines


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f}"


def _names(devices: list[str]) -> str:
    return ", ".join(_safe(name) for name in dict.fromkeys(devices))


def _safe(name: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."
