"""What this machine has and lacks, each with the command that mends it."""

import importlib.util
import os
import platform
import subprocess
import sys
from dataclasses import dataclass

from scalebook import study
from scalebook.contract import ScalebookError
from scalebook.launch import SlurmJob
from scalebook.launch.slurm import commands, records
from scalebook.study.document import beside
from scalebook.train.settings import DatasetSettings

#: Makes .venv anew: `make setup` alone leaves one be that it made before and others changed.
REMAKE = "rm -rf .venv && make setup"
#: Brings up Slurm on this machine, and lets this shell's commands find it.
SMALL_CLUSTER = "make cluster-up && . /run/scalebook-default/env"

_LACKING: dict[str, list[str]] = beside(__file__)


@dataclass(frozen=True)
class Check:
    """One thing looked for.

    Attributes
    ----------
    name : str
        What it is.
    here : bool
        Whether it is usable.
    found : str
        What was found, or what its absence costs.
    mend : str
        The command that mends it; empty where there is nothing to mend.
    """

    name: str
    here: bool
    found: str
    mend: str = ""


#: Whether something is usable, what was found, and what mends its absence.
Answer = tuple[bool, str, str]


def examine() -> list[Check]:
    """Look for everything the project can use."""
    looks = {
        "Python": _python,
        "PyTorch": _torch,
        "GPU": _gpu,
        "study": _study,
        "data set": _dataset,
        "Slurm": _slurm,
        "kernel": _kernel,
        "browser": _browser,
        "TeX": _tex,
    }
    return [Check(name, *look()) for name, look in looks.items()]


def _here(found: str) -> Answer:
    return True, found, ""


def _lacks(case: str, **about: object) -> Answer:
    """An answer of ``doctor.yaml``, filled in."""
    about |= {"remake": REMAKE, "small_cluster": SMALL_CLUSTER}
    found, mend = (text.format(**about) for text in _LACKING[case])
    return False, found, mend


def _python() -> Answer:
    version = platform.python_version()
    if sys.version_info < (3, 11):
        return _lacks("old Python", version=version)
    return _here(f"{version} in {'a venv' if sys.prefix != sys.base_prefix else 'the system'}")


def _torch() -> Answer:
    if importlib.util.find_spec("torch") is None:
        return _lacks("no torch")
    try:
        import numpy as np  # both may be missing or broken: that is what is looked for
        import torch  # as above

        from scalebook.train.torchvision_fix import import_torchvision  # which imports torch

        # An old torch beside a new NumPy imports, and fails here.
        torch.from_numpy(np.zeros(1))
        torchvision = import_torchvision()
    except Exception as error:
        return _lacks("broken torch", error=f"{error}".partition("\n")[0])
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    hip = getattr(torch.version, "hip", None)
    build = f"ROCm {hip}" if hip else build
    return _here(f"{torch.__version__} ({build}), torchvision {torchvision.__version__}")


def _gpu() -> Answer:
    try:
        import torch  # as above

        if torch.cuda.is_available():
            names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
            return _here(f"{torch.cuda.device_count()} x {', '.join(sorted(names))}")
        cpu_build = torch.version.cuda is None and getattr(torch.version, "hip", None) is None
    except Exception:
        cpu_build = False
    if study.detect_device() == "gpu" and cpu_build:
        return _lacks("CPU build")
    return _lacks("no GPU")


def _study() -> Answer:
    try:
        loaded = study.load()
    except ScalebookError as error:
        broken = str(error).startswith("study.yaml")
        return _lacks("broken study" if broken else "no study", error=error)
    return _here(
        f"{loaded.name}: experiments {', '.join(loaded.experiments)}; "
        f"systems {', '.join(loaded.systems) or 'none'}"
    )


def _dataset() -> Answer:
    try:
        loaded = study.load()
    except ScalebookError as error:
        return _lacks("no study", error=error)
    try:
        from scalebook.train.images import cifar10, download, finding  # which import torch
    except ImportError:
        return _lacks("data unknown")
    there = []
    for asked in study.image_sources(loaded):
        try:
            found = finding.find(DatasetSettings(**asked), loaded.root)
        except ScalebookError as error:
            own = asked["source"] == "folder"
            return _lacks("no images" if own else "no data", error=error)
        if isinstance(found, cifar10.OfficialBatches):
            try:
                download.check(found.folder)
            except ScalebookError as error:
                folder = f"{asked['dir']}/{download.FOLDER}"
                return _lacks("broken data", error=error, folder=folder)
        where = f"{type(found).__name__} under {asked['dir']}/" if found.folder else "generated"
        there.append(where)
    return _here("; ".join(there))


def _slurm() -> Answer:
    try:
        systems = study.load().systems
    except ScalebookError:
        systems = {}
    try:
        choice = SlurmJob.system_here(systems)
        settings = commands.ask(commands.scontrol_config()) if choice else ""
    except ScalebookError as error:
        return _lacks("silent Slurm", error=error)
    if choice is None:
        return _lacks("no Slurm")
    kill_wait = records.parse_setting(settings, "KillWait")
    return _here(
        f"{_first_line(['sbatch', '--version'])}, {choice}; a job that is cancelled has "
        f"{kill_wait} (KillWait) to write its checkpoint"
    )


def _kernel() -> Answer:
    try:
        from scalebook.project import kernel  # which imports Jupyter
    except ImportError:
        return _lacks("no Jupyter")
    try:
        there = kernel.found()
    except ScalebookError as error:
        return _lacks("broken kernel", error=error)
    if there is None:
        return _lacks("no kernel")
    folder, program = there
    if program != kernel.description(os.environ)["argv"][0]:
        return _lacks("other kernel", folder=folder, program=program)
    return _here(f"{kernel.NAME} of this environment, in {folder}")


def _browser() -> Answer:
    from scalebook.figures import rendering  # packages may be missing where this looks

    path = rendering.browser()
    if path is None and os.environ.get("BROWSER_PATH"):
        return _lacks("wrong browser", path=os.environ["BROWSER_PATH"])
    if path is None:
        return _lacks("no browser")
    return _here(_first_line([path, "--version"]))


def _tex() -> Answer:
    from scalebook.publish.latex import tex  # packages may be missing where this looks

    gone = tex.missing()
    if not gone:
        return _here(_first_line(["xelatex", "--version"]))
    return _lacks("no TeX", gone=", ".join(gone), line=tex.install_line())


def _first_line(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=15)
    except (OSError, subprocess.TimeoutExpired):
        return f"{command[0]} does not answer"
    return (answer.stdout or answer.stderr).strip().splitlines()[0]
