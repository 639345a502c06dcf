"""Nothing that is written down may say who ran it, on which host, or in which folder.

And nothing that is shown may steer the terminal it is shown in.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OUTSIDE = "(outside the study)"
_PATH = re.compile(r"(?<![\w./)])/(?:[^\s/'\":,;()<>]+/)+([^\s/'\":,;()<>]*)")
# Nodes of a job in Slurm's short form, and variables that name a host.
_NODES = re.compile(r"([^,\[\]]+)(?:\[([^\]]*)\])?")
_NOBODY = {"root", "localhost"}
_HOSTS = ("SLURMD_NODENAME", "SLURM_SUBMIT_HOST", "MASTER_ADDR")
_ADDRESS = re.compile(r"\[?\b\d{1,3}(?:\.\d{1,3}){3}\b\]?(?::\d+)?")

#: Control characters but line feed and tab, what turns the direction of text, and halves of a
#: character, as names of files that are no UTF-8 have them.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Text that others wrote as a terminal may show it: what would steer it, escaped as in JSON."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def clean_text(text: str, root: Path) -> str:
    """Make paths relative to the study's root, and drop other folders, hosts and the user."""
    text = clean_folders(text, root)
    for name in sorted(_names(), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(name)", text)
    return text


def clean_folders(text: str, root: Path) -> str:
    """Make paths relative to the study's root, and drop other folders and addresses."""
    folders = {str(root), os.getcwd(), os.path.expanduser("~"), tempfile.gettempdir(), sys.prefix}
    # Longer ones first, so that a folder inside another is taken whole.
    for folder in sorted(folders - {"/", ""}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "").replace(folder, ".")
    text = _PATH.sub(r"\1", text)
    return _ADDRESS.sub("(address)", text)


def clean_path(text: str, root: Path) -> str:
    """Make a path relative to the root; one that lies elsewhere is not written down."""
    if not text.startswith(("/", "~")):
        return text
    try:
        return str(Path(text).expanduser().resolve().relative_to(root))
    except (ValueError, RuntimeError):
        return _OUTSIDE


def clean(value: Any, root: Path) -> Any:
    """Copy a JSON value; strings that are absolute paths go through `clean_path`."""
    if isinstance(value, dict):
        return {key: clean(item, root) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item, root) for item in value]
    return clean_path(value, root) if isinstance(value, str) else value


def _names() -> set[str]:
    """The user, this host and the others that took part."""
    hosts = {socket.gethostname(), *_node_names(os.environ.get("SLURM_JOB_NODELIST", ""))}
    hosts |= {os.environ.get(key, "") for key in _HOSTS}
    names = {part for host in hosts for part in (host, host.split(".")[0])}
    for find in (getpass.getuser, lambda: os.environ.get("SLURM_JOB_USER", "")):
        try:
            names.add(find())
        except (KeyError, OSError, ImportError):
            continue
    return {name for name in names if name[:1].isalnum() and not name.isdigit()} - _NOBODY


def _node_names(nodes: str) -> Iterator[str]:
    """Expand Slurm's short form of a list of nodes, such as ``gpu[01-03,7],login``."""
    for prefix, numbers in _NODES.findall(nodes):
        for part in numbers.split(",") if numbers else ():
            low, _, high = part.partition("-")
            if low.isdigit() and (high or low).isdigit():
                for number in range(int(low), int(high or low) + 1):
                    yield f"{prefix}{number:0{len(low)}d}"
        if not numbers:
            yield prefix
