"""What commands cost as runs become many: CPU and memory at 100, 1,000 and 10,000 runs.

The measured runs of this study are copied under new names into a study of their own, as evidence or
as trials, and each command runs there in a process of its own:

- ``once``: the very first time, nothing is kept of any run.
- ``warm``: the median of the times after it, nothing has changed.
- ``one more``: after one new run.

CPU seconds of the process and those it started; memory is the largest of them. One after the other,
on a machine that does nothing else: the seconds are this machine's, how they grow is not.

Measured so, a hundred times the runs (10,000 for 100) cost ``runs --all`` 2.0 times the CPU warm
and 19 times once, ``values`` 4.5 and 17 times; memory 3.3 and 3.1 times. ``book`` after one more
trial costs 1.3 times as much among 1,000 trials as among 50.

Usage: python benchmarks/growth.py [--runs 100 1000 10000] [--as evidence|trials] [--book]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from scalebook import contract
from scalebook.contract import EVIDENCE, TRIALS, RunFiles, Stem

#: Commands by the name the table gives them.
COMMANDS = {
    "runs --all": ["runs", "--all", "--json"],
    "values": ["values", "--json"],
    "report NOSUCHRUN": ["report", "NOSUCHRUN"],
    "check": ["check"],
}
BOOK = {"book": ["book"]}
#: What a study needs besides its results.
PARTS = (
    "book", "data", "docs", "env", "notebooks", "slurm", "_config.yml", "_toc.yml", "study.yaml",
    "README.md", "requirements.lock", "CITATION.cff", "CHANGELOG.md", "LICENSE", "reproduce.md",
    "pyproject.toml",
)  # fmt: skip


def make_study(root: Path, runs: int, folder: str) -> list[str]:
    """Lay this study out below `root`, with `runs` runs in `folder`; gives the names to copy.

    Its own runs count among them where they are evidence.
    """
    here = contract.find_root()
    skip = shutil.ignore_patterns("cache", "cifar*", "*.tar.*")
    for part in PARTS:
        if (here / part).is_dir():
            shutil.copytree(here / part, root / part, ignore=skip)
        elif (here / part).is_file():
            shutil.copy2(here / part, root / part)
    shutil.copytree(
        here / EVIDENCE,
        root / EVIDENCE,
        ignore=lambda at, _: ["local"] if at.endswith(EVIDENCE) else [],
    )
    stems = sorted(path.stem for path in (root / EVIDENCE / "manifests").glob("*.json"))
    for number in range(len(stems) if folder == EVIDENCE else 0, runs):
        add(root, stems, number, folder)
    return stems


def add(root: Path, stems: list[str], number: int, folder: str) -> None:
    """Copy one of these runs under a name that only this number has."""
    stem = stems[number % len(stems)]
    old = Stem.parse(stem)
    job = f"t260101-{number:06d}-0000"
    new = str(Stem(old.experiment, job, old.world_size, old.device))
    source, target = RunFiles(root / EVIDENCE, stem), RunFiles(root / folder, new)
    for kind in ("csv", "steps", "log"):
        path = getattr(target, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        if getattr(source, kind).is_file():
            shutil.copyfile(getattr(source, kind), path)
    manifest = json.loads(source.manifest.read_bytes())
    manifest |= {"stem": new, "job_id": job, "run_uuid": str(uuid.uuid4())}
    target.manifest.parent.mkdir(parents=True, exist_ok=True)
    target.manifest.write_text(json.dumps(manifest, indent=2))


def cost(root: Path, arguments: list[str]) -> tuple[float, float]:
    """CPU seconds and MiB of one command."""
    environment = {**os.environ, "SCALEBOOK_ROOT": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "scalebook.cli", *arguments]
    process = subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--as", dest="kind", choices=("evidence", "trials"), default="evidence")
    parser.add_argument("--rounds", type=int, default=3, help="warm repetitions of each")
    parser.add_argument("--book", action="store_true", help="build the book too, which takes long")
    asked = parser.parse_args()
    folder = EVIDENCE if asked.kind == "evidence" else TRIALS
    head = f"{'runs':>6}  {'command':<18} {'once':>8} {'warm':>8} {'one more':>9} {'memory':>9}"
    print(f"CPU seconds; runs are {asked.kind}\n{head}", flush=True)
    for runs in asked.runs:
        with tempfile.TemporaryDirectory(prefix="growth-") as name:
            root = Path(name)
            stems = make_study(root, runs, folder)
            commands = {**COMMANDS, **(BOOK if asked.book else {})}
            for number, (title, arguments) in enumerate(commands.items(), start=runs):
                shutil.rmtree(root / ".scalebook", ignore_errors=True)
                once = cost(root, arguments)
                warm = [cost(root, arguments) for _ in range(asked.rounds)]
                add(root, stems, number, folder)
                more = cost(root, arguments)
                figures = (once[0], statistics.median(seconds for seconds, _ in warm), more[0])
                memory = max(mib for _, mib in (once, *warm, more))
                print(f"{runs:>6}  {title:<18} " + "".join(f"{one:8.2f} " for one in figures)
                      + f"{memory:9.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
