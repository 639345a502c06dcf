"""The study's three questions, each answered in one sentence: the landing page."""

from __future__ import annotations

from scalebook.values.sentences import (
    Ledger,
    Sentence,
    has,
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
    """How training scales with the ranks: our own over a link, and two GPUs as reported."""
    gains = {name: f"ddp_2gpu.{name}.speedup" for name in (OPEN, MIDDLE, SLOW)}
    there = {name: gain for name, gain in gains.items() if measured(numbers, gain)}
    case, gpus = _two_gpus(numbers)
    if not there:
        return Sentence(
            f"not run, {case}", f"**No run over two emulated nodes is evidence yet.**{gpus}"
        )
    pays = [number(numbers, f"{gain}.low") > 1 for gain in there.values()]
    own, answer = "never", "A second node does not pay over any link that was tried"
    if all(pays):
        own, answer = "always", "A second node pays over every link that was tried"
    elif pays[0]:
        own, answer = "fast link", "A second node pays only over a fast link"
    elif any(pays):
        own, answer = "some", "Whether a second node pays depends on the link"
    shown = [
        f"{value(f'{gain}.median', '.2f', False)} times as fast {_over(numbers, name)}"
        for name, gain in there.items()
    ]
    return Sentence(
        f"{own}, {case}",
        f"**{answer}:** compared with one rank, two CPU ranks on two emulated nodes train "
        f"{listed(shown)}{_network(numbers)}.{gpus}",
    )


def _over(numbers: Ledger, system: str) -> str:
    """The rate of a link, as a phrase."""
    rate = f"cited.{system}.link_gbit_s"
    return f"at {value(rate, 'g', False)} Gbit/s" if has(numbers, rate) else "at full rate"


def _network(numbers: Ledger) -> str:
    """What the exchange over the middle link takes of a step, as a clause; empty if not known."""
    part, step = f"ddp_2gpu.{MIDDLE}.network_ms", f"ddp_2gpu.{MIDDLE}.step_time_p50_ms.median"
    if not (measured(numbers, part) and has(numbers, step)):
        return ""
    return (
        f"; at {RATE} Gbit/s the network takes {value(f'{part}.median', ',.0f')} of the "
        f"{value(step, ',.0f')} of a step"
    )


def _two_gpus(numbers: Ledger) -> tuple[str, str]:
    """How two GPUs compare with one, as reported or as their own file decides."""
    rate, time = f"reported.{TWO}.speedup", f"modelled.{TWO}.speedup_by_epoch_time"
    if not has(numbers, rate, time):
        return "not reported", ""
    by_rate, by_time = (value(key, ".2f", False) for key in (rate, time))
    if settled := theirs.decision(numbers):
        times = by_rate if settled.basis == "throughput" else by_time
        text = f"Two T4 GPUs train {times} times as fast as one: {settled.why}."
        return f"decided by {settled.basis}", f" {text}"
    case = theirs.bases(numbers)
    if case == "agree":
        return case, f" Two T4 GPUs train {by_rate} times as fast as one, as reported."
    undecided = {
        "contradict": "the two contradict each other, and the run's own file will decide",
        "arrived": "the run's own file confirms neither",
        "open": "the run's own file repeats both, and does not tell how they go together",
    }[case]
    return case, (
        f" Two T4 GPUs were reported to train {by_rate} times as fast as one by rate, and "
        f"{by_time} times by time per epoch: {undecided}."
    )


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
        "holds": "on one GPU it is batch normalisation, as reported and as the trace confirms",
        "contradicted": "on one GPU the trace contradicts the report of batch normalisation",
    }.get(reported, "whether batch normalisation limits one GPU, as reported, is still open")
    if not (measured(numbers, part) and has(numbers, step)):
        return Sentence(f"not run, {reported}", f"**No run over two nodes yet:** {theirs_is}.")
    share = number(numbers, f"{part}.median") / number(numbers, step)
    answer = "The network" if share > 0.5 else "Not the network alone"
    return Sentence(
        f"{'network' if share > 0.5 else 'not network'}, {reported}",
        f"**{answer}:** at {RATE} Gbit/s it takes {value(f'{part}.median', ',.0f')} of the "
        f"{value(step, ',.0f')} of a step on two nodes; {theirs_is}.",
    )
