"""What the numbers of the ledger are made from, each part computed once."""

from functools import cached_property

import pandas as pd

from scalebook import results
from scalebook.analysis import Evidence, claims, study_queries
from scalebook.contract import ScalebookError
from scalebook.proposal.request import Request, request_of
from scalebook.proposal.steptime import the_plan


class Inputs(Evidence):
    """Evidence, and what is computed beyond it: the requests of the plan, the checks of reports."""

    @cached_property
    def requests(self) -> dict[str, Request]:
        """Computed request by machine of the plan; without those that something is missing for."""
        found, plan = {}, study_queries.plan()
        for machine in plan.machines if plan else ():
            try:
                found[machine] = request_of(machine)
            except ScalebookError:
                # A plan may stand there before its curves and facts do.
                continue
        return found

    @cached_property
    def checks(self) -> pd.DataFrame:
        """Every check of what was reported, see `analysis.claims.check`."""
        return claims.check(self, self._hours)

    def _hours(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Low and high hours of every request, by unit and machine; raises what one lacks."""
        totals = {
            name: (self.requests.get(name) or request_of(name)).costs["total"]
            for name in the_plan().machines
        }
        nodes = {name: total.node_hours for name, total in totals.items()}
        gpus = {name: total.gpu_hours for name, total in totals.items()}
        return {
            unit: {name: (span.low, span.high) for name, span in hours.items()}
            for unit, hours in (("node-hours", nodes), ("GPU-hours", gpus))
        }


@results.remembered
def check() -> pd.DataFrame:
    """Check all reported numbers and claims, those about hours against the computed request.

    Returns
    -------
    DataFrame
        One row a check, columns of `analysis.checks.Check`; ``verdict`` is ``"holds"``,
        ``"contradicted"`` or ``"undetermined"``.
    """
    return Inputs().checks
