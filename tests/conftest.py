"""What several test modules share."""

from __future__ import annotations

import functools
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from paths import REPOSITORY, SHARED
from slurm_cluster import cluster, slurm_conf  # noqa: F401
from waiting import PATIENCE_S
from xdist.scheduler import LoadFileScheduling

from scalebook.train.images import download

# Neither chance nor speed decides about a property.
settings.register_profile(
    "everywhere alike",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("everywhere alike")

#: Nothing answers there: no test downloads what a run without images asks for.
NOWHERE = "http://127.0.0.1:9"
#: Marks of tests that may take minutes.
LONG = ("slow", "slurm", "tex", "browser", "hub")


@functools.cache
def shares_network(path: str) -> bool:
    """Whether tests of a file change the machine's network, or look at pages that come over it."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    return re.search(r"mark\.(slurm|hub|browser)\b", text) is not None


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first on two workers, so that both end at about the same time.

    The longest is what shares the network, which `Scheduling` gives to one of them.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        long = {item.path for item in items if any(map(item.get_closest_marker, LONG))}
        items.sort(
            key=lambda item: (not shares_network(file_of(item.nodeid)), item.path not in long)
        )


class Scheduling(LoadFileScheduling):
    """A file goes to one worker as a whole, and to one go all that share the network.

    A cluster that goes up or down breaks off what a browser loads at that moment
    (ERR_NETWORK_CHANGED).
    """

    def _split_scope(self, nodeid: str) -> str:
        path = file_of(nodeid)
        return "network" if shares_network(path) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture
def shared() -> Path:
    """Folder of the images and traces that are never committed (mark the test `shared`)."""
    assert (SHARED / "data").is_dir(), "deselect with -m 'not shared' where ../shared is absent"
    return SHARED


@pytest.fixture
def study_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty study: this project's study.yaml and data/, no results, images nor network.

    Without labels, so that a test reads the names that it asks for.
    """
    declared = (REPOSITORY / "study.yaml").read_text()
    named = re.sub(r"^ +label: .*\n|(?<=\{)label: [^,]*, ", "", declared, flags=re.MULTILINE)
    (tmp_path / "study.yaml").write_text(named)
    for name in ("data/systems", "data/reported"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    monkeypatch.setattr(download, "URL", NOWHERE)
    monkeypatch.setenv("https_proxy", NOWHERE)  # of processes that are started
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of the system."""
    from playwright.sync_api import sync_playwright

    from scalebook.figures import rendering

    program = rendering.browser()
    assert program, "deselect with -m 'not browser' where there is no Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        for name in ("new_context", "new_page"):
            setattr(started, name, patient(getattr(started, name)))
        yield started
        started.close()


def patient(make):
    """Let what is made wait as long as other tests do, not 30 seconds."""

    def made(**options):
        one = make(**options)
        one.set_default_timeout(PATIENCE_S * 1000)
        return one

    return made
