"""The study's three questions, each answered in one sentence: the landing page."""

from __future__ import annotations

from scalebook.values.sentences import (
    Ledger,
    Sentence,
    has,
    label,
    listed,
    measured,
    number,
    spread,
    value,
)

from . import reports as theirs
from .reports import CLUSTER, HALF, ONE, TWO
from .runs import MIDDLE, OPEN, RATE, SLOW


def scaling(numbers: Ledger) -> Sentence:
    """How training scales with the ranks."""
    gains = {name: f"ddp_2gpu.{name}.speedup" for name in (OPEN, MIDDLE, SLOW)}
    there = {name: gain for name, gain in gains.items() if measured(numbers, gain)}
    if not there:
        case, reported = "not run", f"reported.{TWO}.speedup"
        text = "No run over two nodes is evidence yet"
        if has(numbers, reported):
            case = "reported"
            text += f"; {value(reported, '.2f', False)} times was reported for two GPUs"
        return Sentence(case, f"**{text}.**")
    pays = [number(numbers, f"{gain}.low") > 1 for gain in there.values()]
    case, answer = "never", "A second node does not pay over any link that was tried"
    if all(pays):
        case, answer = "always", "A second node pays over every link that was tried"
    elif pays[0]:
        case, answer = "fast link", "A second node pays only over a fast link"
    elif any(pays):
        case, answer = "some", "Whether a second node pays depends on the link"
    shown = [
        f"{value(f'{gain}.median', '.2f', False)} times as fast on {label(name, 'system')}"
        for name, gain in there.items()
    ]
    return Sentence(case, f"**{answer}:** two ranks train {listed(shown)} as one rank does.")


def precision(numbers: Ledger) -> Sentence:
    """What mixed precision brings."""
    own, gain = f"fp16.{CLUSTER}.speedup", f"reported.{HALF}.speedup"
    if measured(numbers, own):
        return Sentence("measured", f"**FP16 trains {spread(own, '.2f', False)} times as fast.**")
    if not has(numbers, gain):
        return Sentence("not run", "**No run in FP16 is known yet.**")
    text = f"**FP16 trains {value(gain, '.2f', False)} times as fast as FP32** on one Tesla T4"
    accuracies = [f"reported.{job}.final_val_acc" for job in (HALF, ONE)]
    if has(numbers, *accuracies):
        half, full = (value(key, ".1f", unit) for key, unit in zip(accuracies, (False, True)))
        text += f", and ends at an accuracy of {half} instead of {full}"
    return Sentence("reported", f"{text}: as reported, from one run each.")


def bottleneck(numbers: Ledger) -> Sentence:
    """What the bottleneck is."""
    part, step = f"ddp_2gpu.{MIDDLE}.network_ms", f"ddp_2gpu.{MIDDLE}.step_time_p50_ms.median"
    reported = theirs.batch_norm(numbers).case.partition(",")[0]
    theirs_is = {
        "holds": "it is batch normalisation, as reported and as the trace confirms",
        "contradicted": "the trace contradicts the report that it is batch normalisation",
    }.get(reported, "whether it is batch normalisation, as reported, is not yet known")
    if not (measured(numbers, part) and has(numbers, step)):
        return Sentence(f"not run, {reported}", f"**Open:** {theirs_is}.")
    share = number(numbers, f"{part}.median") / number(numbers, step)
    answer = "The network" if share > 0.5 else "Not the network alone"
    return Sentence(
        f"{'network' if share > 0.5 else 'not network'}, {reported}",
        f"**{answer}:** at {RATE} Gbit/s it takes {value(f'{part}.median', ',.0f')} of the "
        f"{value(step, ',.0f')} of a step on two nodes; on one GPU, {theirs_is}.",
    )
