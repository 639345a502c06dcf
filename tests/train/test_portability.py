"""The training room runs where little is installed: Python 3.9, torch and torchvision."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scalebook

ROOM = Path(scalebook.__file__).parent / "train"
SOURCES = [*sorted(ROOM.rglob("*.py")), ROOM.parent / "contract.py", ROOM.parent / "__init__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_is_python_39(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        assert not isinstance(node, getattr(ast, "Match", ())), "match needs 3.10"
        if isinstance(node, ast.Call):
            names = {keyword.arg for keyword in node.keywords}
            function = getattr(node.func, "id", "")
            assert not (function == "zip" and "strict" in names), "zip(strict) needs 3.10"
            assert not (function == "dataclass" and names & {"slots", "kw_only"})
            if function == "isinstance":
                assert not isinstance(node.args[1], ast.BinOp), "X | Y at run time needs 3.10"


@pytest.mark.slow
def test_imports_only_what_a_compute_node_has():
    """Every module of the room imports where the workbench's packages are missing."""
    paths = sorted(path.relative_to(ROOM).with_suffix("") for path in ROOM.rglob("*.py"))
    modules = [".".join(("scalebook.train", *path.parts)) for path in paths]
    program = f"""
import builtins, importlib, sys
allowed = {{"torch", "torchvision", "numpy", "PIL", *sys.stdlib_module_names}}
plain = builtins.__import__
def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    asking = (globals or {{}}).get("__name__", "")
    if asking.startswith("scalebook.") and level == 0:
        own = name == "scalebook" or name.startswith(("scalebook.train", "scalebook.contract"))
        assert own or name.split(".")[0] in allowed, (asking, name)
        assert name != "scalebook" or set(fromlist or ()) <= {{"contract"}}, (asking, fromlist)
    return plain(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
for module in {modules!r}:
    importlib.import_module(module)
from scalebook.train.torchvision_fix import import_torchvision
import_torchvision().models.resnet18()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    used = subprocess.run(
        [sys.executable, "-c", "import sys, scalebook.train.run\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"pydantic", "pandas", "plotly", "yaml", "scalebook.study"} & set(used)


def test_download_needs_no_torch():
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None\n"
        "import scalebook.train.images.download"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
