"""A study whose jobs take seconds or end badly on purpose, on the small cluster."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from paths import REPOSITORY
from waiting import PATIENCE_S

from minislurm import MiniCluster
from scalebook import launch, study
from scalebook.cli import main
from scalebook.contract import ScalebookError
from scalebook.launch import Job, JobState
from scalebook.launch.slurm import poller

STUDY = """\
name: provoked
defaults:
  dataset: synthetic
  image_size: 8
  train_images: 256
  val_images: 32
  global_batch: 32
  epochs: 2
  untimed_steps: 1
  threads_per_rank: 1
  timeout_s: 60
experiments:
  one: {world_size: 1}
  two: {world_size: 2}
  # Long enough to be disturbed within its second epoch.
  long_one: {world_size: 1, train_images: 2560}
  long_two: {world_size: 2, train_images: 2560}
  sleeps: {world_size: 1, script: slurm/sleeps.sbatch}
  fills: {world_size: 4, nodes: 2, script: slurm/sleeps.sbatch}
  stays: {world_size: 1, script: slurm/stays.sbatch}
  stubborn: {world_size: 1, script: slurm/stubborn.sbatch}
  eats: {world_size: 1, script: slurm/eats.sbatch}
  hushed: {world_size: 1, script: slurm/hushed.sbatch}
  unsaved: {world_size: 1, script: slurm/unsaved.sbatch}
  unwritten: {world_size: 1, script: slurm/unwritten.sbatch}
systems:
  mini-open: {launcher: slurm, cluster: "mini-open-*"}
  little-memory: {launcher: slurm, facts: data/systems/mini-open.yaml, slurm: {memory: 100M}}
campaigns:
  pair:
    seeds: [0, 1]
    experiments: {one: , two: {epochs: 1}}
"""

#: A data disk of a node that is full: seen by the node alone, which no other job shares meanwhile,
#: and gone when the script ends.
_FULL = """\
#!/bin/bash
#SBATCH --open-mode=append
#SBATCH --exclusive
mkdir -p {folder}
mount -t tmpfs -o size={size} full {folder}
trap 'umount {folder}' EXIT
. "$SCALEBOOK_ROOT/slurm/common.sh" || exit
(run_experiment "$@")
"""

SCRIPTS = {
    "sleeps": "srun sleep 600",
    "stays": "#SBATCH --no-requeue\nsrun sleep 600",
    "stubborn": "#SBATCH --signal=USR1@10\nsrun bash -c 'trap \"\" USR1; sleep 600'",
    "eats": 'srun "$PYTHON" -c \'x = [b"x" * (8 << 20 | i) for i in range(100)]\'',
    "hushed": "srun bash -c 'exit 9'\nexit 0",
}


def make(root: Path) -> Path:
    """Write the study into an empty folder."""
    root.mkdir(exist_ok=True)
    shutil.copytree(
        REPOSITORY / "slurm", root / "slurm", ignore=shutil.ignore_patterns("*.log", "site.sh")
    )
    shutil.copytree(REPOSITORY / "data" / "systems", root / "data" / "systems")
    (root / "study.yaml").write_text(STUDY)
    for name, body in SCRIPTS.items():
        (root / "slurm" / f"{name}.sbatch").write_text(f"#!/bin/bash\n{body}\n")
    for name, folder, size in (("unsaved", "checkpoints", "20m"), ("unwritten", "results", "4k")):
        text = _FULL.format(folder=folder, size=size)
        (root / "slurm" / f"{name}.sbatch").write_text(text)
    return root


@contextlib.contextmanager
def at_work(root: Path, cluster: MiniCluster) -> Iterator[Path]:
    """Stand in a study, with Slurm's commands speaking to a cluster; end its jobs at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEBOOK_ROOT", str(root))
        patch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])
        # A state that lasts some seconds here lasts minutes on a large cluster.
        patch.setitem(
            poller._POLLERS, cluster.env["SLURM_CONF"], poller.Poller(pause_s=0.4, longest_s=0.8)
        )
        patch.chdir(root)
        try:
            yield root
        finally:
            for job in launch.jobs(root):
                with contextlib.suppress(ScalebookError):
                    job.cancel()


def submit(experiment: str, system: str = "mini-open", **overrides: object) -> Job:
    """Submit an experiment of the study around here."""
    return launch.submit(study.resolve(study.load(), experiment, system, overrides=overrides))


def slurm(*command: str) -> str:
    """Answer of one of Slurm's commands."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()


def scalebook(*arguments: str, **options: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, list(arguments), **options)


def start_scalebook(*arguments: str) -> subprocess.Popen:
    """Start the command line in a process of its own; its words come together."""
    return subprocess.Popen(
        [sys.executable, "-m", "scalebook.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def step_of(job: Job, epoch: int = 1) -> int:
    """How many steps of an epoch are done; 0 while it is another epoch's turn."""
    progress = job.progress()
    return progress.step if (progress.phase, progress.epoch) == ("train", epoch) else 0


def learnt(job: Job) -> list[tuple[str, ...]]:
    """What a run computed: losses and accuracies of every epoch."""
    names = ("epoch", "train_loss", "val_loss", "train_acc", "val_acc")
    with open(job.files().csv, encoding="utf-8") as file:
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


class Watched:
    """Jobs, and every state and reason that the monitor has reported."""

    def __init__(self, jobs: dict[str, Job]) -> None:
        self.jobs = jobs
        self.seen: dict[str, list[tuple[JobState, str]]] = {name: [] for name in jobs}
        self._todo: dict[str, tuple[Callable[[Job], object], Callable[[Job], object]]] = {}

    def once(
        self, name: str, ready: Callable[[Job], object], action: Callable[[Job], object]
    ) -> None:
        """Do something to a job as soon as it is ready for that."""
        self._todo[name] = (ready, action)

    def to_the_end(self) -> Watched:
        """Watch until all have ended."""
        end = time.monotonic() + 3 * PATIENCE_S  # nine jobs take turns on two nodes
        with ThreadPoolExecutor() as pool:
            acting = pool.submit(self._act)
            try:
                while not self._all_ended():
                    assert time.monotonic() < end, {
                        name: (seen, self.jobs[name].logs(8)) for name, seen in self.seen.items()
                    }
                    if acting.done():
                        acting.result()  # raises what it ended with
                    time.sleep(0.1)
            finally:
                self._todo.clear()
        return self

    def _act(self) -> None:
        """Do what is to be done: beside the watch, whose look at many jobs takes a while."""
        while self._todo:
            for name, (ready, action) in list(self._todo.items()):
                if ready(self.jobs[name]):
                    action(self.jobs[name])
                    self._todo.pop(name, None)
            time.sleep(0.02)

    def _all_ended(self) -> bool:
        states = [self._look(name, job) for name, job in self.jobs.items()]
        return all(state.finished for state in states)

    def _look(self, name: str, job: Job) -> JobState:
        state = job.state()
        seen = (state, job.reason())
        if not self.seen[name] or self.seen[name][-1] != seen:
            self.seen[name].append(seen)
            if os.environ.get("SCALEBOOK_TEST_TELLS"):
                print(f"{time.monotonic():.1f} {name}: {state.value} {seen[1]}", flush=True)
        return state

    def reasons(self, name: str, state: JobState) -> list[str]:
        """Reasons reported while the job was in a state."""
        return [reason for seen, reason in self.seen[name] if seen is state]


def rank_process(job: Job, rank: int) -> int:
    """Process id of a rank of a training job; a wrapper around it is not meant."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            around = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"scalebook.train" not in words or b"srun" in words[0] or b"bash" in words[0]:
            continue
        if {f"SCALEBOOK_JOB_ID={job.id}".encode(), f"RANK={rank}".encode()} <= set(around):
            return int(path.name)
    raise AssertionError(f"rank {rank} of job {job.id} has no process")
