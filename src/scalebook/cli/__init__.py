"""The ``scalebook`` command."""

from scalebook.cli.command import main

__all__ = ["main"]
