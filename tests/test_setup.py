"""What a fresh machine installs, and what the doctor says of it."""

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from scalebook import doctor


def pins(name):
    lines = (REPOSITORY / name).read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    return {
        re.sub("[-_.]+", "-", line.split("==")[0]).lower(): line.split("==")[1]
        for line in wanted
        if line
    }


def test_every_direct_requirement_is_pinned_as_the_lock_pins_it():
    direct, lock = pins("requirements.txt"), pins("requirements.lock")
    assert {name: lock.get(name) for name in direct} == direct


def test_the_lock_holds_no_local_versions_and_no_files():
    text = (REPOSITORY / "requirements.lock").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "+" not in body
    assert "@" not in body


@pytest.mark.parametrize("script", ["env/setup.sh", "env/test.sh", "env/apt.sh", ".ci/run"])
def test_scripts_are_executable_posix_shell(script):
    path = REPOSITORY / script
    assert os.access(path, os.X_OK)
    subprocess.run(["sh", "-n", str(path)], check=True)


def test_a_missing_package_is_named_in_one_line_where_nothing_may_be_installed(tmp_path):
    # A PATH without apt-get, id and sudo stands for a machine where we may install nothing.
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "sh").symlink_to("/bin/sh")
    done = subprocess.run(
        ["/bin/sh", str(REPOSITORY / "env" / "apt.sh"), "no-such-command", "some-package"],
        env={"PATH": str(bare)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "setup: no-such-command is missing; install it with: "
        "sudo apt-get install -y --no-install-recommends some-package"
    ]


def test_every_check_that_fails_names_what_mends_it(study_root):
    checks = doctor.examine()
    names = [check.name for check in checks]
    assert names == ["Python", "PyTorch", "GPU", "study", "data set", "Slurm", "browser", "TeX"]
    for check in checks:
        assert check.found and "\n" not in check.found
        assert check.here or check.mend


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


def test_a_cpu_build_of_torch_imports_with_torchvision():
    code = (
        "from scalebook.train.torchvision_fix import import_torchvision;"
        "import_torchvision().models.resnet18(); print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "ok", done.stderr
