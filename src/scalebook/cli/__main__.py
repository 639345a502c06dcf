"""Run the command as ``python -m scalebook.cli``."""

from scalebook.cli.command import main

main()
