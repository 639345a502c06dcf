"""Run the command as ``python -m scalebook.cli``."""

from scalebook.cli.main import main

main()
