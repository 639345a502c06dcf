"""What moves in a notebook: jobs, curves, and a run that is started here and followed."""

from scalebook.live.picker import pick
from scalebook.live.run import RunView, run_or_attach
from scalebook.live.views import jobs, watch

__all__ = ["RunView", "jobs", "pick", "run_or_attach", "watch"]
