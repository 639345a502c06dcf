"""What moves in a notebook: a run that is started here and followed, or found in the results."""

from scalebook.live.run import RunView, run_or_attach

__all__ = ["RunView", "run_or_attach"]
