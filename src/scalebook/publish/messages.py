"""What the extension says in the output of a build, and how it ends one."""

from __future__ import annotations

from sphinx.util import logging

logger = logging.getLogger(__name__)

#: Marks the lines of this extension in the output of a build.
PREFIX = "scalebook: "


def say(line: str) -> None:
    """Write a line that the quiet commands show too."""
    logger.info("%s", f"{PREFIX}{line}")


def end(messages: list[str]) -> None:
    """End the build with status 1 and a line a problem."""
    with logging.skip_warningiserror():
        for message in messages:
            logger.error("%s", f"{PREFIX}{message}")
    raise SystemExit(1)
