"""The house's rules: small folders and modules, rooms in one order, imports at the top.

docs/ARCHITECTURE.md says what each room is for.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paths import REPOSITORY

#: A room imports itself and rooms before it.
ROOMS = (
    "contract",
    "study",
    "train",
    "launch",
    "results",
    "traces",
    "analysis",
    "proposal",
    "values",
    "figures",
    "live",
    "publish",
    "project",
    "cli",
)
#: Training runs on a bare compute node; what comes back is checked by who collects it.
INSTEAD = {"train": {"contract"}, "launch": {"contract", "study", "train", "results"}}

#: A comment for readers, not for a tool.
REASON = re.compile(r"# (?!noqa|type:|fmt:)\w")

SOURCES = ("src/scalebook", "packages/minislurm/src/minislurm")


def modules() -> Iterator[Path]:
    for source in SOURCES:
        yield from sorted((REPOSITORY / source).rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room(path: Path) -> str:
    """First part below the package: a folder or a module."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return "minislurm" if parts[0] == "packages" else parts[2]


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, list[str]]]:
    """Each import statement with the modules it may name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, [f"{node.module}.{alias.name}" for alias in node.names]


def test_a_folder_has_at_most_twenty_modules():
    sizes = Counter(path.parent for path in modules())
    large = {str(folder.relative_to(REPOSITORY)) for folder, n in sizes.items() if n > 20}
    assert not large, large


def test_a_module_has_at_most_450_lines():
    long = {
        str(path.relative_to(REPOSITORY))
        for path in modules()
        if len(path.read_text().splitlines()) > 450
    }
    assert long == set()


def test_a_room_imports_only_rooms_before_it():
    backwards = set()
    for path in modules():
        here = room(path)
        if here == "__init__":
            continue
        allowed = INSTEAD.get(here, set(ROOMS[: ROOMS.index(here)]) if here in ROOMS else set())
        for node, names in imports(parsed(path)):
            for name in names:
                package, _, rest = name.partition(".")
                there = rest.split(".")[0] if package == "scalebook" else package
                if there in {*ROOMS, "minislurm"} and there not in {here, *allowed}:
                    backwards.add(f"{path.relative_to(REPOSITORY)}:{node.lineno} {there}")
    assert backwards == set()


def test_an_import_stands_at_the_top_or_says_why_not():
    """Commands alone import what they need when they run, to start quickly."""
    late = set()
    for path in modules():
        lines, tree = path.read_text().splitlines(), parsed(path)
        top = {one for one in tree.body if not isinstance(one, (ast.FunctionDef, ast.ClassDef))}
        top = {node for one in top for node in ast.walk(one)}
        for node, names in imports(tree):
            above, line = lines[node.lineno - 2 : node.lineno]
            explained = REASON.search(line) or above.lstrip().startswith("#")
            if node not in top and room(path) != "cli" and not explained:
                late.add(f"{path.relative_to(REPOSITORY)}:{node.lineno} {names[0]}")
    assert not late, "\n".join(sorted(late))
