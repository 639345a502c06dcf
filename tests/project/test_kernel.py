"""The notebooks in a Jupyter outside this environment, and what a saved one leaves in git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from click.testing import CliRunner
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_server.services.contents.filemanager import FileContentsManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook.cli import main
from scalebook.project import doctor, kernel

BIN = os.path.dirname(sys.executable)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folders of a person, and of the machine, in which any Jupyter looks for kernels."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "share"))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    return tmp_path / "share" / "kernels"


def answers(folder: Path, where: Path, *expressions: str, **variables: str) -> list[str]:
    """What expressions are in the kernel of a folder, started by a server with little on PATH."""
    specs = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(where), **variables}
    manager = KernelManager(kernel_name=kernel.NAME, kernel_spec_manager=specs)
    manager.start_kernel(cwd=str(where), env=environment)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
        reply = client.execute_interactive(
            "import shutil, os\nfrom scalebook import contract",
            user_expressions={str(i): f"str({one})" for i, one in enumerate(expressions)},
            timeout=PATIENCE_S,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    found = reply["content"]["user_expressions"]
    return [found[str(i)]["data"]["text/plain"].strip("'") for i in range(len(expressions))]


def test_an_installed_kernel_finds_environment_study_and_commands(elsewhere, study_root, tmp_path):
    done = CliRunner().invoke(main, ["kernel", "install"])
    assert done.output.strip() == str(elsewhere / "scalebook")
    below = study_root / "notebooks"
    below.mkdir()
    command, root, path = answers(
        elsewhere, below, "shutil.which('scalebook')", "contract.find_root()", "os.environ['PATH']"
    )
    assert (command, root) == (f"{BIN}/scalebook", str(study_root))
    # What the server has comes with it: there lies sbatch.
    assert path == f"{BIN}:/usr/bin:/bin"


def test_a_kernel_for_one_study_has_a_name_of_its_own(elsewhere, study_root, tmp_path):
    prefix = ["kernel", "install", "--prefix", str(tmp_path / "hub"), "--name", "other"]
    done = CliRunner().invoke(main, [*prefix, "--study", str(study_root)])
    (made,) = (tmp_path / "hub/share/jupyter/kernels").iterdir()
    assert made.name == "other" and done.stdout.strip() == str(made)
    written = json.loads((made / "kernel.json").read_text())
    assert written["display_name"] == "Scalebook (other)"
    assert written["env"]["SCALEBOOK_ROOT"] == str(study_root)
    done = CliRunner().invoke(main, ["kernel", "install", "--name", "my study"])
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1


def test_slurm_s_commands_are_found_where_they_were(tmp_path):
    (tmp_path / "sbatch").symlink_to("/bin/true")
    slurms = {"PATH": f"/usr/bin:{tmp_path}"}
    if shutil.which("sbatch", path="/usr/bin") is None:
        described = kernel.description(slurms)
        assert described["env"]["PATH"] == f"{BIN}:${{PATH}}:{tmp_path}"
    described = kernel.description({"PATH": str(tmp_path)})
    assert described["env"]["PATH"] == f"{BIN}:${{PATH}}:{tmp_path}"


def test_inside_an_image_the_kernel_starts_the_image(elsewhere, study_root, tmp_path, monkeypatch):
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/project.sif")
    kernel.install()
    # As the image would start its own python3.
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "exec /images/project.sif python3" ] || exit 1\n'
        f'shift 3\nexec "{sys.executable}" "$@"\n'
    )
    program.chmod(0o755)
    (root,) = answers(
        elsewhere, study_root, "contract.find_root()", PATH=f"{program.parent}:/usr/bin:/bin"
    )
    assert root == str(study_root)


def test_the_doctor_knows_whose_kernel_it_is(elsewhere):
    def looked() -> tuple[bool, str]:
        found = next(check for check in doctor.examine() if check.name == "kernel")
        return found.here, found.found + found.mend

    here, words = looked()
    assert not here and words.endswith("scalebook kernel install")
    kernel.install()
    assert looked()[0]
    described = elsewhere / "scalebook" / "kernel.json"
    described.write_text(described.read_text().replace(sys.executable, "/other/python"))
    here, words = looked()
    assert not here and "/other/python" in words


def test_a_notebook_saved_in_jupyterlab_changes_only_what_was_changed(tmp_path):
    for name in ("notebooks", "jupytext.toml"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, tmp_path / name)
    manager = build_sync_jupytext_contents_manager_class(FileContentsManager)(
        root_dir=str(tmp_path)
    )
    sources = sorted((REPOSITORY / "notebooks").glob("*.py"))
    for source in sources:
        path = f"notebooks/{source.name}"
        notebook = manager.get(path, type="notebook")["content"]
        # What Lab adds when cells have run in the kernel that the notebook names.
        notebook["metadata"]["kernelspec"]["display_name"] = "Scalebook"
        notebook["metadata"]["language_info"] = {"name": "python", "version": "3.13.0"}
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["metadata"] |= {"trusted": True, "execution": {"shell.execute_reply": "now"}}
                cell["execution_count"] = 1
        code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        before = code["source"]
        code["source"] += "\n# added"
        model = {"type": "notebook", "format": "json", "content": notebook}
        manager.save(model, path)
        expected = source.read_text().replace(before, f"{before}\n# added", 1)
        assert (tmp_path / path).read_text() == expected
    assert sources


def test_the_notebooks_name_the_kernel_of_this_environment():
    for source in (REPOSITORY / "notebooks").glob("*.py"):
        assert jupytext.read(source).metadata["kernelspec"]["name"] == kernel.NAME
    own = KernelSpecManager(kernel_dirs=[f"{sys.prefix}/share/jupyter/kernels"])
    assert own.get_kernel_spec(kernel.NAME).argv[0] == sys.executable, "make setup installs it"


def test_what_the_readme_s_commands_write_is_no_change():
    written = ["run.ipynb", "notebooks/01_run.ipynb", "notebooks/02_throughput.html"]
    done = subprocess.run(
        ["git", "check-ignore", *written], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout.split() == written
