"""What holds a run up, in words, from the figures of its trace."""

from typing import Any

from scalebook.study.document import beside
from scalebook.traces.launches import LAUNCHES_ALONE, UNKNOWN

#: Shares of the device's time from which something holds the run up.
INPUT, EXPOSED, IDLE = 0.15, 0.2, 0.3
#: Operators that run at less of their roofline are far from what the device can do.
FAR = 0.1
#: Share of the time in which kernel names stand for operators, from which it is worth a sentence.
BY_NAME = 0.05
#: Share of the time in families that are known, below which nothing follows from them.
KNOWN = 0.5

_ARITHMETIC = ("convolution", "gemm", "attention")
_TEXTS = beside(__file__)


def bound(document: dict[str, Any]) -> str:
    """What holds the run up: input, launch, communication, idle, memory, compute or unknown.

    Parameters
    ----------
    document : dict
        The answer of `scalebook.traces.summary` without its verdict.
    """
    share = _shares(document)
    if _nothing_known(document) is not None:
        return "unknown"
    if share["input"] >= INPUT:
        return "input"
    if share["exposed"] >= EXPOSED and share["exposed"] >= share["idle"] - share["input"]:
        return "communication"
    if any(device["launch_bound"] for device in document["launch"]):
        return "launch"
    if share["idle"] >= IDLE:
        return "idle"
    if share["exposed"] >= EXPOSED:
        return "communication"
    speed = document["speed"]
    if _rated(document):
        return "memory" if speed["memory_bound_share"] > 0.5 else "compute"
    arithmetic = sum(document["by_operator"].get(family, 0.0) for family in _ARITHMETIC)
    known = document["total_us"] - document["by_operator"].get("other", 0.0)
    if known < KNOWN * document["total_us"]:
        return "unknown"
    return "compute" if arithmetic >= 0.5 * known else "memory"


def _rated(document: dict[str, Any]) -> bool:
    """Whether the roofline can tell: the work done is known for most of the time."""
    speed = document["speed"]
    known = speed is not None and speed["memory_bound_share"] is not None
    return known and speed["known_share"] >= KNOWN


def _nothing_known(document: dict[str, Any]) -> str | None:
    """Why the figures tell nothing; None where they tell something."""
    if not document["total_us"] > 0:
        return "no time"
    if document["device"] == "gpu":
        return None
    return next(
        (reason for reason in (LAUNCHES_ALONE, UNKNOWN) if reason in document["notices"]), None
    )


def verdict(document: dict[str, Any]) -> str:
    """One paragraph: what holds the run up, the figures that say so, and what to try."""
    held, speed = document["bound"], document["speed"]
    nothing = _nothing_known(document)
    if nothing is not None:
        return str(_TEXTS["nothing"][nothing]).format(count=document["notices"].get(nothing))
    rated = _rated(document)
    opening = _TEXTS["held"][held]
    if held in ("memory", "compute") and not rated:
        opening = _TEXTS["by kind"].format(held=held)
    elif held in ("memory", "compute") and speed["efficiency"] < FAR:
        opening = _TEXTS["far"].format(limit="arithmetic" if held == "compute" else "memory")
    sentences = [f"{opening}: {_evidence(document, held)}.", f"{_leader(document)}."]
    by_name = document["by_name_us"] / document["total_us"]
    if by_name >= BY_NAME:
        sentences.append(_TEXTS["by name"].format(share=100 * by_name))
    if speed and speed["mfu"] is not None:
        numbers = {
            "gflop": speed["flops"] / 1e9, "mfu": 100 * speed["mfu"], "device": speed["device"],
            "source": speed["source"], "efficiency": 100 * speed["efficiency"],
            "best": speed["best_us"] / 1e3, "step": speed["step_us"] / 1e3,
        }  # fmt: skip
        sentences.append(_TEXTS["speed"].format(**numbers))
    elif held in ("compute", "memory"):
        sentences.append(_TEXTS["no peak" if speed else "no shapes"])
    slow = [step for step in document["steps"] if step["warm_up"]]
    if slow:
        warming = "The first" if len(slow) == 1 else f"The first {len(slow)}"
        sentences.append(
            f"{warming} of {len(document['steps'])} steps warm{'s' * (len(slow) == 1)} up."
        )
    advice = _TEXTS["try"] | (_TEXTS["try on a CPU"] if document["device"] == "cpu" else {})
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
    share, time, speed = _shares(document), document["time"], document["speed"]
    numbers = {name: 100 * value for name, value in share.items()}
    numbers["host"] = 100 * share["host"] / (share["idle"] or 1)
    numbers["hidden"] = 100 * time["overlap_us"] / (time["communication_us"] or 1.0)
    case = f"{held} on a CPU" if held == "idle" and document["device"] == "cpu" else held
    if held in ("memory", "compute", "unknown"):
        case = "exposed" if share["exposed"] > 0.005 else ""
    cases = [case] if case else []
    if held == "launch":
        device = document["launch"][0]
        numbers |= {name: 100 * device[f"{name}_share"] for name in ("waiting", "short")}
        numbers |= {"kernels": device["kernels"], "median": device["median_dur_us"]}
    if held in ("memory", "compute") and _rated(document):
        cases.append("limited")
        numbers["limited"] = 100 * speed["memory_bound_share"]
    device, span = document["device"].upper(), time["span_us"] / 1e6
    texts = [_TEXTS["busy"], *(_TEXTS["evidence"][case] for case in cases)]
    return " ".join(text.format(**numbers, device=device, span=span) for text in texts)


def _leader(document: dict[str, Any]) -> str:
    """Which family takes most, and whether kernel names say so too."""
    total = document["total_us"] or 1.0
    leader, duration = next(iter(document["by_operator"].items()))
    sentence = f"By launching operator {_plain(leader)} takes most: {_percent(duration / total)}"
    if not document["by_kernel"]:
        return sentence
    named = document["by_kernel"].get(leader, 0.0) / total
    kernel_leader, longest = next(iter(document["by_kernel"].items()))
    sentence += f" of GPU time ({_percent(named)} by kernel name"
    if kernel_leader != leader:
        sentence += f", where {_plain(kernel_leader)} leads with {_percent(longest / total)}"
    return sentence + ")"


def job_verdict(job: dict[str, Any]) -> str:
    """Who holds the ranks of a job up, and how well the work is spread."""
    ranks = job["ranks"]
    parts = [_TEXTS["balance"].format(ranks=len(ranks), balance=job["load_balance"])]
    stragglers = [rank for rank in ranks if rank["straggler"]]
    if stragglers:
        wait = stragglers[0]["awaited_us"] / 1e3 / max(1, len(ranks) - 1)
        parts.append(_TEXTS["straggler"].format(wait=wait, rank=stragglers[0]["rank"]))
    else:
        parts.append(_TEXTS["no straggler"])
    rated = [
        collective for collective in job["collectives"] if collective["busbw_gb_s"] is not None
    ]
    if rated:
        largest = max(rated, key=lambda each: each["total_bytes"])
        least = "" if largest["complete"] else "at least "
        bus = {"kind": largest["kind"], "least": least, "rate": largest["busbw_gb_s"]}
        parts.append(_TEXTS["bus"].format(**bus))
    elif job["collectives"]:
        parts.append(_TEXTS["no sizes"])
    return "; ".join(parts) + "."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plain(family: str) -> str:
    return {"gemm": "matrix multiplication", "other": "what is in no family"}.get(
        family, family.replace("_", " ")
    )
