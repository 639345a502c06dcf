"""Where in a YAML file a number stands: its keys, and the line it is written on."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from scalebook import contract
from scalebook.results import files
from scalebook.study.document import decoded, nodes

#: Keys by which an entry of a list is known.
NAMES = ("job_id", "id", "name")


def where(file: str, *keys: str) -> str:
    """Say where in `file`, relative to the study's root, an entry stands.

    Entries of lists are named by their `NAMES`: ``where(file, "jobs", "2644", "values")``.

    Returns
    -------
    str
        ``line 30: jobs.2644.values``; without the line where the file does not tell.
    """
    path = contract.find_root() / file
    place = ".".join(keys)
    try:
        line = files.read_cached(path, _lines).get(keys)
    except (OSError, yaml.YAMLError):
        line = None
    return f"line {line}: {place}" if line else place


def _lines(path: Path) -> dict[tuple[str, ...], int]:
    root = nodes(decoded(path.read_bytes()))
    return dict(_walk(root, ())) if root else {}


def _walk(node: yaml.Node, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            yield (*keys, str(key.value)), key.start_mark.line + 1
            yield from _walk(inner, (*keys, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for number, inner in enumerate(node.value):
            name = _name(inner) or str(number)
            yield (*keys, name), inner.start_mark.line + 1
            yield from _walk(inner, (*keys, name))


def _name(node: yaml.Node) -> str | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    own = {key.value: inner.value for key, inner in node.value}
    return next((str(own[name]) for name in NAMES if isinstance(own.get(name), str)), None)
