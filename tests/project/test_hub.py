"""A JupyterHub on the small cluster, in a browser, as users who are not root."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import requests
from book_helpers import launch_link
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
class Account:
    """Of this machine."""

    name: str
    home: Path
    password: str = field(default_factory=secrets.token_hex)

    @property
    def clone(self) -> Path:
        return self.home / "scalebook"

    def __call__(self, *command: str) -> str:
        return run("runuser", "-u", self.name, "--", *command, cwd=self.home)

    def processes(self, program: str = "") -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["username", "cmdline"])
            if process.info["username"] == self.name
            and (not program or any(program in word for word in process.info["cmdline"] or ()))
        ]


@dataclass
class Site:
    """Who may log in, and what their servers run from."""

    place: Path
    owner: Account
    guest: Account
    stranger: Account

    @property
    def environment(self) -> Path:
        return self.place / "environment"

    @property
    def group(self) -> str:
        return f"hub{os.getpid()}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One who has done what the book's page says, one who has not, and one who is no member."""
    place = Path(tempfile.mkdtemp(prefix="scalebook-hub-"))
    place.chmod(0o755)
    accounts = [Account(f"hub{os.getpid()}{who}", place / who) for who in "ogs"]
    one = Site(place, *accounts)
    try:
        run("groupadd", one.group)
        for account in accounts:
            groups = ["--groups", one.group] if account is not one.stranger else []
            run("useradd", "--create-home", "--home-dir", str(account.home), *groups, account.name)
            run("chpasswd", input=f"{account.name}:{account.password}")
        _environment_for_all(one)
        _clone(one.owner)
        _install_kernel(one, one.owner)
        yield one
    finally:
        for account in accounts:
            for process in account.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            subprocess.run(["userdel", account.name], capture_output=True)
        subprocess.run(["groupdel", one.group], capture_output=True)
        shutil.rmtree(place, ignore_errors=True)


def _clone(account: Account) -> None:
    """The files of this repository as they are, in one commit; others may read them."""
    account.home.chmod(0o711)
    for path in run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0"):
        if path and (REPOSITORY / path).is_file():
            (account.clone / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, account.clone / path)
    run("chown", "-R", f"{account.name}:", str(account.clone))
    git = ("git", "-C", str(account.clone), "-c", "user.name=me", "-c", "user.email=me@localhost")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "all"]):
        account(*git, *command)


def _install_kernel(site: Site, account: Account) -> None:
    program = f"{site.environment}/bin/scalebook"
    account("env", f"HOME={account.home}", program, "kernel", "install")


def _environment_for_all(one: Site) -> None:
    """The packages of these tests, for an interpreter that every user may start."""
    python = sys.executable
    if closed_folder():
        # Another build of the same Python, as `make setup PYTHON=/usr/bin/python3` would take.
        python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    run(python, "-m", "venv", "--without-pip", str(one.environment))
    packages, prefix = Path(sysconfig.get_path("purelib")), Path(sys.prefix)
    if any(not folder.stat().st_mode & 1 for folder in (packages, *packages.parents)):
        shutil.copytree(packages, one.environment / "packages", copy_function=os.link)
        packages = one.environment / "packages"
    (own,) = one.environment.glob("lib/python*/site-packages")
    (own / "all.pth").write_text(f"{one.owner.clone}/src\n{packages}\n")
    for name in ("share", "etc"):
        shutil.copytree(prefix / name, one.environment / name)
    # A Hub's own environment does not know the study.
    shutil.rmtree(one.environment / "share/jupyter/kernels/scalebook")
    for name in ("scalebook", "jupyterhub-singleuser", "batchspawner-singleuser"):
        script = one.environment / "bin" / name
        body = (prefix / "bin" / name).read_text().partition("\n")[2]
        script.write_text(f"#!{one.environment}/bin/python\n{body}")
        script.chmod(0o755)


@contextlib.contextmanager
def up(cluster, site: Site, **settings: str) -> Iterator[list[str]]:
    """A Hub on the cluster, and the words of the line by which it says where it is."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    place = {"HUB_ENVIRONMENT": str(site.environment), "HUB_PORT": str(port)}
    name = cluster.settings.name
    try:
        environment = {**os.environ, **place, **settings}
        yield run("env/hub.sh", "up", name, cwd=REPOSITORY, env=environment).split()
    finally:
        run("env/hub.sh", "down", name, cwd=REPOSITORY)


@dataclass
class Hub:
    address: str
    authority: str

    def sign_in(self, name: str, password: str) -> tuple[requests.Session, requests.Response]:
        """Fill in the page by which users log in, and send it."""
        session = requests.Session()
        session.verify = self.authority
        session.trust_env = False  # the environment may name other authorities
        page = f"{self.address}/hub/login"
        session.get(page).raise_for_status()
        form = {"username": name, "password": password, "_xsrf": session.cookies["_xsrf"]}
        return session, session.post(page, data=form, allow_redirects=False)


@pytest.fixture(scope="module")
def hub(cluster, site) -> Iterator[Hub]:
    """With TLS, for the accounts of a group and their own passwords."""
    from certipy import Certipy  # JupyterHub brings it

    authorities = Certipy(store_dir=str(site.place / "certificates"))
    files = authorities.create_ca("ca")["files"]
    own = authorities.create_signed_pair("hub", "ca", alt_names=["IP:127.0.0.1"])["files"]
    settings = {"HUB_TLS_CERTIFICATE": own["cert"], "HUB_TLS_KEY": own["key"]}
    with up(cluster, site, HUB_GROUPS=site.group, **settings) as said:
        yield Hub(said[0], files["cert"])


@pytest.fixture
def context(browser):
    """Closed before the Hub ends: pages that miss their server keep the browser busy."""
    made = browser.new_context(ignore_https_errors=True)
    yield made
    made.close()


def queue(cluster, account: Account) -> list[list[str]]:
    answer = run("squeue", "-h", "-u", account.name, "-o", "%j %T %i %b", env=cluster.env)
    return [line.split() for line in answer.splitlines()]


def log_in(page, account: Account, password: str) -> None:
    page.fill("#username_input", account.name)
    page.fill("#password_input", password)
    page.click("#login_submit")


def choose(page, profile: str) -> None:
    page.select_option("select[name=profile]", profile)
    page.locator("#spawn_form [type=submit]").click()


def open_notebook(page, name: str, title: str) -> None:
    page.locator(f'.jp-DirListing-item:has-text("{name}")').dblclick()
    appears(page, page.locator(f'{SHOWN} .jp-MarkdownOutput h1:has-text("{title}")'))


def write(page, text: str) -> None:
    """Put a text in the place of the first code cell's."""
    page.locator(f"{SHOWN} .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "HUB_USER=NAME"),
        ({"HUB_USER": "root"}, "no server runs as root"),
        ({"HUB_USER": "no-such"}, "there is no account no-such"),
        ({"HUB_GROUPS": "root no-such"}, "there is no group no-such"),
        ({"HUB_USER": "nobody", "HUB_GROUPS": "root"}, "set one of them"),
        ({"HUB_USER": "nobody", "HUB_PORT": "x"}, "HUB_PORT=x: takes a number"),
        ({"HUB_USER": "nobody", "HUB_ENVIRONMENT": "/no such"}, "nobody cannot run JupyterLab"),
    ],
)
def test_who_and_where_are_asked_for_in_one_line(settings, message):
    inherited = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
    done = subprocess.run(
        ["env/hub.sh", "up", "none"], cwd=REPOSITORY, env={**inherited, **settings},
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_members_get_in_by_https_and_nobody_else(site, hub):
    with pytest.raises(requests.ConnectionError):
        requests.get(hub.address.replace("https:", "http:"), timeout=PATIENCE_S)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(hub.address, timeout=PATIENCE_S)
    session, answer = hub.sign_in(site.stranger.name, site.stranger.password)
    assert "Invalid" in answer.text and "jupyterhub-hub-login" not in session.cookies
    session, answer = hub.sign_in(site.guest.name, site.guest.password)
    assert answer.status_code == 302
    names = ["_xsrf", "jupyterhub-hub-login", "jupyterhub-session-id"]
    assert sorted(one.name for one in session.cookies if one.secure) == names


def test_a_study_is_run_on_the_hub(cluster, site, hub, context):
    def nodes(state: str) -> None:
        why = ["Reason=test"] if state == "DRAIN" else []
        change = ("NodeName=node[1-2]", f"State={state}", *why)
        run("scontrol", "update", *change, env=cluster.env)

    owner = site.owner
    folder = f"{hub.address}/user/{owner.name}/lab/tree/scalebook/notebooks"
    page = context.new_page()
    page.goto(f"{hub.address}/hub/user-redirect/lab/tree/scalebook/notebooks")
    log_in(page, owner, f"not {owner.password}")
    assert "Invalid" in page.locator(".login_error").inner_text()
    log_in(page, owner, owner.password)
    choose(page, "cpu")
    page.wait_for_url("**/lab/**")
    assert queue(cluster, owner)[0][:2] == ["jupyter", "RUNNING"]
    other, _ = hub.sign_in(site.guest.name, site.guest.password)
    for place in ("lab", "api/contents"):
        assert other.get(f"{hub.address}/user/{owner.name}/{place}").status_code == 403

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
    git = ("git", "-C", str(owner.clone))
    wait_until(lambda: owner(*git, "status", "--short") == "M notebooks/01_run.py", "it is saved")
    changed = owner(*git, "diff", "-U0").splitlines()
    assert len([line for line in changed if re.match(r"[+-][^+-]", line)]) == 12, changed

    # Submitted while no node takes a job, so that it is there when its kernel is not.
    nodes("DRAIN")
    try:
        run_all(page)
        job = printed(page, r"submitted by this notebook as job (\S+) on").group(1)
        found = sorted(one[:2] for one in queue(cluster, owner))
        assert found == [["jupyter", "RUNNING"], ["quick", "PENDING"]]
        page.close()
        for process in owner.processes("ipykernel_launcher"):
            process.kill()
        page = context.new_page()
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
    assert [one[0] for one in queue(cluster, owner)] == ["jupyter"]


def test_a_launch_button_opens_its_notebook_for_one_who_has_no_clone(cluster, site, hub, context):
    """On a GPU of Slurm's."""
    owner, guest = site.owner, site.guest
    pulled = owner.home / "pulled"
    owner("git", "clone", "-q", "--bare", str(owner.clone), str(pulled))
    run("chown", "-R", f"{guest.name}:", str(pulled))  # git reads no repository of another's
    instead = (f"url.file://{pulled}.insteadOf", "https://github.com/some/study")
    guest("git", "config", "--file", str(guest.home / ".gitconfig"), *instead)

    page = context.new_page()
    page.goto(launch_link(hub.address, "notebooks/04_scaling.py"))
    log_in(page, guest, guest.password)
    choose(page, "gpu")
    page.wait_for_url("**/lab/tree/study/notebooks/04_scaling.py")
    ((_, state, job, gpus),) = queue(cluster, guest)
    assert (state, gpus) == ("RUNNING", "gres:gpu:1")
    script = run("scontrol", "write", "batch_script", job, "-", env=cluster.env)
    assert "#SBATCH --gres=gpu:1\n" in script and "token" not in script.lower().replace(
        "jupyterhub_api_token,jpy_api_token", ""
    )
    (server,) = guest.processes("jupyterhub-singleuser")
    assert server.environ()["CUDA_VISIBLE_DEVICES"] == "0"
    assert "CONFIGPROXY_AUTH_TOKEN" not in server.environ()

    # The Hub has no kernel of the study. The book's page says how to make one.
    appears(page, page.locator('.jp-Dialog:has-text("Select Kernel")'))
    appears(page, page.locator(f'{SHOWN} .jp-MarkdownOutput h1:has-text("Scaling")'))
    _install_kernel(site, guest)
    page.reload()
    appears(page, page.get_by_text("| Idle"))
    write(page, "from scalebook import contract\nprint('of', contract.find_root())")
    menu(page, "Run", "Run Selected Cell")
    printed(page, f"of {guest.home}/study")


def test_a_hub_that_ends_takes_its_servers_with_it(cluster, site, hub):
    """`hub` is down after this module; the jobs of its servers end with it, nothing is left."""
    state = REPOSITORY / ".scalebook" / "hub" / cluster.settings.name
    assert (state.stat().st_mode & 0o077) == 0, "it holds secrets"
    run("env/hub.sh", "down", cluster.settings.name, cwd=REPOSITORY)
    wait_until(lambda: not run("squeue", "-h", env=cluster.env), "their end")
    assert not state.exists()


def test_a_hub_for_one_account_makes_its_password(cluster, site):
    """And its server, on the login node, is no job, but bounded."""
    owner, guest = site.owner, site.guest
    with up(cluster, site, HUB_USER=guest.name) as (address, _, name, _, password):
        hub = Hub(address, "")
        assert name == guest.name
        for who, word in ((guest.name, guest.password), (owner.name, password)):
            assert "Invalid" in hub.sign_in(who, word)[1].text
        session, answer = hub.sign_in(name, password)
        assert answer.status_code == 302
        check = {"_xsrf": session.cookies.get("_xsrf", path="/hub/")}
        session.post(f"{address}/hub/spawn", params=check, data={"profile": "login"})
        wait_until(lambda: "JupyterLab" in session.get(f"{address}/user/{name}/lab").text, "Lab")
        (server,) = guest.processes("jupyterhub-singleuser")
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        bounds = dict(re.findall(r"Max (data size|cpu time) +\S+ +(\d+)", limits))
        assert bounds == {"data size": str(8 << 30), "cpu time": "3600"}
        assert server.nice() == min(19, os.nice(0) + 10)
        assert not queue(cluster, guest)
    assert not guest.processes("jupyterhub-singleuser")
