"""Every number a document may quote, by key, with where it came from.

=================================================  =========================================
key                                                value
=================================================  =========================================
``<experiment>.<system>.<metric>.<stat>``          over the repetitions that are evidence
``<experiment>.<system>.<setting>``                what all these repetitions share
``<experiment>.<system>.ranks_<n>.…``              both, where there are several numbers of ranks
``run.<stem>.<metric>``                            of one of them
``control.<experiment>.efficiency.<stat>``         over all systems on which it is the same
``control.<experiment>.spread``                    largest over smallest of these
``contrast.<experiment>.<system>.<other>.<stat>``  efficiency on one system over that on another
``allreduce.<system>.<metric>.<stat>``             over the message sizes of an all-reduce curve
``reported.<job>.<metric>``                        as a file in ``data/reported`` says it
``recorded.<job>.<metric>``                        as the job's own file counts it
``modelled.<job>.<metric>``                        computed from reported ones, formula named
``modelled.<experiment>.<system>.<metric>``        from facts of the system, or its fitted link
``modelled.link.<system>.<parameter>``             a model fitted to an all-reduce curve
``modelled.request.<machine>.<phase>.<metric>``    the computed request of a proposal
``cited.<id>``, ``cited.<system>.<fact>``          from ``data/cited`` and ``data/systems``
``study.<experiment>.<field>``                     a setting of ``study.yaml``, see `references`
``trace.<run or example>.…``                       shares of a trace, see `traced`
=================================================  =========================================

``<stat>`` is ``median``, ``low``, ``high``, ``n``, and ``coverage``: how often the interval holds
the true median, in percent. Metrics of a run are those of `results.METRICS`, the step times of
`statistics.STEP_METRICS`, and for an experiment with a reference ``speedup``,
``efficiency``, ``speedup_by_epoch_time`` and ``efficiency_by_epoch_time``. One with as many ranks
and the same global batch as a control of its system has ``control_ratio``, see `controls.gaps`; one
on several nodes has ``compute_ms``, ``parallel_ms``, ``network_ms`` and ``overhead_ms`` of a step,
see `step_parts`, and the modelled ``transfer_ms``.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping

from scalebook import results, study
from scalebook.contract import ScalebookError
from scalebook.values.inputs import Inputs
from scalebook.values.links import links
from scalebook.values.measured import ambiguous, measured
from scalebook.values.planned import planned
from scalebook.values.references import references
from scalebook.values.reported import job_files, modelled, reported
from scalebook.values.traced import traced
from scalebook.values.value import Value
from scalebook.values.verdicts import verdicts

#: Characters of a digest that are shown.
SHORT = 12

#: What gives the numbers. To add some, write a function and name it here.
PROVIDERS: tuple[Callable[[Inputs], Iterable[Value]], ...] = (
    measured,
    reported,
    modelled,
    references,
    planned,
    job_files,
    traced,
    links,
    verdicts,
)


def lookup(key: str) -> Value:
    """Find the number behind a key.

    Raises
    ------
    ScalebookError
        If there is no such key, or the runs behind it are not repetitions of
        one configuration; the message names near matches, or what differs.
    """
    numbers = ledger()
    if key in numbers:
        return numbers[key]
    for prefix, reason in ambiguous().items():
        if key.startswith(f"{prefix}."):
            raise ScalebookError(f"{key}: ambiguous, {reason}")
    experiment, system, *rest = [*key.split("."), "", ""]
    loaded = study.load()
    asked_of_runs = experiment in loaded.experiments and system in loaded.systems and rest[0]
    if asked_of_runs and not any(name.startswith(f"{experiment}.{system}.") for name in numbers):
        raise ScalebookError(
            f"no number {key!r}: no run of {experiment} on {system} is evidence yet; "
            f"start one with: scalebook run {experiment} --system {system}"
        )
    near = difflib.get_close_matches(key, numbers, n=3, cutoff=0.6)
    hint = f"near matches: {', '.join(near)}" if near else f"{len(numbers)} keys are known"
    raise ScalebookError(f"no number {key!r}; {hint}")


def digest(short: bool = False) -> str:
    """One digest of all numbers, by which a document says from which of them it was made.

    A number counts by key, value, unit, kind, interval and n, at 6 significant digits; how its
    origin is worded does not.

    Parameters
    ----------
    short : bool
        Only the first `SHORT` characters, as the documents show it.
    """
    whole = results.digest(
        {
            key: [value.value, value.unit, value.kind, value.low, value.high, value.n]
            for key, value in ledger().items()
        }
    )
    return whole[:SHORT] if short else whole


@results.remembered
def ledger() -> Mapping[str, Value]:
    """All numbers there are, by key; made once until a file of the study changes.

    Raises
    ------
    ScalebookError
        If two providers give the same key, or an input of one is wrong.
    """
    inputs = Inputs()
    numbers: dict[str, Value] = {}
    owners: dict[str, str] = {}
    for provider in PROVIDERS:
        for value in provider(inputs):
            if value.key in numbers:
                raise ScalebookError(
                    f"two numbers have the key {value.key}, from {owners[value.key]} and "
                    f"{provider.__name__}: rename one"
                )
            numbers[value.key] = value
            owners[value.key] = provider.__name__
    return numbers
