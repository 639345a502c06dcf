"""What the study declares, asked as queries.

A table or figure that follows the study's order, references or facts about
machines is stale when those change, as it is when a result does.
"""

from __future__ import annotations

from scalebook import study
from scalebook.contract import ScalebookError
from scalebook.results import query


@query
def declared_experiments() -> dict[str, list[str | None]]:
    """Reference and kind of scaling of each experiment, in the order of ``study.yaml``."""
    return {name: [one.reference, one.scaling] for name, one in study.load().experiments.items()}


@query
def device_peak(system: str, precision: str) -> float | None:
    """Arithmetic peak of one GPU of a system in TFLOP/s, as ``data/systems`` has it.

    Returns
    -------
    float or None
        None where the system is not in the study, or the peak is not written down.
    """
    try:
        facts = study.load().facts(system)
    except ScalebookError:
        # A reported system need not be one the study runs on.
        return None
    if facts is None or facts.gpu is None:
        return None
    return facts.gpu.peak_tflops.get(precision)
