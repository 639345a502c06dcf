"""The small cluster as a fixture. Tests that ask for it are marked `slurm`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from minislurm import MiniCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[MiniCluster]:
    """Two nodes of two cores, one cluster for all tests of a worker; leave it as it was.

    It ends with this process, however that ends.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with MiniCluster(name=f"test-{worker}-{os.getpid()}", owned=True) as running:
        yield running


@pytest.fixture(autouse=True)
def slurm_conf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands speak to `cluster` in the tests that ask for it, to none in the others."""
    if "cluster" in request.fixturenames:
        running: MiniCluster = request.getfixturevalue("cluster")
        monkeypatch.setenv("SLURM_CONF", running.env["SLURM_CONF"])
    else:
        monkeypatch.delenv("SLURM_CONF", raising=False)
