"""What a fresh machine installs, and what the doctor says of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook.project import doctor


def pins(name):
    lines = (REPOSITORY / name).read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    return dict(pin(line) for line in wanted if line)


def pin(text):
    """Name and version of a pinned requirement."""
    name, version = text.split("==")
    return canonicalize_name(name), version


def test_every_direct_requirement_is_pinned_as_the_lock_pins_it():
    direct, lock = pins("requirements.txt"), pins("requirements.lock")
    assert {name: lock.get(name) for name in direct} == direct


def test_requirements_are_those_of_pyproject():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert project["dependencies"] == [] and list(extras) == ["train", "book", "lab", "hub", "dev"]
    assert pins("requirements.txt") == dict(pin(text) for one in extras.values() for text in one)
    made = subprocess.run(["env/lock.sh", "--list"], cwd=REPOSITORY, capture_output=True, text=True)
    assert (REPOSITORY / "requirements.txt").read_text() == made.stdout, "run `make lock`"


def test_the_lock_holds_no_local_versions_and_no_files():
    text = (REPOSITORY / "requirements.lock").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "+" not in body
    assert "@" not in body


@pytest.mark.parametrize(
    "script", ["env/setup.sh", "env/test.sh", "env/apt.sh", "env/hub.sh", "env/lock.sh", ".ci/run"]
)
def test_scripts_are_executable_posix_shell(script):
    path = REPOSITORY / script
    assert os.access(path, os.X_OK)
    subprocess.run(["sh", "-n", str(path)], check=True)


def test_make_hands_the_hub_its_settings(tmp_path):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    (tmp_path / "env").mkdir()
    for name, line in (("setup", ""), ("hub", 'echo "$*, $HUB_USER, $HUB_GROUPS, $HUB_PORT"')):
        script = tmp_path / "env" / f"{name}.sh"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    settings = ["NAME=one", "HUB_GROUPS=a b", "HUB_PORT=9000"]
    command = ["make", "-s", "hub-up", "hub-down", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["up one, , a b, 9000", "down one, , a b, 9000"], done.stderr


#: What the scripts call of the system, besides the shell.
TOOLS = ("sh", "cat", "cksum", "dirname", "grep", "head", "mkdir", "rm", "sed", "tail", "tr", "cut")


@pytest.fixture
def bare(tmp_path):
    """A PATH without apt-get, id and sudo: a machine where we may install nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def script(name, *arguments, path, **variables):
    """Run env/NAME with nothing else in its environment."""
    return subprocess.run(
        ["/bin/sh", name, *arguments],
        env={"PATH": str(path), **variables},
        capture_output=True,
        text=True,
    )


def program(path, text="exit 0"):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def without_sbin(tmp_path):
    """A copy of env/apt.sh that does not look into the machine's own /usr/sbin."""
    copy = tmp_path / "apt.sh"
    text = (REPOSITORY / "env" / "apt.sh").read_text()
    copy.write_text(text.replace(':/usr/sbin:/sbin"', '"'))
    return str(copy)


def test_all_missing_packages_are_named_in_one_line_where_nothing_may_be_installed(bare, tmp_path):
    done = script(without_sbin(tmp_path), "browser", "tex", "slurm", path=bare)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "setup: missing: chromium, xelatex, slurmctld; "
        "install with: sudo apt-get install -y --no-install-recommends chromium texlive-"
    )
    assert line.endswith("mariadb-server munge iproute2")


def test_packages_that_are_there_are_not_named(bare, tmp_path):
    program(bare / "google-chrome")
    assert script(without_sbin(tmp_path), "browser", path=bare).returncode == 0
    done = script(without_sbin(tmp_path), "--look", "browser", "slurm", path=bare)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_root_installs_what_is_missing(bare, tmp_path):
    (bare / "mktemp").symlink_to(shutil.which("mktemp"))
    (bare / "env").symlink_to(shutil.which("env"))
    program(bare / "id", "echo 0")
    calls = tmp_path / "calls"
    made = f'case $1 in install) : > {bare}/chromium; {sys.executable} -c "import os; '
    made += f"os.chmod('{bare}/chromium', 0o755)\";; esac"
    program(bare / "apt-get", f'echo "$*" >> {calls}\n{made}')
    done = script(without_sbin(tmp_path), "browser", path=bare)
    assert done.returncode == 0, done.stderr
    assert calls.read_text().splitlines() == [
        "-q update",
        "install -y --no-install-recommends chromium",
    ]


def test_set_up_waits_for_another_package_manager_and_names_it(bare, tmp_path):
    for name in ("mktemp", "env", "touch"):
        (bare / name).symlink_to(shutil.which(name))
    program(bare / "id", "echo 0")
    held = tmp_path / "held"
    lock = "Could not get lock /var/lib/apt/lists/lock. It is held by process 17 (apt-get)"
    program(
        bare / "apt-get",
        f'[ ! -e {held} ] || {{ echo "E: {lock}" >&2; exit 100; }}\n'
        f'[ "$1" != install ] || ln -s /bin/sh {bare}/chromium',
    )
    (bare / "ln").symlink_to(shutil.which("ln"))
    # The other one is done after the second pause.
    program(bare / "sleep", f"[ -e {held}.again ] && rm {held} || touch {held}.again")
    held.touch()
    done = script(without_sbin(tmp_path), "browser", path=bare)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [f"setup: waiting for another package manager: {lock}"]
    assert done.stderr == ""


@pytest.fixture
def fresh(tmp_path):
    """What env/setup.sh reads, in a folder with a space in its name."""
    root = tmp_path / "my study"
    for name in (
        "env/setup.sh",
        "requirements.lock",
        "pyproject.toml",
        "packages/minislurm/pyproject.toml",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    return root


def pretender(path, pip):
    """A python whose virtual environments have a pip that does `pip`, and installs nothing."""
    program(
        path,
        f"""case "$*" in
"-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
"-m pip"*) {pip} ;;
*sys.executable*) echo "$0" ;;
*) exec {sys.executable} "$@" ;;
esac""",
    )
    return str(path)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by ...\n"
            "ERROR: Cannot install torch because of conflicting dependencies.",
            "no package index answers",
        ),
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: No matching distribution found for click\nERROR: more", "No matching distr"),
    ],
)
def test_what_pip_could_not_do_is_one_clear_line(fresh, tmp_path, said, expected):
    python = pretender(tmp_path / "python", f"printf '%s\\n' '{said}'; exit 1")
    done = script(str(fresh / "env/setup.sh"), path=os.environ["PATH"], PYTHON=python)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert expected in line and line.endswith("(the whole story: .venv/setup.log)")


def test_an_unsuitable_python_is_named_with_its_version(fresh, tmp_path):
    old = tmp_path / "old python"
    program(old, '[ "$1" = -V ] && echo Python 3.9.1; exit 1')
    done = script(str(fresh / "env/setup.sh"), path=os.environ["PATH"], PYTHON=str(old))
    assert done.returncode == 1 and f"({old} is Python 3.9.1)" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (fresh / ".venv").exists()


def test_two_at_once_make_one_environment_which_keeps_its_python(fresh, tmp_path):
    pip = 'sleep 0.5; echo >> "$(dirname "$0")/pips"; : > .venv/bin/scalebook; '
    pip += "chmod +x .venv/bin/scalebook"
    python = pretender(tmp_path / "a python", pip)
    environment = {"PATH": os.environ["PATH"], "PYTHON": python}
    both = [
        subprocess.Popen(["sh", str(fresh / "env/setup.sh")], env=environment, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(out.count("making .venv") for out, _ in said) == [0, 1]
    assert sum("waiting for it" in err for _, err in said) == 1
    assert (fresh / ".venv/bin/pips").read_text() == "\n"  # one installation, one call of pip


def test_the_lock_pins_all_that_is_installed_for_the_requirements():
    config = (Path(sys.prefix) / "pyvenv.cfg").read_text()
    if "include-system-site-packages = true" in config:
        pytest.skip("built on the machine's own torch")
    lock = pins("requirements.lock")
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    hub = {
        canonicalize_name(Requirement(one).name) for one in extras["optional-dependencies"]["hub"]
    }
    waiting, seen = list(pins("requirements.txt")), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in ("setuptools", "pip", "wheel"):
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of the extra hub, which only its users install
            assert name in lock and name in hub, name
            continue
        assert lock.get(name) == found.version.split("+")[0], name
        for text in found.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(needed.name))
    # Which of these are installed depends on the build of torch; the lock serves PyPI's too.
    assert {"triton", "cuda-bindings", "cuda-pathfinder", "nvidia-cudnn-cu13"} <= set(lock)


def test_every_direct_requirement_has_its_reason():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not re.match(r"#|\S+==\S+\s+# \w", line)] == []


def test_every_check_that_fails_names_what_mends_it(study_root):
    checks = doctor.examine()
    names = [check.name for check in checks]
    assert names == [
        "Python",
        "PyTorch",
        "GPU",
        "study",
        "data set",
        "Slurm",
        "kernel",
        "browser",
        "TeX",
    ]
    for check in checks:
        assert check.found and "\n" not in check.found
        assert check.here or check.mend


@pytest.mark.slow
def test_the_doctor_speaks_json_and_outside_a_study_too(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "SCALEBOOK_ROOT"}
    done = subprocess.run(
        [sys.executable, "-m", "scalebook.cli", "doctor", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert found["Python"]["here"] and not found["study"]["here"]


@pytest.mark.slow
def test_a_cpu_build_of_torch_imports_with_torchvision():
    code = (
        "from scalebook.train.torchvision_fix import import_torchvision;"
        "import_torchvision().models.resnet18(); print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "ok", done.stderr


def test_a_torch_that_is_gone_is_mended_by_what_is_said(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    # `make setup` alone would find its own stamp, and leave .venv as it is.
    _, _, mend = doctor._torch()
    assert mend == "rm -rf .venv && make setup"


def test_a_data_set_that_is_no_official_one_is_not_called_here(study_root):
    folder = study_root / "data" / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_text("bad")
    here, _, mend = doctor._dataset()
    assert not here
    assert mend == "rm -r data/cifar-10-batches-py && scalebook data get"


def test_images_are_looked_for_where_the_study_says(study_root):
    path = study_root / "study.yaml"
    document = yaml.safe_load(path.read_text())
    document.setdefault("defaults", {}).update(dataset="folder", data_dir="images")
    path.write_text(yaml.safe_dump(document))
    here, found, mend = doctor._dataset()
    assert not here and found.startswith("images: holds no images") and "data get" not in mend
    for split in ("train", "test"):
        (study_root / "images" / "set" / split / "class").mkdir(parents=True)
        (study_root / "images" / "set" / split / "class" / "1.png").touch()
    assert doctor._dataset()[:2] == (True, "ImageFolder under images/")


def test_a_browser_named_and_not_there_is_said(monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chrome")
    here, found, mend = doctor._browser()
    assert not here and "/nowhere/chrome" in found
    assert mend == "unset BROWSER_PATH"
