"""The kernel by which a Jupyter outside this environment, such as a Hub's, runs the notebooks."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import make_ipkernel_cmd, write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_core import paths

from scalebook.contract import ScalebookError, UsageError

#: The kernel that the notebooks name.
NAME = "scalebook"
#: Folders of commands that every shell looks into.
_USUAL = {"/bin", "/usr/bin", "/usr/local/bin"}


def install(name: str = NAME, prefix: Path | None = None, root: Path | None = None) -> Path:
    """Write the kernel's description where a Jupyter finds it.

    Parameters
    ----------
    name : str
        Of the kernel; the notebooks name `NAME`.
    prefix : Path, optional
        Environment of that Jupyter, so that all its users find the kernel; the person's own
        folder where left out, which every Jupyter looks into.
    root : Path, optional
        The one study the kernel is for, wherever a notebook lies. Where left out, it is the
        study around the notebook.

    Returns
    -------
    Path
        The folder that holds ``kernel.json``.

    Raises
    ------
    UsageError
        If Jupyter takes no kernel of that name.
    """
    with tempfile.TemporaryDirectory(prefix="scalebook-") as scratch:
        folder = write_kernel_spec(Path(scratch) / "spec", description(os.environ, name, root))
        try:
            made = KernelSpecManager().install_kernel_spec(
                folder, name, user=prefix is None, prefix=str(prefix) if prefix else None
            )
        except ValueError:
            raise UsageError(
                f"kernel name {name!r}: takes letters, digits, dots, hyphens and underscores"
            ) from None
    return Path(made)


def description(
    environment: Mapping[str, str], name: str = NAME, root: Path | None = None
) -> dict[str, Any]:  # as Jupyter reads it
    """What of ``kernel.json`` is of this environment.

    Inside an Apptainer image, the kernel starts the image. It then has no commands of Slurm.

    Parameters
    ----------
    environment : mapping
        Of this process.
    name, root
        See `install`.
    """
    variables = {"SCALEBOOK_ROOT": str(root)} if root else {}
    for runtime in ("apptainer", "singularity"):
        image = environment.get(f"{runtime.upper()}_CONTAINER")
        if image:
            argv = [runtime, "exec", image, *make_ipkernel_cmd(executable="python3")]
            break
    else:
        argv = make_ipkernel_cmd()
        variables["PATH"] = _search_path(environment)
    return {
        "argv": argv,
        "display_name": "Scalebook" if name == NAME else f"Scalebook ({name})",
        # Jupyter fills in ${PATH} when it starts the kernel, and takes $$ for a dollar.
        "env": {
            key: value if key == "PATH" else value.replace("$", "$$")
            for key, value in variables.items()
        },
    }


def _search_path(environment: Mapping[str, str]) -> str:
    """Commands of this environment, then those of the server, then Slurm's as they are here."""
    folders = [os.path.dirname(sys.executable).replace("$", "$$"), "${PATH}"]
    sbatch = shutil.which("sbatch", path=environment.get("PATH"))
    if sbatch and os.path.dirname(sbatch) not in _USUAL:
        folders.append(os.path.dirname(sbatch).replace("$", "$$"))
    return os.pathsep.join(folders)


def found() -> tuple[Path, str] | None:
    """Where a Jupyter outside this environment finds `NAME`, and the program it starts."""
    own = {os.path.join(folder, "kernels") for folder in paths.ENV_JUPYTER_PATH}
    folders = [folder for folder in paths.jupyter_path("kernels") if folder not in own]
    manager = KernelSpecManager(kernel_dirs=folders, ensure_native_kernel=False)
    try:
        spec = manager.get_kernel_spec(NAME)
    except NoSuchKernel:
        return None
    except (OSError, ValueError) as error:
        raise ScalebookError(f"the kernel {NAME} cannot be read: {error}") from None
    return Path(spec.resource_dir), spec.argv[0] if spec.argv else ""


def closed_folder() -> Path | None:
    """First folder on the way to this interpreter that only its owner may enter."""
    program = Path(sys.executable)
    for path in (program.absolute(), program.resolve()):
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                return folder
    return None
