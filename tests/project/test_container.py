"""The recipe of the image: its versions are the lock's, and its own test passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from paths import REPOSITORY
from test_setup import pins
from waiting import PATIENCE_S

RECIPE = (REPOSITORY / "env" / "project.def").read_text()
APPTAINER = shutil.which("apptainer")

#: What `scalebook resolve --job`, training and notebooks need, of requirements.txt.
IMPORTED = {"torch", "torchvision", "numpy", "click", "pydantic", "pyyaml", "psutil", "tqdm",
            "nvidia-ml-py", "ipykernel", "pandas", "plotly", "orjson", "anywidget",
            "ipywidgets"}  # fmt: skip


def section(name: str) -> str:
    return re.search(rf"^%{name}\n(.*?)(?=^%\w|\Z)", RECIPE, re.S | re.M)[1]


def test_versions_are_those_of_the_lock():
    lock = pins("requirements.lock")
    arguments = dict(re.findall(r"^\s+(\w+)=(\S+)$", section("arguments"), re.M))
    assert {name: lock[name] for name in ("torch", "torchvision")} == {
        name: arguments[name] for name in ("torch", "torchvision")
    }
    post = section("post")
    # Everything else is taken as the lock, which is copied in, pins it.
    assert "requirements.lock /opt/scalebook/requirements.lock" in section("files")
    installs = re.findall(r"\$install (?:.*\\\n)*.*", post)
    assert len(installs) == 2 and all("-c constraints.txt" in line for line in installs)
    assert not set(re.findall(r"([\w.-]+)==\d", post))
    named = set(installs[1].lower().replace("\\", "").split("constraints.txt ")[1].split())
    assert named == IMPORTED - {"torch", "torchvision", "numpy"} and named <= set(lock)


def test_every_argument_is_used_and_has_a_default():
    defaults = set(re.findall(r"^\s+(\w+)=", section("arguments"), re.M))
    assert set(re.findall(r"\{\{ (\w+) \}\}", RECIPE)) == defaults


@pytest.mark.slow
def test_it_installs_what_resolve_and_training_import():
    program = (
        "import sys, importlib.metadata as m\n"
        "import scalebook.cli, scalebook.launch.slurm.allocation, scalebook.train.run\n"
        "import scalebook.analysis, scalebook.figures, scalebook.live, scalebook.traces\n"
        "import scalebook.values, scalebook.project.kernel\n"
        "from scalebook.train.torchvision_fix import import_torchvision\nimport_torchvision()\n"
        "known = m.packages_distributions()\n"
        "print(*{d for name in sys.modules for d in known.get(name, [])})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    used = {re.sub("[-_.]+", "-", name).lower() for name in done.stdout.split()}
    assert used & set(pins("requirements.txt")) == IMPORTED, done.stderr


@pytest.mark.slow
def test_the_image_s_own_test_passes_with_these_packages(tmp_path):
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SCALEBOOK")}
    done = subprocess.run(
        ["sh", "-c", section("test")], env={**kept, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout


@pytest.mark.parametrize("name", ["post", "environment", "test"])
def test_sections_are_valid_shell(name):
    subprocess.run(["sh", "-n", "-c", section(name)], check=True)


# Collected only where Apptainer is: Debian 12 has none, and the test needs the real parser.
if APPTAINER:

    def test_apptainer_reads_the_recipe(tmp_path):
        """It rejects an unknown section before it fetches anything; the true one gets further."""

        def build(text: str) -> str:
            recipe = tmp_path / "project.def"
            # A base that is refused at once: nothing is fetched.
            recipe.write_text(text)
            done = subprocess.run(
                [APPTAINER, "build", "--build-arg", "base=127.0.0.1:1/none",
                 str(tmp_path / "image.sif"), str(recipe)],
                cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S,
            )  # fmt: skip
            assert done.returncode != 0
            return done.stderr

        assert "invalid section" in build(RECIPE + "\n%nonsense\n    true\n").lower()
        said = build(RECIPE).lower()
        assert "section" not in said and "127.0.0.1:1" in said, said
