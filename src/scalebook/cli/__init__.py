"""The ``scalebook`` command."""

from scalebook.cli.main import main

__all__ = ["main"]
