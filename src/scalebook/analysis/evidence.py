"""What stands behind the documents, each part computed when it is first asked for, and once."""

from functools import cached_property

import pandas as pd

from scalebook.analysis import controls, link_model, reported_jobs, scaling, step_parts, tables
from scalebook.analysis.comparable import Configuration, configurations, documented


class Evidence:
    """Runs, what is formed from them, and what was reported.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """

    def __init__(self, runs: pd.DataFrame | None = None) -> None:
        self.runs: pd.DataFrame = documented() if runs is None else runs

    @cached_property
    def configurations(self) -> list[Configuration]:
        """Runs that repeat each other."""
        return configurations(self.runs)

    @cached_property
    def measured(self) -> list[Configuration]:
        """Configurations that were measured."""
        return [
            configuration
            for configuration in self.configurations
            if configuration.kind == "measured"
        ]

    @cached_property
    def steps(self) -> pd.DataFrame:
        """Percentiles of the step time, a row a run."""
        return tables.step_table(self.runs)

    @cached_property
    def ratios(self) -> list[scaling.Ratio]:
        """Configurations over their references."""
        return list(scaling.ratios(self.configurations))

    @cached_property
    def controls(self) -> list[controls.Pooled]:
        """Controls over all their systems."""
        return controls.pooled(self.ratios)

    @cached_property
    def step_parts(self) -> list[step_parts.StepParts]:
        """Steps on several nodes, taken apart."""
        return step_parts.step_parts(self.configurations, self.steps)

    @cached_property
    def links(self) -> dict[str, link_model.LinkFit]:
        """Fitted link of every system with an all-reduce curve."""
        return link_model.fits()[0]

    @cached_property
    def jobs(self) -> dict[str, reported_jobs.Job]:
        """Reported jobs by id."""
        return reported_jobs.reported_jobs()
