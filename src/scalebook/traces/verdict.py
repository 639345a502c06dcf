"""What holds a run up, in words, from the figures of its trace."""

from __future__ import annotations

from typing import Any

#: Shares of the device's time from which something holds the run up.
INPUT, EXPOSED, IDLE = 0.15, 0.2, 0.3
#: Operators that run at less of their roofline are far from what the device can do.
FAR = 0.1

_ARITHMETIC = ("convolution", "gemm")
_TRY = {
    "input": "feed it faster: more loader workers, decoded or resident data, pinned memory and "
    "copies that do not block",
    "launch": "launch less: a larger batch per rank, CUDA graphs or torch.compile, fused optimizer "
    "steps",
    "communication": "hide or shrink communication: larger buckets or later waits, gradients in "
    "half precision, a larger batch per rank, a faster link",
    "idle": "find what the host does in the gaps: synchronisations such as .item() or .cpu(), "
    "logging, checkpoints, work between the steps",
    "memory": "move fewer bytes: half precision, channels_last, fused normalisation and activation "
    "(torch.compile)",
    "compute": "use faster arithmetic: mixed precision on matrix units, channels_last, sizes that "
    "are multiples of 8",
}
_TRY_CPU = {
    "memory": "move fewer bytes: channels_last, fused normalisation and activation "
    "(torch.compile), bfloat16",
    "compute": "use faster arithmetic: more threads, channels_last, torch.compile, bfloat16 where "
    "the processor has matrix units",
    "idle": "find what runs between the operators: Python, logging, checkpoints, loading data",
}
_HELD = {
    "input": "The run is input-bound", "launch": "The run is launch-bound",
    "communication": "The run is communication-bound", "idle": "The device is mostly left waiting",
    "memory": "The run is memory-bound", "compute": "The run is compute-bound",
}  # fmt: skip


def bound(document: dict[str, Any]) -> str:
    """What holds the run up: input, launch, communication, idle, memory or compute.

    Parameters
    ----------
    document : dict
        The answer of `scalebook.traces.summary` without its verdict.
    """
    share = _shares(document)
    if share["input"] >= INPUT:
        return "input"
    if share["exposed"] >= EXPOSED and share["exposed"] >= share["idle"] - share["input"]:
        return "communication"
    if any(one["launch_bound"] for one in document["launch"]):
        return "launch"
    if share["idle"] >= IDLE:
        return "idle"
    if share["exposed"] >= EXPOSED:
        return "communication"
    speed = document["speed"]
    if speed and speed["memory_bound_share"] is not None:
        return "memory" if speed["memory_bound_share"] > 0.5 else "compute"
    arithmetic = sum(document["by_operator"].get(family, 0.0) for family in _ARITHMETIC)
    return "compute" if arithmetic >= 0.5 * (document["total_us"] or 1.0) else "memory"


def verdict(document: dict[str, Any]) -> str:
    """One paragraph: what holds the run up, the figures that say so, and what to try."""
    held, speed = document["bound"], document["speed"]
    opening = _HELD[held]
    if held in ("memory", "compute") and not (speed and speed["memory_bound_share"] is not None):
        opening = f"By the kind of its operators the run is {held}-bound"
    elif held in ("memory", "compute") and speed["efficiency"] < FAR:
        limit = "arithmetic" if held == "compute" else "memory"
        opening = (
            f"The operators keep the device busy, far from its limits, of which {limit} is next"
        )
    sentences = [f"{opening}: {_evidence(document, held)}.", f"{_leader(document)}."]
    if speed and speed["mfu"] is not None:
        sentences.append(
            f"It does {speed['flops'] / 1e9:,.3g} GFLOP a step, {_percent(speed['mfu'])} of what "
            f"{speed['device']} could ({speed['source']}); its operators run at "
            f"{_percent(speed['efficiency'])} of their roofline, and at its best a step would take "
            f"{speed['best_us'] / 1e3:,.1f} ms instead of {speed['step_us'] / 1e3:,.1f} ms."
        )
    elif held in ("compute", "memory"):
        sentences.append(
            "How near this is to what the device can do is not known: "
            + ("the device's peak is not in the table." if speed else "no shapes were recorded.")
        )
    slow = [step for step in document["steps"] if step["warm_up"]]
    if slow:
        warming = "The first" if len(slow) == 1 else f"The first {len(slow)}"
        sentences.append(
            f"{warming} of {len(document['steps'])} steps warm{'s' * (len(slow) == 1)} up."
        )
    advice = _TRY | (_TRY_CPU if document["device"] == "cpu" else {})
    sentences.append(f"To try: {advice[held]}.")
    return " ".join(sentences)


def _shares(document: dict[str, Any]) -> dict[str, float]:
    time, idle = document["time"], document["idle"]
    span = time["span_us"] or 1.0
    return {
        "busy": time["busy_us"] / span,
        "idle": time["idle_us"] / span,
        "exposed": (time["communication_us"] - time["overlap_us"]) / span,
        "input": idle["input_us"] / span,
        "host": idle["host_us"] / span,
    }


def _evidence(document: dict[str, Any], held: str) -> str:
    share, time = _shares(document), document["time"]
    what = "GPU" if document["device"] == "gpu" else "CPU"
    parts = [f"the {what} is busy {_percent(share['busy'])} of {time['span_us'] / 1e6:.3f} s"]
    if held == "input":
        parts.append(f"and idle for {_percent(share['input'])} while the host waits for data")
    elif held == "launch":
        one = document["launch"][0]
        parts.append(
            f"and waits {_percent(one['waiting_share'])} of the time for the next launch; "
            f"{_percent(one['short_share'])} of its {one['kernels']:,} kernels are shorter than "
            f"10 µs (median {one['median_dur_us']:.3g} µs)"
        )
    elif held == "communication":
        hidden = time["overlap_us"] / (time["communication_us"] or 1.0)
        parts.append(
            f"and {_percent(share['exposed'])} is communication alone; {_percent(hidden)} of the "
            "communication is hidden behind compute"
        )
    elif held == "idle":
        idle = f"and idle for {_percent(share['idle'])}"
        if document["device"] == "gpu":
            idle += f", {_percent(share['host'] / (share['idle'] or 1))} of that for the host"
        parts.append(idle)
    elif share["exposed"] > 0.005:
        parts.append(f"with {_percent(share['exposed'])} in communication alone")
    speed = document["speed"]
    if held in ("memory", "compute") and speed and speed["memory_bound_share"] is not None:
        parts.append(
            f"and at best {_percent(speed['memory_bound_share'])} of its operators' time would be "
            "limited by memory"
        )
    return " ".join(parts)


def _leader(document: dict[str, Any]) -> str:
    """Which family takes most, and whether kernel names say so too."""
    total = document["total_us"] or 1.0
    leader, duration = next(iter(document["by_operator"].items()))
    sentence = f"By launching operator {_plain(leader)} takes most: {_percent(duration / total)}"
    if not document["by_kernel"]:
        return sentence
    named = document["by_kernel"].get(leader, 0.0) / total
    other, longest = next(iter(document["by_kernel"].items()))
    sentence += f" of GPU time ({_percent(named)} by kernel name"
    if other != leader:
        sentence += f", where {_plain(other)} leads with {_percent(longest / total)}"
    return sentence + ")"


def job_verdict(job: dict[str, Any]) -> str:
    """Who holds the ranks of a job up, and how well the work is spread."""
    ranks = job["ranks"]
    parts = [
        f"{len(ranks)} ranks with a load balance of {job['load_balance']:.2f} (mean compute over "
        "the longest)"
    ]
    stragglers = [one for one in ranks if one["straggler"]]
    if stragglers:
        one = stragglers[0]
        parts.append(
            f"the others wait {one['awaited_us'] / 1e3 / max(1, len(ranks) - 1):,.3g} ms a step "
            f"for rank {one['rank']}"
        )
    else:
        parts.append("no rank is waited for over 5 % of a step")
    rated = [one for one in job["collectives"] if one["busbw_gb_s"] is not None]
    if rated:
        one = max(rated, key=lambda each: each["total_bytes"])
        least = "" if one["complete"] else "at least "
        parts.append(f"{one['kind']} reaches {least}{one['busbw_gb_s']:,.3g} GB/s on the bus")
    elif job["collectives"]:
        parts.append("the bandwidth of the collectives is unknown: sizes were not recorded")
    return "; ".join(parts) + "."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plain(family: str) -> str:
    return {"gemm": "matrix multiplication", "other": "what is in no family"}.get(
        family, family.replace("_", " ")
    )
