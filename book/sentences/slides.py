"""Titles of the slides, each a message with its numbers and a branch for when it does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import Ledger, Sentence, has, listed, measured, number, value

from . import reports as theirs
from .proposal import ASKED, NAMES, OTHERS, fits_development
from .reports import TWO
from .runs import MIDDLE, OPEN, SLOW


def models(numbers: Ledger) -> Sentence:
    """By what models outgrew one GPU."""
    growth, since = "cited.model_sizes.growth", "cited.model_sizes.first_year"
    if not has(numbers, growth, since) or number(numbers, growth) < 1:
        return Sentence("unknown", "Large models no longer fit one GPU")
    return Sentence(
        "growth",
        f"Since {value(since, '.0f', False)}, models have grown {value(growth, '.0f')} times",
    )


def exchange(numbers: Ledger) -> Sentence:
    """What crosses the network in a step."""
    size = f"modelled.{TWO}.gradient_mb"
    if not has(numbers, size):
        return Sentence("unknown", "Work divides by the GPUs, the exchange does not")
    return Sentence(
        "size",
        f"{value(size, '.0f')} of gradients cross the network every step",
    )


def results(numbers: Ledger) -> Sentence:
    """What the second GPU brought."""
    rate, time = f"reported.{TWO}.speedup", f"modelled.{TWO}.speedup_by_epoch_time"
    if not has(numbers, rate, time):
        return links(numbers)
    by_rate, by_time = (value(key, ".2f", False) for key in (rate, time))
    if settled := theirs.decision(numbers):
        times = by_rate if settled.basis == "throughput" else by_time
        return Sentence(f"decided by {settled.basis}", f"Two T4s are {times} × as fast as one")
    if theirs.bases(numbers) == "agree":
        return Sentence("agree", f"Two T4s are {by_rate} × as fast as one")
    return Sentence(
        "contradict", f"A second T4: {by_rate} × by rate, {by_time} × by time; its file decides"
    )


def links(numbers: Ledger) -> Sentence:
    """What the link decides, where our own runs have the word."""
    gains = [f"ddp_2gpu.{name}.speedup" for name in (OPEN, MIDDLE, SLOW)]
    there = [gain for gain in gains if measured(numbers, gain)]
    if not there:
        return Sentence("not run", "What does the second node bring?")
    first, last = (value(f"{gain}.median", ".2f", False) for gain in (there[0], there[-1]))
    if number(numbers, f"{there[-1]}.median") < number(numbers, f"{there[0]}.median"):
        return Sentence("slower", f"A slow link takes the gain away: from {first} × to {last} ×")
    return Sentence("not slower", f"The link makes no difference: {first} × and {last} ×")


def ask(numbers: Ledger) -> Sentence:
    """What is asked for."""
    hours = f"{ASKED}.node_hours"
    if not has(numbers, hours):
        return Sentence("missing", "The ask: LUMI-G")
    return Sentence(
        "computed",
        f"We ask for {value(hours, ',.0f')} of LUMI-G over {value('plan.months', '.0f')} to "
        "measure how far ResNet-18 scales",
    )


def risks(numbers: Ledger) -> Sentence:
    """Whether the plan outlives the machine it is made for."""
    fits = [NAMES[machine] for machine in OTHERS if fits_development(numbers, machine)]
    if not fits:
        return Sentence("alone", "You gain an open answer; only LUMI-G can host it")
    return Sentence("others", f"You gain an open answer; {listed(fits)} can host it, too")


SENTENCES: Mapping[str, Callable[[Ledger], Sentence]] = {
    "slide-ask": ask,
    "slide-exchange": exchange,
    "slide-models": models,
    "slide-results": results,
    "slide-risks": risks,
}
