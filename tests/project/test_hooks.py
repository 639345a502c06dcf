"""What pre-commit runs before a commit, run without it."""

import re
import shlex
import subprocess

import jupytext
import pytest
import yaml
from paths import REPOSITORY


def hooks():
    """Hooks of pre-commit by their id."""
    configuration = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    (local,) = configuration["repos"]
    assert local["repo"] == "local"  # nothing is fetched
    return {hook["id"]: hook for hook in local["hooks"]}


def run_hook(hook, names):
    """Run a hook as pre-commit does, on the files it is for."""
    kinds = r"\.py$" if hook.get("types_or") == ["python"] else ""
    left_out = hook.get("exclude", "^$")
    names = [name for name in names if re.search(hook.get("files", kinds), name)]
    names = [name for name in names if not re.search(left_out, name)]
    if hook["language"] == "fail":
        return bool(names)
    command = [*shlex.split(hook["entry"]), *names]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode


@pytest.mark.parametrize("name", hooks())
def test_what_is_committed_passes_the_hooks(name):
    hook = hooks()[name]
    hook["entry"] = hook["entry"].replace("ruff format", "ruff format --check")
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    assert run_hook(hook, listed.stdout.split()) == 0


@pytest.mark.slow
def test_hooks_find_outputs_large_files_and_notebooks_not_written_back(tmp_path):
    source, edited = tmp_path / "notebooks" / "one.py", tmp_path / "notebooks" / "one.ipynb"
    source.parent.mkdir()
    notebook = jupytext.read(REPOSITORY / "notebooks" / "01_run.py")
    jupytext.write(notebook, source, fmt="py:percent")
    jupytext.write(notebook, edited)
    (tmp_path / "large").write_bytes(b"0" * (2**20 + 1))
    sync = {**hooks()["notebooks-in-sync"], "files": r"\.py$"}
    assert run_hook(sync, [str(source)]) == 0
    notebook.cells[0].source += " More."
    jupytext.write(notebook, edited)
    assert run_hook(sync, [str(source)]) == 1
    assert run_hook(hooks()["no-outputs"], [str(source), str(edited)])
    assert run_hook(hooks()["no-large-files"], [str(source)]) == 0
    assert run_hook(hooks()["no-large-files"], [str(source), str(tmp_path / "large")]) == 1
