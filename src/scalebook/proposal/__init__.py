"""The request of a proposal: from a plan over the time of a step to hours."""
