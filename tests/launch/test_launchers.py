"""Launchers: another package adds one by an entry point, and everything works with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from waiting import PATIENCE_S

from scalebook import launch, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import JobState, registry
from scalebook.launch.local import LocalJob
from scalebook.launch.slurm.job import SlurmJob

TOY = '''"""Jobs that are one process each."""

import os
import signal
import subprocess
import sys

from scalebook import contract
from scalebook.launch import Job, JobState
from scalebook.launch.job import STATE_OF_END


class ToyJob(Job):
    @classmethod
    def submit(cls, resolved, root, after=()):
        job = cls(cls.new_folder(resolved, root).name, root)
        job.start()
        return job

    def start(self, *options):
        command = [sys.executable, "-m", "scalebook.train", "--experiment",
                   str(self.folder / "resolved.json"), *options]
        environment = {"SCALEBOOK_ROOT": str(self.root), "SCALEBOOK_JOB_ID": self.id,
                       "SCALEBOOK_PROGRESS": str(self.folder / "progress.json")}
        with open(self.output, "ab") as output:
            process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=self.root,
                                       stdout=output, stderr=output)
        self.write_notes(self.folder, contract.utc_now(), pid=process.pid)

    def resume(self):
        self.start("--resume")
        return self

    def state(self):
        return STATE_OF_END.get(self.last_attempt().get("ended"), JobState.RUNNING)

    def reason(self):
        return self.last_attempt().get("reason") or ""

    def cancel(self):
        os.kill(self.notes["pid"], signal.SIGTERM)
'''
ENTRY_POINTS = """\
[scalebook.launchers]
toy = toy_launcher:ToyJob
gone = toy_launcher:Gone
path = pathlib:Path
"""


@pytest.fixture
def root(study_root, tmp_path_factory, monkeypatch):
    """A study with a system of the toy launcher, installed for this process and its children."""
    site = tmp_path_factory.mktemp("site")
    (site / "toy_launcher.py").write_text(TOY)
    metadata = site / "toy_launcher-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-launcher\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(registry, "launcher", registry.launcher.__wrapped__)
    text = (study_root / "study.yaml").read_text()
    systems = "".join(
        f"\n  {name}: {{launcher: {name}}}" for name in ("toy", "gone", "path", "ssh")
    )
    (study_root / "study.yaml").write_text(text.replace("\nsystems:", f"\nsystems:{systems}", 1))
    return study_root


@pytest.mark.slow
def test_a_launcher_from_outside_runs_quick_to_the_end(root):
    small = {"dataset": "synthetic", "train_images": 64, "val_images": 32, "global_batch": 16,
             "epochs": 1, "untimed_steps": 1, "threads_per_rank": 1, "world_size": 1}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "scalebook.cli", "run", "quick", "--system", "toy", "--json",
         *(f"--set={key}={value}" for key, value in small.items())],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (root / answer["csv"]).is_file()
    job = launch.find(answer["job"])
    assert (type(job).__name__, job.launcher, job.state()) == ("ToyJob", "toy", JobState.COMPLETED)
    assert [one.id for one in launch.jobs()] == [job.id]
    assert launch.collect(job).files.stem == answer["stem"]
    assert "epoch" in job.logs() and job.progress().fraction == 1
    with pytest.raises(UsageError, match="job arrays"):
        launch.submit_array([job.resolved], root)


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("ssh", "systems.ssh: launcher 'ssh': .* there are gone, local, path, slurm, toy"),
        ("gone", r"systems.gone: launcher 'gone': toy_launcher:Gone cannot be loaded \(.*Gone"),
        (
            "path",
            r"systems.path: launcher 'path': pathlib:Path is no class of scalebook.launch.Job",
        ),
    ],
)
def test_what_is_no_launcher_is_one_line(root, system, words):
    with pytest.raises(UsageError, match=words) as caught:
        launch.submit(study.resolve(study.load(), "quick", system))
    assert "\n" not in str(caught.value)
    assert launch.jobs() == []


def test_a_job_whose_launcher_is_gone_is_one_line_and_no_hindrance(root):
    folder = LocalJob.new_folder(study.resolve(study.load(), "quick", "local"), root)
    (folder / "job.json").write_text('{"launcher": "ssh"}')
    with pytest.raises(ScalebookError, match=f"job {folder.name}: launcher 'ssh'"):
        launch.find(folder.name)
    damaged: list[str] = []
    assert launch.jobs(damaged=damaged) == []
    assert len(damaged) == 1


def test_those_of_this_package_are_launchers_like_any_other():
    assert registry.launcher("local") is LocalJob and registry.launcher("slurm") is SlurmJob
    assert not LocalJob.queues and SlurmJob.queues
