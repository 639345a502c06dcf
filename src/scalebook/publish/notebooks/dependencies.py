"""Which modules of this package a notebook rests on, found without running it.

The package's files are parsed, never imported, so that asking costs milliseconds and a
broken module is reported by the notebook that needs it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

import scalebook

PACKAGE = "scalebook"


def sha256(data: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of a text in UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def module_hashes(source: str, package_dir: Path | None = None) -> dict[str, str]:
    """Hash every module of the package that `source` imports, directly or through others.

    Imports inside functions count, imports by a computed name do not.

    Parameters
    ----------
    source : str
        Python source of a notebook; IPython magics are passed over.
    package_dir : Path, optional
        Folder of the package; the installed one where left out.

    Returns
    -------
    dict of str to str
        Dotted module name to SHA-256 of its code without comments, and of the data beside it that
        has its name; sorted.
    """
    folder = package_dir or Path(scalebook.__file__).parent
    # Lines that only IPython understands are blanked, so that the rest still parses.
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
    todo = list(_read("\n".join(lines), PACKAGE, is_package=True)[1])
    found: dict[str, str] = {}
    while todo:
        module = todo.pop()
        path = _file(module, folder)
        if module in found or path is None:
            continue
        text = path.read_text(encoding="utf-8")
        found[module], imported = _read(text, module, path.name == "__init__.py")
        for data in (path.with_suffix(".yaml"), path.with_suffix(".csv")):
            if data.is_file():
                found[f"{module}{data.suffix}"] = sha256(data.read_bytes())
        parent = module.rpartition(".")[0]
        if parent:  # importing a.b runs a/__init__.py first
            todo.append(parent)
        todo.extend(imported)
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=512)
def _read(source: str, module: str, is_package: bool) -> tuple[str, tuple[str, ...]]:
    """Hash of what Python makes of a source, and the modules, or parts of one, that it imports.

    Neither comments nor layout count.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return sha256(source), ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            names.append(base)
            # `from scalebook.results import runs` may name a module or something in one.
            names.extend(f"{base}.{alias.name}" for alias in node.names)
    within = tuple(name for name in names if name.partition(".")[0] == PACKAGE)
    return sha256(ast.dump(tree)), within


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    keep = len(parts) - node.level + (1 if is_package else 0)
    return ".".join(parts[:keep] + ([node.module] if node.module else []))


def _file(module: str, folder: Path) -> Path | None:
    path = folder.joinpath(*module.split(".")[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None
