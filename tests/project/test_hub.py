"""A JupyterHub on the small cluster, in a browser, as a user who is not root."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from lab_pages import SHOWN, TINY, appears, menu, printed, run_all
from paths import REPOSITORY
from waiting import PATIENCE_S, wait_until

from scalebook.project.kernel import closed_folder

pytestmark = pytest.mark.hub


def run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, **options)
    assert done.returncode == 0, (command, done.stdout + done.stderr)
    return done.stdout.strip()


@dataclass
class Person:
    """An account of this machine, with a clone and an environment."""

    name: str
    home: Path
    environment: Path

    @property
    def clone(self) -> Path:
        return self.home / "scalebook"

    def __call__(self, *command: str) -> str:
        return run("runuser", "-u", self.name, "--", *command, cwd=self.home)


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """Someone who has done what the book's page says, with the packages of these tests."""
    name = f"hub{os.getpid()}"
    place = Path(tempfile.mkdtemp(prefix="scalebook-hub-"))
    place.chmod(0o755)
    one = Person(name, place / "home", place / "environment")
    try:
        run("useradd", "--create-home", "--home-dir", str(one.home), name)
        _environment_for_all(one)
        for path in run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0"):
            if path and (REPOSITORY / path).is_file():
                (one.clone / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / path, one.clone / path)
        run("chown", "-R", f"{name}:", str(one.home))
        git = ("git", "-C", str(one.clone), "-c", "user.name=me", "-c", "user.email=me@localhost")
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            one(*git, *command)
        one("env", f"HOME={one.home}", f"{one.environment}/bin/scalebook", "kernel", "install")
        yield one
    finally:
        for process in psutil.process_iter(["username"]):
            if process.info["username"] == name:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        subprocess.run(["userdel", name], capture_output=True)
        shutil.rmtree(place, ignore_errors=True)


def _environment_for_all(one: Person) -> None:
    """The packages of these tests, for an interpreter that every user may start."""
    python = sys.executable
    if closed_folder():
        # Another build of the same Python, as `make setup PYTHON=/usr/bin/python3` would take.
        python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    run(python, "-m", "venv", "--without-pip", str(one.environment))
    packages, prefix = Path(site.getsitepackages()[0]), Path(sys.prefix)
    if any(not folder.stat().st_mode & 1 for folder in (packages, *packages.parents)):
        shutil.copytree(packages, one.environment / "packages", copy_function=os.link)
        packages = one.environment / "packages"
    (own,) = one.environment.glob("lib/python*/site-packages")
    (own / "all.pth").write_text(f"{one.clone}/src\n{packages}\n")
    for name in ("share", "etc"):
        shutil.copytree(prefix / name, one.environment / name)
    for name in ("scalebook", "jupyterhub-singleuser", "batchspawner-singleuser"):
        script = one.environment / "bin" / name
        body = (prefix / "bin" / name).read_text().partition("\n")[2]
        script.write_text(f"#!{one.environment}/bin/python\n{body}")
        script.chmod(0o755)


@pytest.fixture(scope="module")
def hub(cluster, person) -> Iterator[tuple[str, str]]:
    """Address and password of a Hub that lets the person in."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    settings = {"HUB_USER": person.name, "HUB_ENVIRONMENT": str(person.environment)}
    environment = {**os.environ, **settings, "HUB_PORT": str(port)}
    name = cluster.settings.name
    try:
        line = run("env/hub.sh", "up", name, cwd=REPOSITORY, env=environment)
        yield line.split()[0], line.split()[-1]
    finally:
        run("env/hub.sh", "down", name, cwd=REPOSITORY)


@pytest.fixture
def context(browser):
    """Closed before the Hub ends: pages that miss their server keep the browser busy."""
    made = browser.new_context()
    yield made
    made.close()


def open_notebook(page, name: str, title: str) -> None:
    page.locator(f'.jp-DirListing-item:has-text("{name}")').dblclick()
    appears(page, page.locator(f'{SHOWN} .jp-MarkdownOutput h1:has-text("{title}")'))


def write(page, text: str) -> None:
    """Put a text in the place of the first code cell's."""
    page.locator(f"{SHOWN} .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_a_study_is_run_on_the_hub(cluster, person, hub, context):
    def queue() -> list[list[str]]:
        answer = run("squeue", "-h", "-u", person.name, "-o", "%j %T %i", env=cluster.env)
        return [line.split() for line in answer.splitlines()]

    def nodes(state: str) -> None:
        why = ["Reason=test"] if state == "DRAIN" else []
        change = ("NodeName=node[1-2]", f"State={state}", *why)
        run("scontrol", "update", *change, env=cluster.env)

    address, password = hub
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(address)
    page.fill("#username_input", person.name)
    page.fill("#password_input", f"not {password}")
    page.click("#login_submit")
    assert "Invalid" in page.locator(".login_error").inner_text()
    page.fill("#username_input", person.name)
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.select_option("select[name=profile]", "cpu")
    page.locator("#spawn_form [type=submit]").click()
    page.wait_for_url("**/lab**")
    assert [job[:2] for job in queue()] == [["jupyter", "RUNNING"]]

    folder = f"{address}/user/{person.name}/lab/tree/scalebook/notebooks"
    page.goto(folder)
    open_notebook(page, "04_scaling.py", "Scaling")
    run_all(page)
    appears(page, page.locator(f"{SHOWN} .js-plotly-plot"))
    page.keyboard.press("Control+s")

    open_notebook(page, "01_run.py", "A training run")
    parameters = (
        f'study = None\nexperiment = "quick"\nsystem = "auto"\nseed = 3\noverrides = {TINY}'
    )
    write(page, f"{parameters}\nsubmit = True\njob = None")
    page.keyboard.press("Control+s")
    git = ("git", "-C", str(person.clone))
    wait_until(lambda: person(*git, "status", "--short") == "M notebooks/01_run.py", "it is saved")
    changed = person(*git, "diff", "-U0").splitlines()
    assert len([line for line in changed if re.match(r"[+-][^+-]", line)]) == 12, changed

    # Submitted while no node takes a job, so that it is there when its kernel is not.
    nodes("DRAIN")
    try:
        run_all(page)
        job = printed(page, r"submitted by this notebook as job (\S+) on").group(1)
        assert sorted(one[:2] for one in queue()) == [["jupyter", "RUNNING"], ["quick", "PENDING"]]
        page.close()
        for process in psutil.process_iter(["username", "cmdline"]):
            if (
                process.info["username"] == person.name
                and "ipykernel_launcher" in process.info["cmdline"]
            ):
                process.kill()
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(f"{folder}/01_run.py")
        appears(page, page.locator(f"{SHOWN} .jp-CodeCell"))
        run_all(page)
        printed(page, rf"job {job} of the same settings was under way")
    finally:
        nodes("RESUME")
    # Its curves, in the cell that followed it and in the one that shows the result.
    appears(page, page.locator(f"{SHOWN} .js-plotly-plot").nth(1))
    printed(page, rf"quick_{job}_2cpu_{job}")

    # Scalebook's commands and Slurm's, typed in a cell, from within the server's job.
    hold = "sbatch --parsable --hold --output=/dev/null --wrap=hostname"
    look = "scalebook status | cat && squeue --me"
    write(page, f"!{hold} && {look} && scancel --me --name=wrap && echo gone")
    menu(page, "Run", "Run Selected Cell")
    printed(page, rf"{job}\s+quick(.|\n)*wrap(.|\n)*gone")
    assert [one[0] for one in queue()] == ["jupyter"]


def test_a_hub_that_ends_takes_its_server_with_it(cluster, person, hub):
    """`hub` is down after this module; the server's job ends with it, and nothing is left."""
    state = REPOSITORY / ".scalebook" / "hub" / cluster.settings.name
    assert (state.stat().st_mode & 0o077) == 0, "it holds secrets"
    run("env/hub.sh", "down", cluster.settings.name, cwd=REPOSITORY)
    wait_until(lambda: not run("squeue", "-h", "-u", person.name, env=cluster.env), "its end")
    assert not state.exists()
